"""A community as a document: what is imported into the registry, and what the simulator lives in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from services.domain.ids import CommunityId, DeviceId, PersonId
from services.domain.vocabulary import Role, Team

ELDER_LIVING_ALONE = "elder_living_alone"
"""Person tag (独居老人): the elder-care rules apply to this person's household."""
DEMENTIA = "dementia"
"""Person tag (失智老人): whoever wears the wristband is missed when it leaves the neighbourhood."""
FIRE_LANE = "fire_lane"
"""Device tag: a parking sensor that watches a fire lane (消防通道)."""
WATER_ZONE = "water_zone"
"""Device tag: a perimeter camera at a water edge."""
GATEWAY_KIND = "gateway"
"""A device that speaks for the meters behind it; it has no metrics of its own."""


@dataclass(frozen=True, slots=True)
class Building:
    id: str
    compound_id: str
    grid_id: str
    name: str
    floors: int
    x: float
    y: float
    width: float
    depth: float


@dataclass(frozen=True, slots=True)
class Place:
    """A 小区, 网格 or unit: an id and the name people say."""

    id: str
    name: str
    parent_id: str = ""


@dataclass(frozen=True, slots=True)
class Household:
    id: str
    unit_id: str
    floor: int
    room: str


@dataclass(frozen=True, slots=True)
class Person:
    id: PersonId
    household_id: str | None
    name: str
    birth_year: int
    tags: frozenset[str] = frozenset()
    consents: frozenset[str] = frozenset()
    """What they have consented to on paper: of `people.privacy.ConsentTo`."""


@dataclass(frozen=True, slots=True)
class Device:
    """x and y are metres on the community's plan; `interval_s` None: the kind's own."""

    id: DeviceId
    kind: str
    name: str
    place: str
    x: float
    y: float
    gateway_id: DeviceId | None = None
    building_id: str | None = None
    unit_id: str | None = None
    household_id: str | None = None
    person_id: PersonId | None = None
    grid_id: str | None = None
    floor: int | None = None
    interval_s: int | None = None
    tags: frozenset[str] = frozenset()
    codec: str = "native"
    """The wire format it publishes in; of a device behind a gateway the gateway's is used."""
    address: str | None = None
    """What that format calls it, where it is not its id: a meter number, a DevEUI, a friendly name."""
    profile: str | None = None
    """The vendor profile that maps its names and units onto the kind's metrics."""


@dataclass(frozen=True, slots=True)
class Account:
    """A person who logs in. The password is set at import and kept only as a hash."""

    username: str
    display_name: str
    role: Role
    team: Team | None = None
    grid_id: str | None = None
    household_id: str | None = None
    leads: bool = False
    """Leads the team: stands on the second rung of the ladder."""
    skills: frozenset[str] = frozenset()
    """What it can do, of `dispatch.SKILLS`."""


@dataclass(frozen=True, slots=True)
class Community:
    """One community, whole. `plan` is {"width", "height", "shapes": [{"kind", "points"}]} in metres."""

    id: CommunityId
    name: str
    city: str
    district: str
    street: str
    latitude: float
    longitude: float
    plan: dict[str, Any]
    compounds: tuple[Place, ...]
    grids: tuple[Place, ...]
    buildings: tuple[Building, ...]
    units: tuple[Place, ...]
    households: tuple[Household, ...]
    people: tuple[Person, ...]
    devices: tuple[Device, ...]
    accounts: tuple[Account, ...] = field(default=())
    registered_households: int = 0
    """Households and residents the real community has; the document may hold a scaled share of them."""
    registered_residents: int = 0
