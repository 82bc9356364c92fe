"""What the API is told from outside."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from services.api.evidence_settings import EvidenceSettings


class ApiSettings(EvidenceSettings):
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8080, ge=0, le=65535)
    forwarded_allow_ips: str = "127.0.0.1"
    """Addresses or networks of proxies, by commas, whose X-Forwarded-For is believed; everybody else is who calls."""
    secret_key: SecretStr
    """Signs the sessions. Changing it logs everybody out."""
    cockpit_dir: Path = Path(__file__).resolve().parent / "cockpit" / "dist"
    api_database_url: str | None = Field(default=None, pattern=r"^postgres(ql)?://")
    """The tenants' own login, as which requests run; without it, that of `database_url` takes the tenants' role."""
    database_connections: int = Field(default=6, ge=2, le=100)
    """Of requests. `database_service_connections`: of logins, streams and the API's own work, by `database_url`."""
    database_service_connections: int = Field(default=4, ge=2, le=100)
    query_timeout_s: float = Field(default=10.0, gt=0)
    session_s: float = Field(default=12 * 3600.0, gt=0)
    session_check_s: float = Field(default=5.0, gt=0, le=10.0)
    """How long a disabled user may still be let in, and how often live streams ask again."""
    login_failures_per_min: int = Field(default=5, ge=1)
    heartbeat_s: float = Field(default=5.0, gt=0)
    device_poll_s: float = Field(default=1.0, gt=0)
    stream_queue_bytes: int = Field(default=1024 * 1024, ge=1024)
    """What a slow reader may owe before its queue is dropped and it is told to start afresh."""
    stream_stalled_s: float = Field(default=30.0, gt=0)
    """A reader whose connection takes nothing for this long is cut."""

    rule_alerts_a_day: float = Field(default=200.0, gt=0)
    """A rule that would have raised more alerts a day than this in the days looked at is refused unless forced."""

    reports_per_hour_account: float = Field(default=20.0, gt=0)
    reports_per_hour_address: float = Field(default=10.0, gt=0)
    reports_per_hour_community: float = Field(default=120.0, gt=0)
    """What is reported in the long run: by one account; without a login, from one address and in one community. Half an
    hour's worth may come at once, and what lives hang on is counted apart."""
    report_contact_days: int = Field(default=30, ge=0)
    """Names and telephone numbers of reporters are forgotten so long after the order has ended."""

    @field_validator("secret_key")
    @classmethod
    def _long_enough(cls, key: SecretStr) -> SecretStr:
        if len(key.get_secret_value()) < 32:
            raise ValueError("needs at least 32 characters; `linhub init` writes one")
        return key
