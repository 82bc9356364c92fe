"""The durable clock of work orders: amber before a deadline, said when it is past, and then the next rung is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from services.adapters import outbox
from services.adapters.dispatch import people_at
from services.adapters.orders import Due, OrderRow, append_moves, due_orders, fetch_order, refresh_attention
from services.adapters.outbox import Outgoing
from services.adapters.postgres import RETRYABLE
from services.alerts import metrics
from services.domain.orders import Clock, Move, MoveRequest, Owed, Rung, overdue

log = structlog.get_logger(__name__)

_CLOCKS: dict[Clock, str] = {"file": "立案", "accept": "接单", "arrive": "到场", "resolve": "处置", "verify": "核实"}
_RUNGS: dict[Rung, str] = {
    Rung.TEAM: "队伍", Rung.LEADER: "队长", Rung.DESK: "社区值班", Rung.STREET: "街道", Rung.DEPARTMENT: "部门"
}  # fmt: skip
AT_ONCE = 200
TOGETHER = 20
"""Orders in one transaction. Whoever wants to move one of them waits for all: a fifth of a second."""
LOCK = "SELECT version FROM work_order WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED"


@dataclass(slots=True)
class _Done:
    """What one order came to, said once it is committed."""

    moved: OrderRow
    owed: list[Owed] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)


async def escalate_due(pool: asyncpg.Pool[Any], partitions: Sequence[int], now: datetime) -> int:
    """Does what time has made due by now, critical orders first, then the latest, and returns how many steps up the
    ladder that were. Of the others no more than a batch at once: what becomes critical meanwhile need not wait.

    Nothing is kept in memory: what is owed follows from the order's own deadlines, and each step is named by clock,
    rung and deadline, so a restart misses none and two engines take none twice. `now` is the steady clock's: the
    deadlines were set by it. An order that cannot be dealt with is told of and keeps no other waiting.
    """
    taken = 0
    async with pool.acquire() as connection:
        for critical in (True, False):
            done, last = 0, None
            while critical or done < AT_ONCE:
                batch = await due_orders(connection, partitions, now, last, critical=critical, limit=AT_ONCE)
                if not batch:
                    break
                for start in range(0, len(batch), TOGETHER):
                    steps = await _together(connection, batch[start : start + TOGETHER], now)
                    taken, done = taken + sum(steps), done + len(steps)
                last = batch[-1]
    return taken


async def _together(connection: asyncpg.Connection[Any], batch: Sequence[Due], now: datetime) -> list[int]:
    """Some orders in one transaction: a commit of its own for each would make a backlog wait for the disk. The steps of
    those that could be dealt with; each has a savepoint, so that one that cannot costs the others nothing."""
    acted: list[_Done] = []
    outgoing: list[Outgoing] = []
    async with connection.transaction():
        for due in batch:
            done = await _tried(connection, due, now)
            if done is not None:
                acted.append(done)
                outgoing += done.outgoing
        await outbox.append(connection, outgoing)
    return [_said(done) for done in acted]


async def _tried(connection: asyncpg.Connection[Any], due: Due, now: datetime) -> _Done | None:
    """None: it could not be dealt with, or somebody is moving it in this very moment."""
    try:
        async with connection.transaction():
            return await _act(connection, due.id, now)
    except RETRYABLE:
        raise
    except Exception as error:
        if connection.is_closed():
            raise
        metrics.CLOCK_FAULTS.inc()
        log.error("order_clock_failed", order_id=str(due.id), why=str(error), exc_info=error)
        return None


async def _act(connection: asyncpg.Connection[Any], order_id: UUID, now: datetime) -> _Done | None:
    if await connection.fetchval(LOCK, order_id) is None:
        # Perhaps it is being accepted: look again at the next round.
        return None
    order = await fetch_order(connection, order_id)
    done = _Done(order)
    requests = await _requests(connection, done, now)
    done.moved, done.outgoing = await append_moves(connection, order.id, requests, now)
    if done.moved.version == order.version:
        # Nothing was left to do: what is next is written down, or it would come up again for ever.
        await refresh_attention(connection, done.moved)
    return done


async def _requests(connection: asyncpg.Connection[Any], done: _Done, now: datetime) -> list[MoveRequest]:
    """One move for each thing that is owed; a rung that was passed on the way up is not asked afterwards."""
    order, requests = done.moved, []
    at_rung = Rung(order.rung)
    for one in overdue(order, now):
        people: tuple[str, ...] = ()
        rung, why = one.rung, ""
        if rung is not None:
            if rung <= at_rung and not one.turn:
                continue
            reached = await people_at(connection, order, rung, now)
            if reached.skipped or reached.alone:
                why = _passed_over(reached.skipped, reached.alone)
            rung, people = reached.rung, reached.people
            at_rung = max(at_rung, rung)
        done.owed.append(one)
        requests.append(
            MoveRequest(
                Move(one.what),
                order.version,
                reason=_reason(one) + why,
                clock=one.clock,
                rung=rung,
                people=people,
                idempotency_key=one.key,
            )
        )
    return requests


def _reason(owed: Owed) -> str:
    if owed.clock is None:
        return "暂停时限已到，自动恢复 · the pause is over"
    name = _CLOCKS[owed.clock]
    if owed.what == "warn":
        return f"{name}即将超时 · {owed.clock} runs out soon"
    if owed.turn:
        return f"{name}超时，仍无人接单，第 {owed.turn} 次再呼叫 · nobody has accepted it, asked again ({owed.turn})"
    return f"{name}超时 · {owed.clock} overdue"


def _passed_over(skipped: Sequence[Rung], alone: bool) -> str:
    zh, en = "、".join(_RUNGS[one] for one in skipped), ", ".join(one.name.lower() for one in skipped)
    words = f"；{zh}无人值班，已越级 · nobody on duty: {en}" if skipped else ""
    return words + ("；各级均无人值班 · nobody is on duty on any rung" if alone else "")


def _said(done: _Done) -> int:
    """Metrics and the log, after the commit. The number of steps up the ladder."""
    moved = done.moved
    steps = [one for one in done.owed if one.what == "escalate"]
    for one in done.owed:
        metrics.CLOCKS.labels(one.what, one.clock or "pause", moved.terms.class_id).inc()
    for step in steps:
        metrics.ESCALATIONS.labels(str(step.clock)).inc()
    if steps:
        log.warning(
            "order_escalated", correlation=moved.correlation, order=moved.number, rung=moved.rung, clock=steps[0].clock
        )
    return len(steps)
