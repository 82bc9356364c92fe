"""Who the rules are about: devices and places of one partition, with the rules that apply to each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.domain.devices.kind import DeviceKind
from services.domain.engine.compiled import NEVER as NEVER
from services.domain.engine.compiled import Compiled as Compiled
from services.domain.engine.compiled import RuleSet as RuleSet
from services.domain.engine.compiled import compile_rule, compile_rules, metric_positions, rule_set
from services.domain.engine.device_clock import Drift
from services.domain.engine.hold.inputs import HoldInputs
from services.domain.engine.platform import PLATFORM
from services.domain.ids import CommunityId, DeviceNo, RuleId
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.rules.evaluation import Facts, Line, State
from services.domain.rules.rule import Rule, Scope
from services.domain.rules.rulebook import Rulebook, applies

_EVERYWHERE = Scope()


class _None(dict[RuleId, State]):
    """Empty, and stays so; a million subjects at rest share it."""

    def __setitem__(self, key: RuleId, value: State) -> None:
        raise TypeError("shared by all that remember nothing: use Subject.remember")


NO_STATES: dict[RuleId, State] = _None()
_NO_PLACES: Mapping[str, Subject] = {}


@dataclass(slots=True)
class Subject:
    """A device or a place, what is known of it, and what its rules remember."""

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
    states: dict[RuleId, State] = field(default_factory=lambda: NO_STATES)
    """Changed by `remember` alone: those that have none share one."""
    dues: dict[RuleId, int] = field(default_factory=dict)
    soonest_ms: int = NEVER
    """The soonest of `dues`, those that are judged late left out."""
    drift: Drift | None = None
    """What its delays say of the device's clock; None while they say nothing."""
    places: Mapping[str, Subject] = field(default_factory=lambda: _NO_PLACES)
    """Sort of place → the subject of that place this device lies in, where rules watch it."""

    def remember(self, rule_id: RuleId, state: State) -> None:
        if self.states is NO_STATES:
            self.states = {}
        self.states[rule_id] = state

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
    """All subjects of one partition. `places`: by key, `building:{id}`, `gateway:{device_no}`, `grid:{id}` or
    `community:{id}`; only those that a rule watches."""

    line: Line
    devices: dict[DeviceNo, Subject] = field(default_factory=dict)
    places: dict[str, Subject] = field(default_factory=dict)
    holding: HoldInputs = field(default_factory=HoldInputs)
    """Silences and caps of its communities."""

    def find(self, key: str) -> Subject | None:
        sort, _, name = key.partition(":")
        return self.devices.get(DeviceNo(int(name))) if sort == "device" else self.places.get(key)

    def subjects(self) -> Iterator[Subject]:
        yield from self.devices.values()
        yield from self.places.values()


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
    by_id = {community.id: community for community in communities}
    roster = Roster(line)
    # The rules beside their set: an object that is gone would lend its identity to another.
    sets: dict[tuple[str, tuple[int, ...]], tuple[tuple[Rule, ...], RuleSet]] = {}
    intervals: dict[int, int] = {}
    positions = {name: metric_positions(kind) for name, kind in catalogue.items()}
    books = _Books(rulebook)
    for row in devices:
        if row.retired or row.kind not in catalogue or row.community_id not in by_id:
            continue
        rules = books.of_device(row)
        key = (row.kind, tuple(map(id, rules)))
        if key not in sets:
            sets[key] = rules, compile_rules(catalogue[row.kind], rules)
        roster.devices[row.device_no] = Subject(
            key=device_key(row.device_no),
            facts=_facts(
                by_id[row.community_id],
                intervals.setdefault(row.interval_s, row.interval_s * 1000),
                away.get(row.household_id) if row.household_id else None,
                line,
            ),
            community_id=row.community_id,
            building_id=row.building_id,
            place=row.place,
            rules=sets[key][1],
            grid_id=row.grid_id,
            x=row.x,
            y=row.y,
            device=row,
            positions=positions[row.kind],
        )
    for child in roster.devices.values():
        gateway_no = child.device.gateway_no if child.device is not None else None
        if gateway_no is not None and gateway_no in roster.devices:
            child.gateway = roster.devices[gateway_no]
            child.facts.gateway = child.gateway.facts
    _Places(roster, books, by_id, {row.id: row for row in buildings}, catalogue).fill()
    return roster


def _facts(community: CommunityRow, interval_ms: int, away_until_ms: int | None, line: Line) -> Facts:
    return Facts(
        interval_ms=interval_ms,
        latitude=community.latitude,
        longitude=community.longitude,
        zone=_zone(community.timezone),
        away_until_ms=away_until_ms,
        line=line,
    )


class _Books:
    """The rulebook while a roster is built: each answer worked out once, and the same objects each time."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._kinds: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._scoped: dict[tuple[str, str], tuple[bool, ...]] = {}
        """Which of those rules do not hold for every device; empty where all do."""

    def of_kind(self, community_id: str, kind: str) -> tuple[Rule, ...]:
        key = (community_id, kind)
        if key not in self._kinds:
            self._kinds[key] = self._rulebook.of_kind(*key)
        return self._kinds[key]

    def of_platform(self, community_id: str) -> tuple[Rule, ...]:
        """Rules about the community itself."""
        return self.of_kind(community_id, PLATFORM.name)

    def of_device(self, device: DeviceRow) -> tuple[Rule, ...]:
        rules = self.of_kind(device.community_id, device.kind)
        key = (device.community_id, device.kind)
        if key not in self._scoped:
            scoped = tuple(rule.scope != _EVERYWHERE for rule in rules)
            self._scoped[key] = scoped if any(scoped) else ()
        if scoped := self._scoped[key]:
            pairs = zip(rules, scoped, strict=True)
            rules = tuple([rule for rule, narrow in pairs if not narrow or applies(rule, device)])
        overrides = self._rulebook.overrides
        if overrides and (f"device:{device.id}" in overrides or f"person:{device.person_id}" in overrides):
            rules = tuple(self._rulebook.fitted(rule, device) for rule in rules)
        return rules


class _Places:
    """Places are subjects of their own for the rules that look at several devices, or at none."""

    def __init__(
        self,
        roster: Roster,
        books: _Books,
        communities: Mapping[CommunityId, CommunityRow],
        buildings: Mapping[str, BuildingRow],
        catalogue: Mapping[str, DeviceKind],
    ) -> None:
        self._roster = roster
        self._books = books
        self._communities = communities
        self._buildings = buildings
        self._catalogue = catalogue
        self._rules: dict[str, dict[RuleId, Compiled]] = {}

    def fill(self) -> None:
        found: dict[str, Subject] = {}
        lies_in: dict[tuple[str, ...], dict[str, Subject]] = {}
        for device in self._roster.devices.values():
            keys = self._keys(device)
            for sort, key in keys.items():
                place = found.get(key) or self._place(sort, key, device)
                found[key] = place
            if keys:
                among = tuple(keys.values())
                device.places = lies_in.setdefault(among, {sort: found[key] for sort, key in keys.items()})
        for community in self._communities.values():
            key = f"community:{community.id}"
            for rule in self._books.of_platform(community.id):
                self._rules.setdefault(key, {})[rule.id] = compile_rule(PLATFORM, rule, "community")
            if key not in found and key in self._rules:
                found[key] = self._community(community)
        for key, place in found.items():
            place.rules = rule_set(self._rules[key].values(), {})
            self._roster.places[key] = place

    def _keys(self, device: Subject) -> dict[str, str]:
        """Sort of place → key, for those that a rule of the device watches."""
        assert device.device is not None  # noqa: S101
        row, keys = device.device, {}
        for one in device.rules.by_id.values():
            key = None
            match one.place:
                case None:
                    continue
                case "building":
                    key = (
                        building_key(row.building_id)
                        if row.building_id and row.building_id in self._buildings
                        else None
                    )
                case "gateway":
                    key = f"gateway:{row.gateway_no or row.device_no}"
                case "grid":
                    key = f"grid:{row.grid_id}" if row.grid_id is not None else None
                case _:
                    key = f"community:{row.community_id}"
            if key is not None:
                keys[one.place] = key
                rules = self._rules.setdefault(key, {})
                if one.rule.id not in rules:
                    # As the community has it: a place is not fitted to one of its devices.
                    own = self._books.of_kind(row.community_id, row.kind)
                    rule = next((rule for rule in own if rule.id == one.rule.id), one.rule)
                    rules[rule.id] = compile_rule(one.device_kind, rule, siblings=own)
        return keys

    def _place(self, sort: str, key: str, device: Subject) -> Subject:
        """The first device of it lends it its facts."""
        row = self._buildings.get(device.building_id or "") if sort == "building" else None
        community = self._communities[CommunityId(device.community_id)]
        return Subject(
            key=key,
            facts=device.facts,
            community_id=device.community_id,
            building_id=device.building_id if sort in ("building", "gateway") else None,
            place=row.name if row is not None else community.name if sort == "community" else device.place,
            rules=RuleSet({}, {}, {}, ()),
            grid_id=row.grid_id if row is not None else device.grid_id if sort != "community" else None,
            x=row.x if row is not None else device.x if sort == "gateway" else None,
            y=row.y if row is not None else device.y if sort == "gateway" else None,
        )

    def _community(self, community: CommunityRow) -> Subject:
        return Subject(
            key=f"community:{community.id}",
            facts=_facts(community, 60_000, None, self._roster.line),
            community_id=community.id,
            building_id=None,
            place=community.name,
            rules=RuleSet({}, {}, {}, ()),
        )
