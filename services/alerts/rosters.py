"""Watches the rosters: shifts are made ahead, gaps told a day before, and what nobody took goes to the next shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from services.adapters import outbox
from services.adapters.dispatch import choose, people_at
from services.adapters.orders import append_moves, fetch_order
from services.adapters.outbox import Outgoing
from services.adapters.postgres import RETRYABLE
from services.adapters.rosters import changes, horizon, make_shifts, patterns, watch
from services.adapters.rosters.handovers import POSITION_KEPT, forget_position
from services.adapters.rosters.watch import Gap
from services.alerts import metrics
from services.domain.dispatch import Member, team_on_duty
from services.domain.orders import SYSTEM, Move, MoveRequest, OrderState, Rung
from services.domain.vocabulary import Role, Team

log = structlog.get_logger(__name__)

_REFILLED_BELOW = timedelta(days=7)
"""Shifts are made again as soon as less than this of them lies ahead."""


@dataclass(slots=True)
class _Turn:
    """What changed in one community since it was looked at last, by team."""

    comes: dict[Team, list[str]] = field(default_factory=dict)
    goes: dict[Team, list[str]] = field(default_factory=dict)

    @property
    def teams(self) -> list[Team]:
        return sorted({*self.comes, *self.goes})


async def watch_rosters(
    pool: asyncpg.Pool[Any], partitions: Sequence[int], now: datetime, ahead: timedelta, soon: timedelta
) -> int:
    """One look at every community of these partitions that keeps a roster; how many gaps are open after it.

    Nothing is kept in memory. What was told stands in the database, in the transaction that told it; orders are
    offered anew before that, so that a kill in between only looks at them again. A community that fails keeps no
    other waiting.
    """
    async with pool.acquire() as connection:
        await watch.forget_positions(connection, now - POSITION_KEPT)
        await _refill(connection, partitions, now)
        for row in await watch.rostered(connection, partitions, now):
            try:
                await _look(connection, row, now, ahead, soon)
            except RETRYABLE:
                raise
            except Exception as error:
                metrics.ROSTER_FAULTS.inc()
                log.error("roster_failed", community=row["id"], why=str(error), exc_info=error)
        found = await watch.open_gap_count(connection, partitions)
    metrics.ROSTER_GAPS.set(found)
    return found


async def _refill(connection: Any, partitions: Sequence[int], now: datetime) -> None:
    for row in await watch.short_horizons(connection, partitions, now + _REFILLED_BELOW):
        try:
            async with connection.transaction():
                made = await make_shifts(
                    connection,
                    row["community_id"],
                    row["id"],
                    horizon(now),
                    SYSTEM.id,
                    now,
                    strict=False,
                    start=row["until"],
                )
        except RETRYABLE:
            raise
        except Exception as error:
            metrics.ROSTER_FAULTS.inc()
            log.error("rota_failed", community=row["community_id"], rota=row["id"], why=str(error), exc_info=error)
            continue
        for clash in made.clashes:
            log.warning("shift_left_out", community=row["community_id"], rota=row["id"], why=clash.words.en)


async def _look(connection: Any, row: Mapping[str, Any], now: datetime, ahead: timedelta, soon: timedelta) -> None:
    community, zone = row["id"], ZoneInfo(row["timezone"])
    # Of a community that was never looked at nobody has to be told who came on duty in the past.
    since = row["looked_at"] or now
    turn = await _turn(connection, community, since, now)
    if turn.teams:
        await _offer_anew(connection, community, zone, turn.teams, now)
    async with connection.transaction():
        if not await watch.looked(connection, community, now):
            return
        for person in sorted({one for people in turn.goes.values() for one in people}):
            if not any(person in people for people in turn.comes.values()):
                await forget_position(connection, person)
        found = await watch.gaps_ahead(connection, community, zone, now, now + ahead)
        told = await watch.keep_gaps(connection, community, found, now, now + soon)
        outgoing = [_changed(community, team, turn, now) for team in turn.teams]
        outgoing += [_gap(community, one, one.stretch.starts_at <= now + soon) for one in told.seen]
        outgoing += [_gap(community, one, True) for one in told.soon]
        await outbox.append(connection, outgoing)
    metrics.ROSTER_CHANGES.inc(len(turn.teams))
    for one in (*told.seen, *told.soon):
        log.warning(
            "roster_gap",
            community=community,
            team=one.team.value,
            starts_at=one.stretch.starts_at.isoformat(),
            ends_at=one.stretch.ends_at.isoformat(),
        )


async def _turn(connection: Any, community: str, since: datetime, now: datetime) -> _Turn:
    turn = _Turn()
    for row in await watch.changes(connection, community, since, now):
        people = (turn.comes if row["comes"] else turn.goes).setdefault(Team(row["team"]), [])
        people.append(row["user_id"])
    return turn


def _changed(community: str, team: Team, turn: _Turn, now: datetime) -> Outgoing:
    return Outgoing(
        "roster.changed",
        community,
        f"roster:{team.value}",
        "",
        {
            "team": team.value,
            "why": "shift",
            "at": now.isoformat(),
            "comes": turn.comes.get(team, []),
            "goes": turn.goes.get(team, []),
        },
    )


def _gap(community: str, gap: Gap, soon: bool) -> Outgoing:
    data = {
        "gap_id": gap.id,
        "team": gap.team.value,
        "from": gap.stretch.starts_at.isoformat(),
        "to": gap.stretch.ends_at.isoformat(),
        "soon": soon,
    }
    return Outgoing("roster.gap", community, f"roster:{gap.team.value}", "", data)


async def _offer_anew(connection: Any, community: str, zone: ZoneInfo, teams: Sequence[Team], now: datetime) -> None:
    """Orders that nobody took, and of whose people nobody is on duty any more: the next shift has them."""
    rows = await changes.on_duty(connection, community, now)
    kept = {one.team for one in await patterns(connection, community) if one.in_force(now.astimezone(zone).date())}
    members = [
        Member(
            id=row["id"],
            role=Role(row["role"]),
            team=Team(row["team"]),
            post=row["post"],
            rostered=Team(row["team"]) in kept,
        )
        for row in rows
    ]
    present = {team: {one.id for one in team_on_duty(members, team)} for team in teams}
    for order_id in await watch.waiting_orders(connection, community, teams):
        try:
            await _offer(connection, order_id, present, now)
        except RETRYABLE:
            raise
        except Exception as error:
            metrics.ROSTER_FAULTS.inc()
            log.error("offer_failed", order_id=str(order_id), why=str(error), exc_info=error)


async def _offer(connection: Any, order_id: UUID, present: Mapping[Team, set[str]], now: datetime) -> None:
    async with connection.transaction():
        order = await fetch_order(connection, order_id, lock=True)
        told = {*order.offered, *([order.assignee_id] if order.assignee_id else [])}
        if order.state is not OrderState.DISPATCHED or told & present.get(order.team, set()):
            return
        choice = await choose(connection, order.order, now)
        if choice.offered:
            request = MoveRequest(
                Move.ASSIGN,
                order.version,
                reason="换班，改派当班人员 · the shift changed, so it goes to whoever is on duty now",
                note=choice.why,
                assignee_id=choice.assignee_id,
                people=choice.offered,
                mode=choice.mode,
            )
        else:
            reached = await people_at(connection, order.order, Rung.TEAM, now)
            if reached.rung <= order.rung or not reached.people:
                return
            request = MoveRequest(
                Move.ESCALATE,
                order.version,
                reason="换班后本队无人在岗 · the shift ended and nobody of the team is on duty",
                rung=reached.rung,
                people=reached.people,
            )
        moved, outgoing = await append_moves(connection, order_id, [request], now)
        await outbox.append(connection, outgoing)
    if moved.version > order.version:
        metrics.OFFERED_ANEW.inc()
        log.info("order_offered_anew", correlation=order.correlation, order=order.number, move=request.move.value)
