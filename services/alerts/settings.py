"""What the alert engine is told from outside."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from services.adapters.mqtt import Address
from services.adapters.outward.addresses import Allowed
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
    alerts_lamps_every_s: float = Field(default=30.0, gt=0)
    """How often lamp schedules are looked at."""
    mqtt_url: str | None = None
    """Where commands and city events are put to the broker, as svc-alerts; without it the first stay requested until
    they expire, and the second wait."""
    alerts_pool_size: int = Field(default=8, ge=2)
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
    notices_networks: str = ""
    """Networks of one's own where gateways, web hooks and mail servers of notices may be, with commas: there, plain
    HTTP and any port will do. Everywhere else private addresses are refused."""

    city_networks: str = ""
    """Networks of one's own where subscribers of city events may be, with commas: there, plain HTTP and any port will
    do. Everywhere else private addresses are refused."""
    city_ports: str = "443,8443"
    """Ports of subscribers in the open internet."""
    city_connect_s: float = Field(default=5.0, gt=0, le=30)
    city_timeout_s: float = Field(default=15.0, gt=0, le=30)
    """How long a receiver of city events may take with one, from the look-up of its name on."""
    city_ca_file: Path | None = None
    """Certificates to trust besides the usual ones, as PEM."""
    city_mqtt_ahead: int = Field(default=50_000, ge=100)
    """So many events go to the broker for a subscriber who has not said by pulling how far it has come; more wait in
    the outbox, so that one who is away for good does not fill the broker."""
    city_mqtt_mark_s: float = Field(default=5.0, gt=0)
    """How often the broker is given a mark, by which it shows after a crash what it still knows."""
    city_tell_s: float = Field(default=60.0, gt=0)
    """How often it is looked whether public data changed, or a day is over."""
    city_pace: float = Field(default=1.0, gt=0, le=1)
    """Factor on the waits between attempts, for drills and tests."""

    ngsi_look_s: float = Field(default=1.0, gt=0, le=60)
    """How often it is looked for what changed of entities of NGSI-LD: the least between two notifications, too."""

    notice_kept_days: int = Field(default=400, ge=30)
    """Who was told of what, with every attempt, and gaps of rosters."""
    outbox_kept_days: int = Field(default=30, ge=1)
    alerts_purge_every_s: float = Field(default=600.0, gt=0)

    @property
    def kept(self) -> Kept:
        return Kept(timedelta(days=self.notice_kept_days), timedelta(days=self.outbox_kept_days))

    @property
    def notices_allowed(self) -> Allowed:
        return Allowed.of(self.notices_networks.split(","), ())

    @property
    def city_allowed(self) -> Allowed:
        return Allowed.of(
            self.city_networks.split(","), (int(one) for one in self.city_ports.split(",") if one.strip())
        )

    @model_validator(mode="after")
    def _reaches(self) -> Self:
        """Raises ValueError where networks or ports cannot be read."""
        try:
            _ = self.notices_allowed
        except ValueError as error:
            raise ValueError(f"notices_networks: {error}") from None
        try:
            allowed = self.city_allowed
        except ValueError as error:
            raise ValueError(f"city_networks or city_ports: {error}") from None
        if not all(0 < port < 65_536 for port in allowed.ports):
            raise ValueError("city_ports: a port is a number from 1 to 65535")
        return self

    @field_validator("public_url", "city_ca_file", mode="before")
    @classmethod
    def _unset(cls, value: str | None) -> str | None:
        """Compose passes a variable on that nobody set as an empty one."""
        return value or None

    @field_validator("mqtt_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is not None:
            Address.parse(url)
        return url
