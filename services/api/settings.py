"""What the API is told from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from services.api.identity.lifetimes import lifetimes
from services.api.identity.password_settings import PasswordSettings
from services.api.identity.tokens import MOST_ACCESS_S
from services.api.uploads.settings import EvidenceSettings


class ApiSettings(EvidenceSettings, PasswordSettings):
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8080, ge=0, le=65535)
    forwarded_allow_ips: str = "127.0.0.1"
    """Addresses or networks of proxies, by commas, whose X-Forwarded-For is believed; everybody else is who calls."""
    secret_key: SecretStr
    """Signs the sessions. Changing it logs everybody out, save for those whom `secret_key_previous` knows."""
    secret_key_previous: SecretStr | None = None
    """The key before this one, believed and no longer used, while it is being replaced."""
    cockpit_dir: Path = Path(__file__).resolve().parent / "cockpit" / "dist"
    api_database_url: str | None = Field(default=None, pattern=r"^postgres(ql)?://")
    """The tenants' own login, as which requests run; without it, that of `database_url` takes the tenants' role."""
    database_connections: int = Field(default=6, ge=2, le=100)
    """Of requests. `database_service_connections`: of logins, streams and the API's own work, by `database_url`."""
    database_service_connections: int = Field(default=4, ge=2, le=100)
    query_timeout_s: float = Field(default=10.0, gt=0)
    access_s: float = Field(default=600.0, gt=0, le=MOST_ACCESS_S)
    """How long an access token lives before it is renewed."""
    session_limits: str = ""
    """Changes to how long sessions live, by role: `desk=4d/90d, staff=12h/30d` (without use / at most)."""
    session_check_s: float = Field(default=5.0, gt=0, le=10.0)
    """How long a disabled user may still be let in, and how often live streams ask again."""
    display_idle_days: int = Field(default=90, ge=1, le=3650)
    """A paired screen that was not switched on for so long is paired anew; one in use never runs out."""
    audit_anchor_s: float = Field(default=3600.0, gt=0)
    """How often the newest row of the audit trail is said to the log, for `linhub audit verify`."""
    key_per_minute: int = Field(default=600, ge=1, le=100_000)
    """Requests a minute that a new key may make, unless it is given a rate of its own."""
    login_failures: int = Field(default=5, ge=1)
    """So many wrong passwords of one name from one network before it has to wait, longer each time."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+")
    """Where people reach this system from outside: the way back from another place of login, and an origin of ours."""
    login_contact: str = Field(default="", max_length=100)
    """Whom somebody who is locked out can ask, as it stands on the login page: a name and a telephone number."""
    oidc_issuer: str = Field(default="", pattern=r"^$|^https://|^http://(127\.0\.0\.1|localhost)[:/]")
    """Another place of login, by OpenID Connect; empty: none."""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    oidc_claim: str = Field(default="preferred_username", min_length=1)
    """Of the identity token: what is the user name of an account here."""
    oidc_name: str = Field(default="", max_length=40)
    """What the button says; empty: the issuer's host."""
    oidc_scope: str = "openid profile"
    oidc_link: Literal["none", "by_name"] = "none"
    """Whether an account that is here already is bound at the first login by the claim. Only where nobody chooses that
    claim themselves; never of those who watch over others: an administrator links them."""
    oidc_role: str = Field(default="", pattern=r"^$|^(visitor|staff)$")
    """Role of accounts made at a first login from there; empty: none are made."""
    oidc_community: str = ""
    """Community of accounts made at a first login from there."""
    auth_requests_per_min: float = Field(default=120.0, gt=0)
    """Logins, tokens and renewals from one network; twice as many at once."""
    city_mqtt_url: str | None = Field(default=None, pattern=r"^mqtts?://[^\s/@]+$")
    """Where city platforms reach the broker from outside, such as mqtts://mqtt.example.cn; told with their logins."""
    heartbeat_s: float = Field(default=5.0, gt=0)
    device_poll_s: float = Field(default=1.0, gt=0)
    stream_queue_bytes: int = Field(default=1024 * 1024, ge=1024)
    """What a slow reader may owe before its queue is dropped and it is told to start afresh."""
    stream_stalled_s: float = Field(default=30.0, gt=0)
    """A reader whose connection takes nothing for this long is cut."""

    curves_every_s: float = Field(default=60.0, gt=0)
    """How often curves by the quarter and forecasts are looked after."""

    rule_alerts_a_day: float = Field(default=200.0, gt=0)
    """A rule that would have raised more alerts a day than this in the days looked at is refused unless forced."""

    reports_per_hour_account: float = Field(default=20.0, gt=0)
    reports_per_hour_address: float = Field(default=10.0, gt=0)
    reports_per_hour_community: float = Field(default=120.0, gt=0)
    """What is reported in the long run: by one account; without a login, from one address and in one community. Half an
    hour's worth may come at once, and what lives hang on is counted apart."""
    profiles: Path | None = None
    """The folder of own vendor profiles that ingest is told: devices are held against them."""
    report_contact_days: int = Field(default=30, ge=0)
    """Names and telephone numbers of reporters are forgotten so long after the order has ended."""

    @field_validator("secret_key", "secret_key_previous")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < 32:
            raise ValueError("needs at least 32 characters; `linhub init` writes one")
        return key

    @field_validator("session_limits")
    @classmethod
    def _readable(cls, limits: str) -> str:
        lifetimes(limits)
        return limits

    @field_validator("public_url", "city_mqtt_url", mode="before")
    @classmethod
    def _unset(cls, url: str | None) -> str | None:
        """Compose passes a variable on that nobody set as an empty one."""
        return url or None

    @model_validator(mode="after")
    def _way_back(self) -> Self:
        """The way back from another place of login is ours to say; a caller's Host header is not believed."""
        if self.oidc_issuer and self.oidc_client_id and not self.public_url:
            raise ValueError(
                "LINHUB_PUBLIC_URL is missing: login elsewhere (LINHUB_OIDC_ISSUER) needs the address that people come "
                "back to, such as https://linhub.example · 配置统一登录时必须设置 LINHUB_PUBLIC_URL"
            )
        return self

    @property
    def keys(self) -> tuple[str, ...]:
        """What signs, and what was signed with before."""
        given = (self.secret_key, self.secret_key_previous)
        return tuple(key.get_secret_value() for key in given if key is not None)
