"""Watches the broker while it runs: its own figures and the disk it saves to, as metrics, alarms and readiness."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from pydantic import BaseModel, ConfigDict, Field

from deploy.embedded.broker import SAVED, save_trouble
from services.adapters.broker_figures import Figures, Reader, following
from services.adapters.mqtt import Address

log = structlog.get_logger(__name__)

LOOK_S = 1.0
NEAR = 0.8
"""The share of a limit at which it is told."""
DROPPED_REMEMBERED_S = 300.0
"""Whoever asks for readiness every few minutes must see it, too."""
SILENT_S = 45.0
"""Four of the broker's `sys_interval`s and a save."""
SAVED_BYTES = 160
"""Of a waiting message in the saved file, besides its payload (246 with 100 bytes, bench.broker_queue), rounded up."""

KINDS = ("silent", "dropped", "queue", "disk", "unsaved")


class BrokerLimits(BaseModel):
    """Those of deploy/broker/mosquitto.conf; a test holds them equal."""

    model_config = ConfigDict(frozen=True)

    queue_messages: int = Field(default=3_500_000, gt=0)
    queue_bytes: int = Field(default=2_147_483_648, gt=0)
    save_s: float = Field(default=120, gt=0)


@dataclass(frozen=True, slots=True)
class Disk:
    """The broker's folder at one look. `save`: as `save_trouble` says; `age_s`: of the saved file, if any."""

    free: int
    save: str | None
    age_s: float | None

    @classmethod
    def look(cls, data: Path, figures: Figures) -> Disk:
        """Raises OSError where the folder cannot be looked at."""
        found = os.statvfs(data)
        needed = SAVED_BYTES * (figures.stored or 0) + (figures.stored_bytes or 0)
        try:
            age = max(0.0, time.time() - (data / SAVED).stat().st_mtime)
        except FileNotFoundError:
            age = None
        return cls(found.f_bavail * found.f_frsize, save_trouble(data, needed), age)


@dataclass(frozen=True, slots=True)
class Drops:
    """`lately`: of the time that is remembered; `ago_s`: since the last one was seen."""

    total: int = 0
    lately: int = 0
    ago_s: float | None = None


def judge(figures: Figures, drops: Drops, silent_s: float, disk: Disk | None, limits: BrokerLimits) -> dict[str, str]:
    """What is wrong, by kind (KINDS), in words."""
    found: dict[str, str] = {}
    if silent_s > SILENT_S:
        found["silent"] = f"the broker has told nothing of itself for {silent_s:.0f} s"
    if drops.lately and drops.ago_s is not None and drops.ago_s < DROPPED_REMEMBERED_S:
        found["dropped"] = (
            f"the broker dropped {drops.lately:,} messages, the last {drops.ago_s:.0f} s ago:"
            " a queue was full or a client too slow; what carries an id is sent again, the rest is lost"
        )
    if figures.waiting >= NEAR * limits.queue_messages:
        found["queue"] = (
            f"up to {figures.waiting:,} messages wait in one session of the broker and {limits.queue_messages:,} fit:"
            " is ingest or the database away?"
        )
    elif (figures.stored_bytes or 0) >= NEAR * limits.queue_bytes:
        found["queue"] = (
            f"up to {figures.stored_bytes:,} bytes wait in one session of the broker and {limits.queue_bytes:,} fit:"
            " is ingest or the database away?"
        )
    if disk is not None:
        if disk.save is not None:
            found["disk"] = disk.save
        if disk.age_s is not None and figures.uptime_s is not None:
            unsaved_s = min(disk.age_s, figures.uptime_s)
            if unsaved_s > 3 * limits.save_s:
                found["unsaved"] = (
                    f"the broker saved nothing for {unsaved_s:.0f} s; it should every {limits.save_s:g} s"
                )
    return found


class BrokerMetrics:
    """Under `linhub_broker_…`; one set a registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.dropped = Counter(
            "linhub_broker_dropped_messages", "Messages the broker dropped: a full queue", registry=registry
        )
        self.figures = {
            "stored": Gauge(
                "linhub_broker_stored_messages",
                "Messages in the broker's memory, retained ones included",
                registry=registry,
            ),
            "stored_bytes": Gauge("linhub_broker_stored_bytes", "Payloads of these", registry=registry),
            "retained": Gauge("linhub_broker_retained_messages", "Retained messages", registry=registry),
            "heap_bytes": Gauge("linhub_broker_heap_bytes", "Memory the broker took", registry=registry),
            "received": Gauge(
                "linhub_broker_received_packets", "MQTT packets since the broker's start", registry=registry
            ),
            "sent": Gauge("linhub_broker_sent_packets", "MQTT packets since the broker's start", registry=registry),
            "received_a_minute": Gauge(
                "linhub_broker_received_packets_per_minute", "Mean of the last minute", registry=registry
            ),
            "uptime_s": Gauge("linhub_broker_uptime_seconds", "Since the broker's start", registry=registry),
        }
        self.waiting = Gauge(
            "linhub_broker_waiting_messages", "At most so many wait in any one session", registry=registry
        )
        self.limit = Gauge(
            "linhub_broker_queue_limit_messages", "So many fit into a session's queue", registry=registry
        )
        self.clients = Gauge("linhub_broker_clients", "Sessions", ["state"], registry=registry)
        self.disk_free = Gauge("linhub_broker_disk_free_bytes", "Room where the broker saves", registry=registry)
        self.saved_age = Gauge(
            "linhub_broker_saved_age_seconds", "Age of the broker's saved sessions", registry=registry
        )
        self.trouble = Gauge("linhub_broker_trouble", "1 while something is wrong", ["kind"], registry=registry)
        for kind in KINDS:
            self.trouble.labels(kind).set(0)

    def show(self, figures: Figures, disk: Disk | None, trouble: Mapping[str, str], limits: BrokerLimits) -> None:
        for field, shown in self.figures.items():
            if (value := getattr(figures, field)) is not None:
                shown.set(value)
        self.waiting.set(figures.waiting)
        self.limit.set(limits.queue_messages)
        self.clients.labels("connected").set(figures.connected or 0)
        self.clients.labels("disconnected").set(figures.disconnected or 0)
        if disk is not None:
            self.disk_free.set(disk.free)
            if disk.age_s is not None:
                self.saved_age.set(disk.age_s)
        for kind in KINDS:
            self.trouble.labels(kind).set(kind in trouble)


class BrokerWatch:
    """`trouble` is what was wrong at the last look, by kind. `data`: the broker's folder, where it can be seen."""

    def __init__(
        self,
        address: Address,
        secret: str,
        limits: BrokerLimits,
        data: Path | None = None,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._address, self._secret = address, secret
        self._limits, self._data = limits, data
        self._metrics = BrokerMetrics(registry)
        self._counted = 0
        """Dropped since the broker's start, as last told."""
        self._drops = Drops()
        self._dropped_at: float | None = None
        self.trouble: dict[str, str] = {}

    def why(self) -> str | None:
        """For readiness."""
        return "; ".join(self.trouble.values()) or None

    async def run(self) -> None:
        """Until cancelled. Nothing that the broker or its disk does ends it."""
        with following(self._address, self._secret) as reader:
            began = time.monotonic()
            while True:
                self.look(reader, began)
                await asyncio.sleep(LOOK_S)

    def look(self, reader: Reader, began: float) -> None:
        now, figures = time.monotonic(), reader.figures
        self._count(figures, now)
        disk = self._disk(figures)
        silent_s = now - (reader.heard_at or began)
        trouble = judge(figures, self._drops, silent_s, disk, self._limits)
        for kind in sorted(trouble.keys() - self.trouble.keys()):
            log.error("broker_trouble", kind=kind, why=trouble[kind], refused=reader.refused)
        for kind in sorted(self.trouble.keys() - trouble.keys()):
            log.info("broker_trouble_over", kind=kind)
        self.trouble = trouble
        self._metrics.show(figures, disk, trouble, self._limits)

    def _count(self, figures: Figures, now: float) -> None:
        if figures.dropped is not None:
            # A broker that was started again counts from zero.
            more = figures.dropped - self._counted if figures.dropped >= self._counted else figures.dropped
            self._counted = figures.dropped
            if more:
                recent = self._dropped_at is not None and now - self._dropped_at < DROPPED_REMEMBERED_S
                lately = self._drops.lately + more if recent else more
                self._drops = Drops(self._drops.total + more, lately, 0.0)
                self._dropped_at = now
                self._metrics.dropped.inc(more)
                log.error("broker_dropped", messages=more, total=self._drops.total, waiting=figures.waiting)
        if self._dropped_at is not None:
            self._drops = Drops(self._drops.total, self._drops.lately, now - self._dropped_at)

    def _disk(self, figures: Figures) -> Disk | None:
        if self._data is None:
            return None
        try:
            return Disk.look(self._data, figures)
        except OSError as error:
            return Disk(0, f"the broker's folder cannot be looked at: {error}", None)
