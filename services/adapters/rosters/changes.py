"""Changes of single shifts: one more, a stand-in (替班), a swap that both agree to (换班), one cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from services.adapters.rosters.common import Connection, Q, RosterRefused, Row, insert_shifts, lock, shift_of
from services.domain.rosters import LONGEST_SHIFT, Change, Clash, Post, Shift, clashes, stand_in, swapped
from services.domain.vocabulary import Label, Role, Team

_NAMESPACE = UUID("9d3a4f0e-6a55-5a0e-8a54-64757479a002")


def id_of(by: str, key: str) -> UUID:
    """Of what somebody makes with this Idempotency-Key: a retry makes the same thing again, and so nothing."""
    return uuid5(_NAMESPACE, f"{by}|{key}")


@dataclass(frozen=True, slots=True)
class Page:
    """`after`: start and id of the last shift of the page before."""

    community_id: str
    start: datetime
    end: datetime
    team: Team | None = None
    cancelled: bool = False
    after: tuple[datetime, UUID] | None = None
    limit: int = 100


async def shifts(connection: Connection, page: Page) -> list[Any]:
    """Shifts that have a moment within start to end, by their start."""
    at, last = page.after or (None, None)
    rows: list[Any] = await connection.fetch(
        Q["shifts_page"],
        page.community_id,
        page.start,
        page.end,
        page.team.value if page.team else None,
        page.cancelled,
        at,
        last,
        page.limit,
    )
    return rows


async def shift(connection: Connection, shift_id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["shift"], shift_id)
    return row


async def staff(connection: Connection, community_id: str) -> list[Any]:
    """Every account that can stand duty in the community, the disabled too."""
    rows: list[Any] = await connection.fetch(Q["staff"], community_id)
    return rows


async def set_staff(
    connection: Connection,
    community_id: str,
    user_id: str,
    leads: bool,
    skills: Sequence[str],
    grid_id: str | None,
    *,
    street_too: bool,
) -> Row:
    """Raises RosterRefused for a stranger, a 网格 of another community, or one for somebody who is no grid member.

    `street_too`: also people of the street office, who are not the community's own.
    """
    person = await _able(connection, community_id, user_id, None)
    if person["role"] == Role.STREET and not street_too:
        raise RosterRefused(Label("街道人员由管理员设置", "people of the street office are set by an administrator"))
    if grid_id is not None and not await connection.fetchval(Q["grid_of_community"], community_id, grid_id):
        raise RosterRefused(Label("本社区没有该网格", "there is no such grid in this community"))
    if grid_id is not None and person["role"] != Role.GRID:
        raise RosterRefused(Label("只有网格员归属网格", "only grid members belong to a grid"))
    await connection.execute(Q["set_staff"], user_id, leads, sorted(set(skills)), grid_id)
    return next(row for row in await staff(connection, community_id) if row["id"] == user_id)


async def _able(connection: Connection, community_id: str, user_id: str, team: Team | None) -> Row:
    """The account, if it can stand duty here (in this team). Raises RosterRefused."""
    for row in await staff(connection, community_id):
        if row["id"] == user_id and not row["disabled"] and (team is None or row["duty_team"] == team.value):
            found: Row = row
            return found
    raise RosterRefused(
        Label(f"{user_id} 不是本社区该队伍的在用账号", f"{user_id} is not an enabled account of this team here")
    )


async def add_shift(connection: Connection, wanted: Shift, by: str, now: datetime, why: str) -> Row:
    """One shift made by hand. The same id again changes nothing."""
    await lock(connection, wanted.community_id)
    known = await shift(connection, wanted.id)
    if known is not None:
        return known
    await _able(connection, wanted.community_id, wanted.user_id, wanted.team)
    found = clashes([wanted], await _standing(connection, [wanted.user_id], wanted.starts_at, wanted.ends_at))
    if found:
        raise RosterRefused(found[0].words)
    await insert_shifts(connection, [wanted], by, now, why)
    row = await shift(connection, wanted.id)
    assert row is not None  # noqa: S101
    return row


async def _standing(connection: Connection, people: Sequence[str], start: datetime, end: datetime) -> list[Shift]:
    rows = await connection.fetch(Q["standing_shifts"], list(people), start, end)
    return [shift_of(row) for row in rows]


async def _perform(connection: Connection, change: Change | Clash, by: str, now: datetime, why: str) -> Change:
    if isinstance(change, Clash):
        raise RosterRefused(change.words)
    await connection.fetch(Q["cancel_shifts"], [one.id for one in change.cancelled], now, by, why)
    await insert_shifts(connection, change.added, by, now, why)
    return change


async def put_stand_in(
    connection: Connection,
    community_id: str,
    absent: str,
    person: str,
    start: datetime,
    end: datetime,
    by: str,
    now: datetime,
    why: str,
    team: Team | None = None,
) -> Change:
    """`person` stands for `absent` from start to end; a second time nothing is left to change hands."""
    await lock(connection, community_id)
    rows = await connection.fetch(Q["shifts_of_person"], community_id, absent, team.value if team else None, start, end)
    theirs = [shift_of(row) for row in rows]
    for wanted in sorted({one.team for one in theirs}):
        await _able(connection, community_id, person, wanted)
    standing = await _standing(connection, [person], start - LONGEST_SHIFT, end + LONGEST_SHIFT)
    return await _perform(connection, stand_in(theirs, standing, person, start, end), by, now, why)


async def cancel(connection: Connection, row: Row, by: str, now: datetime, why: str) -> bool:
    """False: it was cancelled already. Raises RosterRefused for one that is over."""
    await lock(connection, row["community_id"])
    if row["cancelled_at"] is not None:
        return False
    if row["ends_at"] <= now:
        raise RosterRefused(Label("该班次已结束", "this shift is over"))
    if row["starts_at"] < now:
        # What was stood so far stays in the record.
        done = shift_of(row)
        kept = Shift(
            id=uuid5(done.id, f"ended|{now.isoformat()}"),
            community_id=done.community_id,
            team=done.team,
            user_id=done.user_id,
            starts_at=done.starts_at,
            ends_at=now,
            post=Post(done.post),
            name=done.name,
            pattern_id=done.pattern_id,
            version=done.version,
            stands_in_for=done.stands_in_for,
            replaces=done.id,
        )
        await _perform(connection, Change((done,), (kept,)), by, now, why)
        return True
    return bool(await connection.fetch(Q["cancel_shifts"], [row["id"]], now, by, why))


async def ask_swap(
    connection: Connection, swap_id: UUID, one: Row, other: Row, by: str, now: datetime, why: str
) -> Row:
    """Asks for it; the same id again changes nothing."""
    await connection.execute(Q["insert_swap"], swap_id, one["community_id"], one["id"], other["id"], by, now, why)
    row: Row = await connection.fetchrow(Q["swap"], swap_id)
    return row


async def swap(connection: Connection, swap_id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["swap"], swap_id)
    return row


async def swaps(connection: Connection, community_id: str, *, open_only: bool) -> list[Any]:
    rows: list[Any] = await connection.fetch(Q["swaps"], community_id, open_only)
    return rows


async def answer_swap(connection: Connection, swap_id: UUID, agree: bool, by: str, now: datetime) -> Row:
    """With a yes the two change hands at once. Raises RosterRefused where one of them is gone, begun or in the way."""
    asked = await connection.fetchrow(Q["swap"], swap_id)
    await lock(connection, asked["community_id"])
    asked = await connection.fetchrow(Q["lock_swap"], swap_id)
    if asked["answered_at"] is not None:
        if asked["agreed"] == agree:
            found: Row = asked
            return found
        raise RosterRefused(Label("换班申请已答复", "the swap was answered already"))
    if agree:
        rows = {
            row["id"]: row
            for row in await connection.fetch(Q["lock_shifts"], [asked["shift_id"], asked["for_shift_id"]])
        }
        one, other = rows[asked["shift_id"]], rows[asked["for_shift_id"]]
        check_swappable(one, other, now)
        people = [one["user_id"], other["user_id"]]
        start = min(one["starts_at"], other["starts_at"])
        end = max(one["ends_at"], other["ends_at"])
        standing = await _standing(connection, people, start, end)
        why = f"换班 swap {swap_id}"
        await _perform(connection, swapped(shift_of(one), shift_of(other), standing), by, now, why)
    answered: Row = await connection.fetchrow(Q["answer_swap"], swap_id, agree, now, by)
    return answered


def check_swappable(one: Row, other: Row, now: datetime) -> None:
    """Raises RosterRefused."""
    if one["community_id"] != other["community_id"] or one["team"] != other["team"]:
        raise RosterRefused(Label("只能与同社区同队伍的人换班", "shifts of one team and community are swapped only"))
    if one["user_id"] == other["user_id"]:
        raise RosterRefused(Label("两个班次是同一人的", "both shifts are of the same person"))
    for row in (one, other):
        if row["cancelled_at"] is not None or row["starts_at"] <= now:
            raise RosterRefused(Label("班次已取消或已开始", "a shift is cancelled or has begun"))


async def on_duty(connection: Connection, community_id: str, now: datetime) -> list[Any]:
    """Every enabled account that can stand duty, with the shift it stands now if it stands one."""
    rows: list[Any] = await connection.fetch(Q["on_duty"], community_id, now)
    return rows
