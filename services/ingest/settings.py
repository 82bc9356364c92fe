"""What ingest is told from outside."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field, field_validator

from services.adapters.mqtt import Address
from services.adapters.profiles import load as load_profiles
from services.adapters.settings import ServiceSettings
from services.ingest import failpoints
from services.ingest.limits import Limits, Rate
from services.ingest.retention import Kept


class IngestSettings(ServiceSettings):
    """`worker` is the name in the ledger; empty: the first of ingest-0, ingest-1 … that no living process has."""

    mqtt_url: str
    worker: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9-]{0,40})?$")
    mqtt_client_prefix: str = Field(default="linhub", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    """Of the client ids that own the sessions; two installations at one broker need one each, for good."""
    worker_ttl_s: float = Field(default=4, ge=0.5)
    """A worker that is silent for so long counts as dead; one whose process ended is missed at once."""
    worker_beat_s: float = Field(default=0.3, gt=0, le=5)

    telemetry_window: int = Field(default=20_000, ge=1, le=65_535)
    """Unacknowledged telemetry messages of a partition. The broker's max_inflight_messages must be as large."""
    event_window: int = Field(default=1_000, ge=1, le=65_535)
    broker_keepalive_s: int = Field(default=15, ge=1, le=3600)
    """A silent broker is noticed after one to two of these."""
    held_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Unacknowledged payload of all partitions together, roughly: each session may hold a sixteenth."""
    batch_wait_s: float = Field(default=0.05, gt=0, le=5)
    """How long telemetry is gathered; up to four times as long where thousands of messages come a second."""
    batch_messages: int = Field(default=10_000, ge=1, le=50_000)
    event_batch_messages: int = Field(default=500, ge=1, le=50_000)
    commit_timeout_s: float = Field(default=30, gt=0)
    retry_max_s: float = Field(default=5, gt=0)
    state_wait_s: float = Field(default=0.2, gt=0)
    """At least this long between two writes of device states."""
    flood_rate: int = Field(default=100, ge=1, le=100_000)
    """Telemetry messages a second that one publisher may send for ever; more are refused, and sent again if kept."""
    flood_burst: int = Field(default=3_000, ge=1)
    """Telemetry messages of one publisher that may come at once, as a gateway sends what it kept in an outage."""
    flood_event_rate: int = Field(default=20, ge=1, le=100_000)
    """The same for events, states and replies. Calls for help pass beside it."""
    flood_event_burst: int = Field(default=1_000, ge=1)
    flood_rate_behind: int = Field(default=1, ge=0, le=1_000)
    """Messages a second that a gateway may send more for each device behind it."""
    drain_s: float = Field(default=8, gt=0)
    """How long a stop waits for the batches at hand."""
    log_kept_h: int = Field(default=48, ge=1)
    reading_kept_days: int = Field(default=400, ge=30)
    """Readings as they came: a year and the month to compare it with. Roll-ups stay when these go."""
    event_kept_days: int = Field(default=1830, ge=30)
    """Events of devices, which are few and are evidence: five years."""
    quarantine_kept_days: int = Field(default=30, ge=1)
    rollup_lag_s: float = Field(default=600, ge=0)
    """How long after its end an hour is rolled up; what comes still later is worked in by itself."""
    rollup_every_s: float = Field(default=10, gt=0)
    quarantine_kept_mb: int = Field(default=1024, ge=1)
    purge_every_s: float = Field(default=60, gt=0)
    failpoint: str = ""
    """Where this process fails on purpose (services.ingest.failpoints); empty outside of tests."""

    profiles: Path | None = None
    """A folder of the community's own vendor profiles (YAML); they win over those that come with LinHub."""

    @field_validator("mqtt_url")
    @classmethod
    def _address(cls, url: str) -> str:
        Address.parse(url)
        return url

    @field_validator("profiles")
    @classmethod
    def _usable(cls, folder: Path | None) -> Path | None:
        if folder is not None:
            load_profiles(folder)
        return folder

    @field_validator("failpoint")
    @classmethod
    def _there(cls, text: str) -> str:
        if text:
            failpoints.parse(text)
        return text

    @property
    def kept(self) -> Kept:
        return Kept(
            readings=timedelta(days=self.reading_kept_days),
            events=timedelta(days=self.event_kept_days),
            log=timedelta(hours=self.log_kept_h),
            quarantine=timedelta(days=self.quarantine_kept_days),
            quarantine_bytes=self.quarantine_kept_mb * 1024 * 1024,
        )

    @property
    def limits(self) -> Limits:
        return Limits(
            telemetry=Rate(self.flood_rate, self.flood_burst),
            events=Rate(self.flood_event_rate, self.flood_event_burst),
            per_s_behind=self.flood_rate_behind,
        )
