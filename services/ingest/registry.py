"""What ingest knows of devices, as one immutable picture in memory: who exists, where, behind whom, what kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.adapters.rules import load_defaults
from services.domain.devices.kind import DeviceKind, MetricType
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition
from services.domain.profiles.mapper import Profiles
from services.domain.rules.parameters import CorrelationParameters, EventParameters


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """What a value must be, and where it is stored."""

    position: int
    low: float
    high: float
    type: MetricType
    options: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class KindSpec:
    """A device kind, as fast to ask as it can be made."""

    name: str
    width: int
    metrics: Mapping[str, MetricSpec]
    events: frozenset[str]
    calls_for_help: frozenset[str] = frozenset()
    """Events that a life-safety rule answers."""


@dataclass(frozen=True, slots=True)
class KnownDevice:
    no: DeviceNo
    id: DeviceId
    community: CommunityId
    partition: Partition
    kind: KindSpec
    gateway_no: DeviceNo | None
    codec: str
    address: str | None = None
    """What its own format calls it, where that is not its id."""
    profile: str | None = None
    """How its vendor's names and units become the metrics of its kind."""


@dataclass(frozen=True, slots=True)
class Registry:
    """`communities` names the partition of every community there is, with or without devices."""

    devices: Mapping[DeviceId, KnownDevice] = field(default_factory=dict)
    communities: Mapping[CommunityId, Partition] = field(default_factory=dict)
    addresses: Mapping[tuple[DeviceNo, str], KnownDevice] = field(default_factory=dict)
    """(gateway, address) → the device behind it that its format calls so."""
    profiles: Profiles = field(default_factory=Profiles, compare=False, repr=False)

    def find(self, publisher: KnownDevice, named: str) -> KnownDevice | None:
        """The device a publisher speaks of: by id, by its own address, or by the address of one behind it."""
        if named == publisher.id or named == publisher.address:
            return publisher
        return self.devices.get(DeviceId(named)) or self.addresses.get((publisher.no, named))

    def in_partitions(self, partitions: Iterable[int]) -> list[CommunityId]:
        owned = frozenset(partitions)
        return sorted(id for id, partition in self.communities.items() if partition in owned)


def kind_spec(kind: DeviceKind) -> KindSpec:
    metrics = {
        metric.name: MetricSpec(
            position,
            metric.low,
            metric.high,
            metric.type,
            {option: index for index, option in enumerate(metric.options)},
        )
        for position, metric in enumerate(kind.metrics)
    }
    calls = frozenset(
        rule.parameters.event
        for rule in load_defaults()[kind.name]
        if rule.life_safety and isinstance(rule.parameters, EventParameters | CorrelationParameters)
    )
    return KindSpec(kind.name, len(kind.metrics), metrics, frozenset(event.name for event in kind.events), calls)
