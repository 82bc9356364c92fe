"""Who the rules are about: devices and buildings of one partition, with the rules that apply to each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from services.domain.devices.kind import DeviceKind
from services.domain.engine.quiet import Quiet, compile_quiet
from services.domain.ids import DeviceNo, RuleId
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.rules import BY_PARAMETERS
from services.domain.rules.evaluation import Facts, Line, Reading, RuleKind, State
from services.domain.rules.rule import Rule
from services.domain.rules.rulebook import Rulebook, applies


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule beside its behaviour and the kind of device it watches."""

    rule: Rule
    kind: RuleKind[Any]
    device_kind: DeviceKind
    family: str
    siblings: tuple[Rule, ...] = ()
    """All rules it was compiled with."""


def metric_positions(kind: DeviceKind) -> dict[str, int]:
    return {metric.name: position for position, metric in enumerate(kind.metrics)}


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules that apply to one sort of device, sorted by what can set them off, so that the others cost nothing."""

    by_id: Mapping[RuleId, Compiled]
    reads: Mapping[type, tuple[Compiled, ...]]
    reads_active: Mapping[type, tuple[Compiled, ...]]
    starts: tuple[Compiled, ...]
    quiet: Quiet | None = None
    """When a reading sets off none of them."""


def _gravest_first(rule: Rule) -> tuple[bool, int]:
    """The building before its devices, so that a second detector joins the fire instead of opening an order alone."""
    return not BY_PARAMETERS[type(rule.parameters)].per_building, -rule.severity.rank


def compile_rules(device_kind: DeviceKind, rules: Iterable[Rule]) -> RuleSet:
    """Worst first: where one message sets off two rules of a family, the graver one names the alert."""
    together = tuple(sorted(rules, key=_gravest_first))
    compiled = [
        Compiled(rule, BY_PARAMETERS[type(rule.parameters)], device_kind, rule.family or rule.id, together)
        for rule in together
    ]
    reads: dict[type, list[Compiled]] = {}
    active: dict[type, list[Compiled]] = {}
    for one in compiled:
        for item in one.kind.reads:
            reads.setdefault(item, []).append(one)
        for item in one.kind.reads_active:
            active.setdefault(item, []).append(one)
    return RuleSet(
        {one.rule.id: one for one in compiled},
        {item: tuple(found) for item, found in reads.items()},
        {item: tuple(found) for item, found in active.items()},
        tuple(one for one in compiled if one.kind.starts),
        compile_quiet(reads.get(Reading, ()), metric_positions(device_kind)),
    )


@dataclass(slots=True)
class Subject:
    """A device or a building, what is known of it, and what its rules remember."""

    key: str
    facts: Facts
    community_id: str
    building_id: str | None
    place: str
    rules: RuleSet
    grid_id: str | None = None
    x: float | None = None
    y: float | None = None
    device: DeviceRow | None = None
    gateway: Subject | None = None
    positions: Mapping[str, int] = field(default_factory=dict)
    newest_ms: int = 0
    """The device's own time of its newest telemetry; what is older than that comes too late to mean anything now."""
    states: dict[RuleId, State] = field(default_factory=dict)
    dues: dict[RuleId, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For correlation ids: the device's public id, else the key."""
        return self.device.id if self.device else self.key


def device_key(device_no: int) -> str:
    return f"device:{device_no}"


def building_key(building_id: str) -> str:
    return f"building:{building_id}"


@lru_cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@dataclass(frozen=True, slots=True)
class BuildingRow:
    """A building as people call it, its 网格, and its middle on the plan in metres."""

    id: str
    name: str
    grid_id: str
    x: float
    y: float


@dataclass(slots=True)
class Seen:
    """What the database knows of a device's life, for a start: server times, and its own time of the newest reading."""

    seen_ms: int | None = None
    online: bool = False
    online_since_ms: int = 0
    session: int = 0
    newest_ms: int = 0


@dataclass(slots=True)
class Roster:
    """All subjects of one partition."""

    line: Line
    devices: dict[DeviceNo, Subject] = field(default_factory=dict)
    buildings: dict[str, Subject] = field(default_factory=dict)

    def find(self, key: str) -> Subject | None:
        sort, _, name = key.partition(":")
        return self.devices.get(DeviceNo(int(name))) if sort == "device" else self.buildings.get(key)


def build_roster(
    catalogue: Mapping[str, DeviceKind],
    rulebook: Rulebook,
    communities: Iterable[CommunityRow],
    devices: Iterable[DeviceRow],
    buildings: Iterable[BuildingRow],
    away: Mapping[str, int],
    line: Line,
) -> Roster:
    """`away`: household → until when nobody is at home, epoch ms. Retired devices and unknown kinds are left out."""
    places = {community.id: community for community in communities}
    roster = Roster(line)
    sets: dict[tuple[str, tuple[int, ...]], RuleSet] = {}
    books = _Books(rulebook)
    of_building: dict[str, dict[str, DeviceKind]] = {}
    rows = [row for row in devices if not row.retired and row.kind in catalogue and row.community_id in places]
    for row in rows:
        kind, community = catalogue[row.kind], places[row.community_id]
        rules = books.of_device(row)
        key = (row.kind, tuple(map(id, rules)))
        if key not in sets:
            sets[key] = compile_rules(kind, rules)
        roster.devices[row.device_no] = Subject(
            key=device_key(row.device_no),
            facts=Facts(
                interval_ms=row.interval_s * 1000,
                latitude=community.latitude,
                longitude=community.longitude,
                zone=_zone(community.timezone),
                away_until_ms=away.get(row.household_id) if row.household_id else None,
                line=line,
            ),
            community_id=row.community_id,
            building_id=row.building_id,
            place=row.place,
            rules=sets[key],
            grid_id=row.grid_id,
            x=row.x,
            y=row.y,
            device=row,
            positions=metric_positions(kind),
        )
        if row.building_id is not None:
            of_building.setdefault(row.building_id, {})[row.kind] = kind
    for row in rows:
        if row.gateway_no is not None and row.gateway_no in roster.devices:
            child, gateway = roster.devices[row.device_no], roster.devices[row.gateway_no]
            child.gateway, child.facts.gateway = gateway, gateway.facts
    _buildings(roster, books, of_building, buildings)
    return roster


class _Books:
    """The rulebook while a roster is built: each answer worked out once, and the same objects each time."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._kinds: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._kept: list[tuple[Rule, ...]] = []

    def of_kind(self, community_id: str, kind: str) -> tuple[Rule, ...]:
        key = (community_id, kind)
        if key not in self._kinds:
            self._kinds[key] = self._rulebook.of_kind(*key)
        return self._kinds[key]

    def of_device(self, device: DeviceRow) -> tuple[Rule, ...]:
        rules = tuple(
            self._rulebook.fitted(rule, device)
            for rule in self.of_kind(device.community_id, device.kind)
            if applies(rule, device)
        )
        # An object that is gone would lend its identity to another rule.
        self._kept.append(rules)
        return rules


def _buildings(
    roster: Roster, books: _Books, kinds: Mapping[str, Mapping[str, DeviceKind]], rows: Iterable[BuildingRow]
) -> None:
    """A building is a subject of its own for the rules that count its devices."""
    anyone = {device.building_id: device for device in roster.devices.values()}
    for row in rows:
        device = anyone.get(row.id)
        if device is None:
            continue
        by_id = {
            rule_id: one
            for kind in kinds.get(row.id, {}).values()
            for rule_id, one in compile_rules(kind, books.of_kind(device.community_id, kind.name)).by_id.items()
            if one.kind.per_building
        }
        if not by_id:
            continue
        roster.buildings[building_key(row.id)] = Subject(
            key=building_key(row.id),
            facts=device.facts,
            community_id=device.community_id,
            building_id=row.id,
            place=row.name,
            rules=RuleSet(by_id, {}, {}, ()),
            grid_id=row.grid_id,
            x=row.x,
            y=row.y,
        )
