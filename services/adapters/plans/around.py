"""What a plan needs to know of the registry: the place of an alert, the devices and the people around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.queries import Queries
from services.domain.plans.core import LOUDSPEAKER, SIREN
from services.domain.plans.facts import Facts, Near, Person, World
from services.domain.plans.plan import Broadcast, Command, Notice, People, Plan, Reach
from services.domain.vocabulary import Label, Role, Team

Q = Queries.beside(__file__)
_WIDE = frozenset({Reach.GRID, Reach.COMMUNITY})


@dataclass(frozen=True, slots=True)
class Concern:
    """The alert a plan is asked about; `device_id` names its device where `device_no` is not known."""

    alert_id: str
    community_id: str
    rule_id: str
    family: str
    kind: str
    severity: str
    life_safety: bool
    title: Label
    place: str
    onset_ms: int
    correlation: str
    device_no: int | None = None
    device_id: str | None = None
    building_id: str | None = None


async def facts_of(connection: asyncpg.Connection[Any], alert: Concern) -> tuple[Facts, int] | None:
    """With the community's partition. None: there is no such community."""
    row = await connection.fetchrow(
        Q["place_of"], alert.community_id, alert.device_no, alert.device_id, alert.building_id
    )
    if row is None:
        return None
    facts = Facts(
        alert_id=alert.alert_id,
        community_id=alert.community_id,
        community=row["community"],
        timezone=row["timezone"],
        rule_id=alert.rule_id,
        family=alert.family,
        kind=alert.kind,
        severity=alert.severity,
        life_safety=alert.life_safety,
        title_zh=alert.title.zh,
        title_en=alert.title.en,
        place=alert.place or row["place"] or "",
        onset_ms=alert.onset_ms,
        correlation=alert.correlation,
        device_no=alert.device_no,
        device_id=row["device_id"],
        device_name=row["device_name"] or "",
        device_tags=tuple(row["device_tags"] or ()),
        building_id=row["building_id"],
        unit_id=row["unit_id"],
        household_id=row["household_id"],
        floor=row["floor"],
        grid_id=row["grid_id"],
        person_id=row["person_id"],
        person_tags=tuple(row["person_tags"]),
    )
    return facts, row["partition"]


async def concern_of(connection: asyncpg.Connection[Any], alert_id: UUID) -> tuple[Concern, bool] | None:
    """An alert that was raised, and whether it still stands."""
    row = await connection.fetchrow(Q["alert_for_plan"], alert_id)
    if row is None:
        return None
    names = ("community_id", "rule_id", "family", "kind", "severity", "life_safety", "place", "onset_ms", "correlation")
    concern = Concern(
        str(row["id"]),
        title=Label(row["title_zh"], row["title_en"]),
        device_no=row["device_no"],
        building_id=row["building_id"],
        **{name: row[name] for name in names},
    )
    return concern, row["open"]


async def load_world(connection: asyncpg.Connection[Any], plan: Plan, facts: Facts, alert_open: bool = True) -> World:
    """The devices and people that the plan could turn to, and no others."""
    near, wide = _kinds(plan)
    rows = await connection.fetch(
        Q["devices_near"], facts.community_id, facts.device_no, sorted(near), facts.building_id, sorted(wide)
    )
    devices = tuple(
        Near(**{name: row[name] for name in row.keys() if name != "tags"}, tags=frozenset(row["tags"]))  # noqa: SIM118
        for row in rows
    )
    return World(devices, await _people(connection, plan, facts), alert_open)


def _kinds(plan: Plan) -> tuple[set[str], set[str]]:
    """Kinds meant in the building or closer, and those meant in the whole community."""
    near: set[str] = set()
    wide: set[str] = set()
    for step in plan.steps:
        if isinstance(step.action, Command):
            (wide if step.action.within in _WIDE else near).update(step.action.kinds)
        elif isinstance(step.action, Broadcast):
            everywhere = step.action.widen or step.action.within in _WIDE
            (wide if everywhere else near).update((LOUDSPEAKER, SIREN))
    return near, wide


async def _people(connection: asyncpg.Connection[Any], plan: Plan, facts: Facts) -> tuple[Person, ...]:
    notices = [step.action for step in plan.steps if isinstance(step.action, Notice)]
    # The desk is told of what does not come off, whether or not a step names it.
    roles = {Role.DESK.value, *(role.value for one in notices for role in one.roles)}
    teams = {Team.DESK.value, *(team.value for one in notices for team in one.teams)}
    building = facts.building_id if any(one.people for one in notices) else None
    people = [
        Person(row["id"], False, row["name"] or "", None, None, None, *_home(row))
        for row in (await connection.fetch(Q["residents_near"], building) if building else ())
    ]
    if facts.household_id and any(People.FAMILY in one.people for one in notices):
        people += [
            Person(row["id"], False, row["name"], household_id=facts.household_id, contact=True)
            for row in await connection.fetch(Q["contacts_near"], facts.household_id, facts.person_id)
        ]
    people += [
        Person(row["id"], True, row["name"], row["role"], row["team"], row["grid_id"], *_home(row))
        for row in await connection.fetch(
            Q["accounts_near"], facts.community_id, sorted(roles), sorted(teams), building
        )
    ]
    return tuple(people)


def _home(row: asyncpg.Record) -> tuple[Any, ...]:
    return row["household_id"], row["unit_id"], row["building_id"], row["floor"]
