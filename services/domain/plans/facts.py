"""What a plan knows: the alert that set it off, and the devices and people around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.domain.plans.plan import Notice, People, Plan, Reach
from services.domain.vocabulary import Label, Role, Severity

PLACES = ("place", "title", "device", "community", "time")
"""What may stand in braces in a text."""
PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Facts:
    """Of the alert, as it was when the run began; kept with the run, so that its later steps see the same."""

    alert_id: str
    community_id: str
    community: str
    timezone: str
    rule_id: str
    family: str
    kind: str
    severity: str
    life_safety: bool
    title_zh: str
    title_en: str
    place: str
    onset_ms: int
    correlation: str
    device_no: int | None = None
    device_id: str | None = None
    device_name: str = ""
    device_tags: tuple[str, ...] = ()
    building_id: str | None = None
    unit_id: str | None = None
    household_id: str | None = None
    floor: int | None = None
    grid_id: str | None = None
    person_id: str | None = None
    person_tags: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Facts:
        known = {one.name: given[one.name] for one in fields(cls) if one.name in given}
        for name in ("device_tags", "person_tags"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)

    @property
    def title(self) -> Label:
        return Label(self.title_zh, self.title_en)

    def local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(self.timezone))

    def filled(self, text: str, *, chinese: bool = True) -> str:
        """The text with its places filled in; `document` has made sure that there are no others."""
        values = {
            "place": self.place or self.community,
            "title": self.title_zh if chinese else self.title_en,
            "device": self.device_name or self.device_id or "",
            "community": self.community,
            "time": f"{self.local(self.onset_ms):%H:%M}",
        }
        return PLACE.sub(lambda found: values[found[1]], text)

    def label(self, text: Label) -> Label:
        return Label(self.filled(text.zh), self.filled(text.en, chinese=False))


@dataclass(frozen=True, slots=True)
class Near:
    """One device that a plan may speak to. `online` None: it has never said."""

    device_no: int
    id: str
    kind: str
    name: str
    place: str
    building_id: str | None
    unit_id: str | None
    household_id: str | None
    grid_id: str | None
    tags: frozenset[str]
    online: bool | None
    publisher: str
    """Whose topic it listens on: its own id, or its gateway's."""
    codec: str
    """What the publisher speaks."""

    @property
    def reachable(self) -> bool:
        """Only our own format has a way down."""
        return self.codec == "native"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody a notice may go to: a resident of the registry, or an account (`user`)."""

    id: str
    user: bool
    name: str = ""
    role: str | None = None
    team: str | None = None
    grid_id: str | None = None
    household_id: str | None = None
    unit_id: str | None = None
    building_id: str | None = None
    floor: int | None = None
    contact: bool = False
    """An emergency contact of somebody of that household, who lives elsewhere."""


@dataclass(frozen=True, slots=True)
class World:
    """`alert_open`: whether the alert still stands. Devices are in the order of their ids."""

    devices: tuple[Near, ...]
    people: tuple[Person, ...]
    alert_open: bool = True


def devices_within(
    world: World, facts: Facts, kinds: tuple[str, ...], within: Reach, tags: frozenset[str]
) -> list[Near]:
    """Those of the kinds within reach; nobody where the alert lies in no such place."""
    return [one for one in world.devices if one.kind in kinds and tags <= one.tags and _reaches(one, facts, within)]


def _reaches(one: Near, facts: Facts, within: Reach) -> bool:
    match within:
        case Reach.TRIGGER:
            return one.device_no == facts.device_no
        case Reach.HOUSEHOLD:
            return facts.household_id is not None and one.household_id == facts.household_id
        case Reach.UNIT:
            return facts.unit_id is not None and one.unit_id == facts.unit_id
        case Reach.BUILDING:
            return facts.building_id is not None and one.building_id == facts.building_id
        case Reach.GRID:
            return facts.grid_id is not None and one.grid_id == facts.grid_id
        case Reach.COMMUNITY:
            return True


def people_of(world: World, facts: Facts, notice: Notice) -> list[Person]:
    """Each once, accounts first."""
    found = [one for one in world.people if _addressed(one, facts, notice)]
    return sorted(found, key=lambda one: (not one.user, one.id))


def _addressed(one: Person, facts: Facts, notice: Notice) -> bool:
    if one.user and one.role is not None and one.role in notice.roles:
        return one.role != Role.GRID.value or facts.grid_id is None or one.grid_id == facts.grid_id
    if one.user and one.team is not None and one.team in notice.teams:
        return True
    return any(_belongs(one, facts, group) for group in notice.people)


def _belongs(one: Person, facts: Facts, group: People) -> bool:
    at_home = facts.household_id is not None and one.household_id == facts.household_id
    if one.contact:
        return at_home and group is People.FAMILY
    match group:
        case People.WEARER:
            return not one.user and facts.person_id is not None and one.id == facts.person_id
        case People.HOUSEHOLD:
            return at_home
        case People.FAMILY:
            return at_home and one.id != facts.person_id
        case People.NEIGHBOURS:
            beside = facts.unit_id is not None and one.unit_id == facts.unit_id and one.floor == facts.floor
            return beside and facts.floor is not None and not at_home
        case People.UNIT:
            return facts.unit_id is not None and one.unit_id == facts.unit_id
        case People.BUILDING:
            return facts.building_id is not None and one.building_id == facts.building_id


def fits(plan: Plan, facts: Facts) -> bool:
    """Whether the alert sets the plan off, its condition aside."""
    scope = plan.trigger.scope
    return (
        plan.mode == "live"
        and plan.trigger.names(facts.rule_id, facts.family)
        and Severity(facts.severity).rank >= plan.trigger.severity.rank
        and scope.device_tags <= set(facts.device_tags)
        and scope.person_tags <= set(facts.person_tags)
        and (not scope.buildings or facts.building_id in scope.buildings)
        and (not scope.grids or facts.grid_id in scope.grids)
        and (not scope.households or facts.household_id in scope.households)
        and (not scope.devices or facts.device_id in scope.devices)
        and facts.device_id not in scope.except_devices
    )


def variables(facts: Facts, world: World, now_ms: int) -> dict[str, Any]:
    """What a condition may ask about; `conditions.FIELDS` names it all."""
    local = facts.local(now_ms)
    return {
        "alert": {
            "rule": facts.rule_id,
            "family": facts.family,
            "kind": facts.kind,
            "severity": facts.severity,
            "rank": Severity(facts.severity).rank,
            "life_safety": facts.life_safety,
            "open": world.alert_open,
        },
        "device": {"id": facts.device_id or "", "name": facts.device_name, "tags": list(facts.device_tags)},
        "place": {
            "building": facts.building_id or "",
            "unit": facts.unit_id or "",
            "household": facts.household_id or "",
            "grid": facts.grid_id or "",
            "floor": facts.floor if facts.floor is not None else 0,
            "person_tags": list(facts.person_tags),
        },
        "hour": local.hour + local.minute / 60,
        "weekday": local.isoweekday(),
    }
