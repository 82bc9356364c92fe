"""A community with several people of each team, and the hand that puts shifts and orders into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

from services.adapters.orders import OrderRow, insert_order
from services.adapters.rosters import horizon, make_shifts, put_pattern
from services.adapters.rosters.common import insert_shifts
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Draft, Mode, Source, plain_terms
from services.domain.registry import Account
from services.domain.rosters import Pattern, Post, Shift
from services.domain.vocabulary import Label, Role, Severity, Team
from tests.factory import put_community, small_community

HOME = CommunityId("test")
NOON = datetime(2026, 11, 23, 4, tzinfo=UTC)
"""A Monday, noon in Shanghai."""
HOUR = timedelta(hours=1)


def staff(name: str, team: Team = Team.PATROL, *skills: str, leads: bool = False) -> Account:
    return Account(name, name, Role.STAFF, team, leads=leads, skills=frozenset(skills))


async def settle(database_url: str, *more: Account, without: Sequence[Role] = ()) -> None:
    """The small community with these people besides its own; of some roles nobody."""
    community = small_community()
    accounts = tuple(one for one in (*community.accounts, *more) if one.role not in without)
    await put_community(database_url, replace(community, accounts=accounts))


async def stand(
    connection: Any,
    name: str,
    starts_at: datetime,
    ends_at: datetime,
    team: Team = Team.PATROL,
    post: Post = Post.MEMBER,
) -> Shift:
    shift = Shift(uuid4(), HOME, team, f"user-{name}", starts_at, ends_at, post)
    await insert_shifts(connection, [shift], "test", starts_at)
    return shift


async def keep_rota(
    connection: Any, names: Sequence[str], team: Team = Team.PATROL, now: datetime = NOON, **values: Any
) -> None:
    """One whole day after another, each of one person in turn; shifts are made unless `make` is False."""
    make = values.pop("make", True)
    document = {
        "team": team.value,
        "shifts": [{"name": "全天", "from": "08:00", "to": "08:00"}],
        "people": [[f"user-{name}"] for name in names],
        "from": "2026-11-01",
        **values,
    }
    rota = f"rota-{team.value}"
    async with connection.transaction():
        await put_pattern(connection, HOME, rota, Pattern.parse(document), 0, "test", now)
        if make:
            await make_shifts(connection, HOME, rota, horizon(now), "test", now, strict=True)


def draft(
    team: Team = Team.PATROL,
    mode: Mode = Mode.TEAM,
    kind: str = "gas_alarm",
    severity: Severity = Severity.CRITICAL,
    offer: int = 3,
    **values: Any,
) -> Draft:
    terms = replace(plain_terms(severity), mode=mode, offer=offer)
    return Draft(
        id=OrderId(uuid4()),
        community_id=HOME,
        source=Source.STAFF,
        kind=kind,
        severity=severity,
        title=Label("试", "test"),
        team=team,
        correlation="test@1",
        terms=terms,
        **values,
    )


async def opened(connection: Any, one: Draft, now: datetime = NOON) -> OrderRow:
    async with connection.transaction():
        row, _ = await insert_order(connection, one, now)
    return row


async def moves(connection: Any, order: OrderRow) -> list[tuple[str, Any]]:
    """Each move with its detail, oldest first."""
    rows = await connection.fetch(
        "SELECT move, detail FROM work_order_history WHERE order_id = $1 ORDER BY version", order.id
    )
    return [(row["move"], row["detail"]) for row in rows]


def names(people: Sequence[str]) -> list[str]:
    return [one.removeprefix("user-") for one in people]


def day_of(moment: datetime) -> date:
    return (moment + 8 * HOUR).date()
