"""What ingest is told from outside."""

from __future__ import annotations

import re
from datetime import timedelta

from pydantic import Field, field_validator

from services.adapters.mqtt import Address
from services.adapters.settings import ServiceSettings
from services.domain.ids import PARTITIONS
from services.ingest.retention import Kept


class IngestSettings(ServiceSettings):
    """`worker` is the stable name behind client ids and ledger; two processes must never share one."""

    mqtt_url: str
    worker: str = Field(default="ingest-0", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    partitions: str = f"0-{PARTITIONS - 1}"
    """Which partitions of communities this worker owns: `0-15`, or `0-3,8`."""

    telemetry_window: int = Field(default=20_000, ge=1, le=65_535)
    """Unacknowledged telemetry messages. The broker's max_inflight_messages must be as large."""
    event_window: int = Field(default=1_000, ge=1, le=65_535)
    held_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    batch_wait_s: float = Field(default=0.05, gt=0, le=5)
    batch_messages: int = Field(default=4_000, ge=1, le=50_000)
    event_batch_messages: int = Field(default=500, ge=1, le=50_000)
    commit_timeout_s: float = Field(default=30, gt=0)
    retry_max_s: float = Field(default=5, gt=0)
    state_wait_s: float = Field(default=0.2, gt=0)
    """At least this long between two writes of device states."""
    drain_s: float = Field(default=8, gt=0)
    """How long a stop waits for the batches at hand."""
    log_kept_h: int = Field(default=48, ge=1)
    reading_kept_days: int = Field(default=400, ge=30)
    """Readings as they came: a year and the month to compare it with. Roll-ups stay when these go."""
    event_kept_days: int = Field(default=1830, ge=30)
    """Events of devices, which are few and are evidence: five years."""
    quarantine_kept_days: int = Field(default=30, ge=1)
    quarantine_kept_mb: int = Field(default=1024, ge=1)
    rollup_lag_s: float = Field(default=600, ge=0)
    """How long after its end an hour is rolled up; what comes still later is worked in by itself."""
    rollup_every_s: float = Field(default=10, gt=0)
    purge_every_s: float = Field(default=60, gt=0)

    @field_validator("mqtt_url")
    @classmethod
    def _address(cls, url: str) -> str:
        Address.parse(url)
        return url

    @field_validator("partitions")
    @classmethod
    def _known(cls, text: str) -> str:
        _parse(text)
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
    def owned(self) -> tuple[int, ...]:
        return _parse(self.partitions)


def _parse(text: str) -> tuple[int, ...]:
    owned: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if match is None:
            raise ValueError(f"expected something like 0-{PARTITIONS - 1} or 0-3,8, got {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < PARTITIONS:
            raise ValueError(f"partitions run from 0 to {PARTITIONS - 1}, got {part.strip()!r}")
        owned.update(range(first, last + 1))
    return tuple(sorted(owned))
