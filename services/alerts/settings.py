"""What the alert engine is told from outside."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, field_validator

from services.adapters.mqtt import Address
from services.adapters.settings import ServiceSettings
from services.alerts.retention import Kept


class AlertSettings(ServiceSettings):
    """Durations in seconds. A standby takes over at most `lease_s` after the owner stopped."""

    alerts_lease_s: float = Field(default=10.0, gt=0.2)
    alerts_tick_s: float = Field(default=1.0, gt=0)
    alerts_slack_s: float = Field(default=1.0, ge=0)
    """How far behind the time of day clocks are run: what was received before may take this long to reach the log."""
    alerts_poll_s: float = Field(default=1.0, gt=0)
    """How often the log is looked at without having been woken: a lost notification costs this much, no more."""
    alerts_readings_per_turn: int = Field(default=4000, ge=1)
    """How much telemetry one transaction takes; an event never waits for more than this."""
    alerts_roster_tick_s: float = Field(default=60.0, gt=0)
    """How often rosters are looked at."""
    alerts_roster_ahead_s: float = Field(default=93_600.0, gt=0)
    """How far ahead gaps are looked for."""
    alerts_roster_soon_s: float = Field(default=7200.0, ge=0)
    """How long before it begins a gap is told once more."""
    mqtt_url: str | None = None
    """Where commands are put to the broker, as svc-alerts; without it they stay requested until they expire."""
    alerts_pool_size: int = Field(default=6, ge=2)
    alerts_settling_s: float = Field(default=30.0, ge=0)
    """After a start that was not the first, orders that are not of life safety wait so long, and are opened if the

    alert still stands.
    """
    alerts_settle_s: float = Field(default=3600.0, ge=0)
    """After a start, silence counts anew for three intervals of the device, for so long at most; 0: not at all."""

    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+")
    """Where people reach this system from outside; without it, notices carry no link to acknowledge by."""
    notices_timeout_s: float = Field(default=10.0, gt=0, le=60)
    """How long a channel may take with one message."""
    notices_lease_s: float = Field(default=60.0, gt=0)
    """What an engine that died was sending is sent again after this: longer than a round through all channels."""
    notices_pace: float = Field(default=1.0, gt=0)
    """Factor on every wait of notices for another attempt and for an acknowledgement; for drills and tests."""

    notice_kept_days: int = Field(default=400, ge=30)
    """Who was told of what, with every attempt, and gaps of rosters."""
    outbox_kept_days: int = Field(default=30, ge=1)
    alerts_purge_every_s: float = Field(default=600.0, gt=0)

    @property
    def kept(self) -> Kept:
        return Kept(timedelta(days=self.notice_kept_days), timedelta(days=self.outbox_kept_days))

    @field_validator("public_url", mode="before")
    @classmethod
    def _unset(cls, url: str | None) -> str | None:
        """Compose passes a variable on that nobody set as an empty one."""
        return url or None

    @field_validator("mqtt_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is not None:
            Address.parse(url)
        return url
