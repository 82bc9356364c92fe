"""A batch after the checks: what it says, item by item, and what of it was refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from services.domain.ids import CommunityId, DeviceNo
from services.domain.messages import DeviceEvent, Reason, Rejected, Reply
from services.ingest.registry import KnownDevice
from services.ingest.values import Row

NO_COMMUNITY = -1
"""The ledger's partition for messages whose topic names no community there is."""

Session = tuple[int, bool]
"""(session, ended): a device's connections in order; the last will ends one."""


class Outcome(Enum):
    """How a message ended."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(slots=True)
class Item:
    """One accepted part of a message. `source` is the index of its message in the batch; the store sets the outcome."""

    source: int
    received_ms: int
    device: KnownDevice
    ts_ms: int
    message_id: str | None
    outcome: Outcome = field(default=Outcome.STORED, init=False)
    refusal: Rejected | None = field(default=None, init=False)

    def refuse(self, rejected: Rejected) -> None:
        self.outcome, self.refusal = Outcome.REJECTED, rejected


@dataclass(slots=True)
class Reading(Item):
    """`vals` in the order of the kind's metrics, as wide as the kind, None where nothing usable was sent."""

    vals: Row
    added: Row | None = field(default=None, init=False)
    """What it filled in a row that was already there; None for a new row."""


@dataclass(slots=True)
class Happening(Item):
    """An event, or a command's reply kept like one under the name `reply:{command id}`."""

    event: str
    data: dict[str, Any]
    message: DeviceEvent | Reply


@dataclass(slots=True)
class Status(Item):
    online: bool
    session: int
    repeated: bool = False
    """The broker said again what it had retained: no sign that the device is there now."""
    heartbeat: bool = False
    """The device says once more that it is there: nothing new, but a sign of life."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A part that is kept in quarantine alone."""

    source: int
    rejected: Rejected
    community: CommunityId | None
    partition: int
    keep: bool = True
    """False: counted only; enough of the same kind were kept with their payload."""


@dataclass(frozen=True, slots=True)
class BadValue:
    """One value of a reading that goes to quarantine while the rest is stored."""

    item: Item
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Flooded:
    """A known device said more than its share: `count` of its messages were refused since the last time it was told."""

    device: KnownDevice
    received_ms: int
    count: int


@dataclass(frozen=True, slots=True)
class ClockOff:
    """A known device lives in the future."""

    device: KnownDevice
    ts_ms: int
    received_ms: int

    @property
    def offset_ms(self) -> int:
        return self.ts_ms - self.received_ms


@dataclass(slots=True)
class Plain:
    """Telemetry with nothing unusual about it, as columns: place i of each is one reading, in the order they came.

    One object a reading would cost more than everything else that happens to it here.
    """

    sources: list[int] = field(default_factory=list)
    devices: list[KnownDevice] = field(default_factory=list)
    ts_ms: list[int] = field(default_factory=list)
    received_ms: list[int] = field(default_factory=list)
    vals: list[Row] = field(default_factory=list)
    ids: list[tuple[int, str]] = field(default_factory=list)
    """(place, message id) of those that carry one."""


@dataclass(slots=True)
class Checked:
    """A batch after the checks, before the database has its say (duplicates, conflicts)."""

    plain: Plain = field(default_factory=Plain)
    readings: list[Reading] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    bad_values: list[BadValue] = field(default_factory=list)
    clocks: list[ClockOff] = field(default_factory=list)
    floods: list[Flooded] = field(default_factory=list)
    forwarders: dict[DeviceNo, int] = field(default_factory=dict)
    """Gateways that spoke for others: device number → when last."""
    foreign: dict[int, str] = field(default_factory=dict)
    """Messages in a format that is not ours: index in the batch → codec."""

    def unfold(self) -> None:
        """Makes items of the plain readings, where single ones get a fate of their own. The order stays."""
        plain = self.plain
        if not plain.sources:
            return
        ids = dict(plain.ids)
        columns = zip(plain.sources, plain.received_ms, plain.devices, plain.ts_ms, plain.vals, strict=True)
        self.readings += [
            Reading(source, received_ms, device, ts_ms, ids.get(place), vals)
            for place, (source, received_ms, device, ts_ms, vals) in enumerate(columns)
        ]
        # A message is plain as a whole or not at all, so its parts stay in their order.
        self.readings.sort(key=lambda reading: reading.source)
        self.plain = Plain()

    @property
    def accepted(self) -> bool:
        return bool(self.plain.sources or self.readings or self.happenings or self.statuses)

    def items(self) -> list[Item]:
        """Everything but the plain readings."""
        return [*self.readings, *self.happenings, *self.statuses]

    def begin(self) -> None:
        """Forgets an earlier attempt to store this batch."""
        for item in self.items():
            item.outcome, item.refusal = Outcome.STORED, None
        for reading in self.readings:
            reading.added = None
