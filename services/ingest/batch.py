"""A batch on its way into one transaction, who writes it, and what the writing came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from services.adapters.mqtt import Inbound
from services.domain.ids import DeviceNo
from services.ingest.checked import BadValue, Checked, Refusal, Session
from services.ingest.values import Row


class Fenced(Exception):
    """Somebody else writes this partition's log: we are no longer its owner and must stop."""

    def __init__(self, partition: int, why: str) -> None:
        super().__init__(why)
        self.partition = partition


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes. `worker` counts in the ledger across restarts; `instance` tells two processes of that name apart."""

    worker: str
    instance: str
    lane: int
    partitions: tuple[int, ...]


class StoredReadings(NamedTuple):
    """Columns: place i of each is one reading."""

    device_nos: list[DeviceNo]
    ts_ms: list[int]
    received_ms: list[int]
    vals: list[Row]

    @classmethod
    def none(cls) -> StoredReadings:
        return cls([], [], [], [])

    def add(self, device_no: DeviceNo, ts_ms: int, received_ms: int, vals: Row) -> None:
        self.device_nos.append(device_no)
        self.ts_ms.append(ts_ms)
        self.received_ms.append(received_ms)
        self.vals.append(vals)

    def extend(self, more: StoredReadings) -> None:
        self.device_nos.extend(more.device_nos)
        self.ts_ms.extend(more.ts_ms)
        self.received_ms.extend(more.received_ms)
        self.vals.extend(more.vals)


@dataclass(slots=True)
class Batch:
    """Messages on their way into one transaction. `marker` is unique to the batch: it is how a commit is recognised."""

    messages: Sequence[Inbound]
    checked: Checked
    marker: datetime
    attempts: int = 0
    faults: int = 0
    """Attempts that a fault of ours ended."""
    written: Written = field(default_factory=lambda: Written())


@dataclass(slots=True)
class Written:
    """What the last attempt did; valid once it is committed."""

    numbers: dict[int, int] = field(default_factory=dict)
    """partition → the log number this batch got."""
    sessions: dict[DeviceNo, Session] = field(default_factory=dict)
    conflicts: list[BadValue] = field(default_factory=list)
    heard_again: list[Refusal] = field(default_factory=list)
    """Retained messages that were refused and kept before."""
    readings: dict[int, StoredReadings] = field(default_factory=dict)
    """partition → what the log says was added."""
