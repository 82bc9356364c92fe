"""Linkage plans in the engine: begun in the alert's own transaction, taken on by a clock that lives in the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import structlog

from services.adapters import outbox
from services.adapters.commands import sending as ledger
from services.adapters.orders import append_moves, fetch_order, insert_order
from services.adapters.outbox import Outgoing
from services.adapters.plans import runs
from services.adapters.plans.around import Concern, Q, facts_of, load_world
from services.adapters.plans.files import PlanFileError, parsed
from services.adapters.plans.live import live_plans
from services.adapters.plans.runs import Kept, Live
from services.adapters.postgres import RETRYABLE
from services.adapters.queries import Queries
from services.alerts import metrics
from services.alerts.lease import Lease
from services.domain.engine.decisions import Raise
from services.domain.ids import AlertId, CommunityId, DeviceNo, OrderId
from services.domain.orders import Draft, Move, MoveRequest, Source
from services.domain.plans import conditions
from services.domain.plans.core import Advanced, RaiseOrder, Run, TellOrder, advance, cancel, run_id, start
from services.domain.plans.facts import Facts, fits, variables
from services.domain.plans.words import shown_late
from services.domain.vocabulary import Severity

log = structlog.get_logger(__name__)
ENGINE = Queries.beside(__file__)
CONSUMER = "alerts"


async def started(
    connection: asyncpg.Connection[Any], alert: Raise, now: datetime, severity: Severity
) -> list[Outgoing]:
    """Starts every plan in force that this alert sets off, in the caller's transaction; what the outbox is to say.

    `severity`: what it is now, which is worse than `alert` says where it was raised before.
    A plan runs once an alert, whatever becomes of either.
    A plan that cannot be started leaves the alert and its order as they are: it is said, counted and passed over.
    """
    wanted = [
        live
        for live in await live_plans(connection, alert.community_id)
        if live.plan.trigger.names(alert.rule_id, alert.family)
    ]
    if not wanted:
        return []
    found = await facts_of(connection, _concern(alert, severity))
    if found is None:
        return []
    facts, partition = found
    facts = replace(facts, grid_id=facts.grid_id or alert.grid_id)
    told: list[Outgoing] = []
    for live in wanted:
        try:
            async with connection.transaction():
                told += await _start(connection, live, facts, partition, now)
        except RETRYABLE:
            raise
        except Exception as error:
            metrics.PLAN_FAULTS.inc()
            log.error("plan_not_started", plan=live.plan.id, alert_id=str(alert.id), why=str(error), exc_info=error)
    return told


def _concern(alert: Raise, severity: Severity) -> Concern:
    return Concern(
        str(alert.id),
        alert.community_id,
        alert.rule_id,
        alert.family,
        alert.kind,
        severity.value,
        alert.life_safety,
        alert.title,
        alert.place,
        alert.onset_ms,
        alert.correlation,
        alert.device_no,
        alert.device_id,
        alert.building_id,
    )


async def _start(
    connection: asyncpg.Connection[Any], live: Live, facts: Facts, partition: int, now: datetime
) -> list[Outgoing]:
    if not fits(live.plan, facts):
        return []
    now_ms = _ms(now)
    world = await load_world(connection, live.plan, facts)
    held = conditions.holds(live.plan.condition, variables(facts, world, now_ms))
    if held is False:
        return []
    if held is None:
        # Not known is no reason to leave people without what was planned for them; the run says so.
        log.warning("plan_condition_unknown", plan=live.plan.id, alert_id=facts.alert_id)
    number = run_id(facts.community_id, live.plan.id, live.version, facts.alert_id)
    advanced = start(live.plan, number, facts, world, now_ms)
    kept = Kept(live, facts, advanced.run, partition)
    if not await runs.insert_run(connection, kept, advanced):
        return []
    metrics.PLANS.inc()
    log.info(
        "plan_started",
        correlation=facts.correlation,
        plan=live.plan.id,
        version=live.version,
        run_id=str(number),
        alert_id=facts.alert_id,
    )
    return [runs.started_told(kept), *await _perform(connection, kept, advanced, now)]


async def _perform(
    connection: asyncpg.Connection[Any], kept: Kept, advanced: Advanced, now: datetime
) -> list[Outgoing]:
    """Orders, commands and everything to be said of this advance."""
    told: list[Outgoing] = []
    for one in advanced.doings:
        if isinstance(one, RaiseOrder):
            told += await _order(connection, kept, one, now)
        elif isinstance(one, TellOrder):
            told += await _tell_order(connection, kept, one, now)
    told += await runs.send_out(connection, kept, advanced, now)
    return told + runs.steps_told(kept, advanced)


async def _order(connection: asyncpg.Connection[Any], kept: Kept, wanted: RaiseOrder, now: datetime) -> list[Outgoing]:
    """Raises the order that is open to what the plan asks; opens one where the alert has none."""
    facts = kept.facts
    alert_id = UUID(facts.alert_id)
    known = await connection.fetchval(ENGINE["order_of_alert"], alert_id)
    order = await fetch_order(connection, known, lock=True) if known is not None else None
    words = f"预案 {kept.live.plan.title.zh}" + (f"：{wanted.text.zh} · {wanted.text.en}" if wanted.text else "")
    if order is not None and not order.ended:
        graver = wanted.severity if wanted.severity.rank > order.severity.rank else None
        moves = [
            MoveRequest(
                Move.REPEAT,
                order.version,
                alert_id=facts.alert_id,
                severity=graver.value if graver else None,
                reason=words,
            )
        ]
        if wanted.team is not order.team and order.arrived_at is None:
            moves.append(MoveRequest(Move.TRANSFER, order.version, team=wanted.team, reason=words))
        _, told = await append_moves(connection, order.id, moves, now)
        return told
    draft = Draft(
        id=OrderId(uuid5(kept.run.id, f"order|{wanted.step}")),
        community_id=CommunityId(facts.community_id),
        source=Source.ALERT,
        kind=facts.kind,
        severity=wanted.severity,
        title=facts.title,
        team=wanted.team,
        correlation=facts.correlation,
        place=facts.place,
        alert_id=AlertId(alert_id),
        parent_id=order.id if order is not None else None,
        device_no=DeviceNo(facts.device_no) if facts.device_no is not None else None,
        building_id=facts.building_id,
        grid_id=facts.grid_id,
    )
    opened, told = await insert_order(connection, draft, now)
    await connection.execute(ENGINE["link_order"], alert_id, opened.id)
    return told


async def _tell_order(
    connection: asyncpg.Connection[Any], kept: Kept, what: TellOrder, now: datetime
) -> list[Outgoing]:
    """Into the history of the order that is open; the desk is told by a notice of its own."""
    known = await connection.fetchval(ENGINE["order_of_alert"], UUID(kept.facts.alert_id))
    if known is None:
        return []
    note = MoveRequest(
        Move.NOTE,
        0,
        note=f"{what.text.zh} · {what.text.en}",
        alert_id=kept.facts.alert_id,
        idempotency_key=f"plan|{kept.run.id}|{what.step}",
    )
    _, told = await append_moves(connection, known, [note], now)
    return told


async def told_late(connection: asyncpg.Connection[Any], commands: Sequence[UUID], now: datetime) -> list[Outgoing]:
    """Into the order's history: what was said not to be confirmed is, by now, of commands just confirmed.

    In the transaction that confirms them, which holds their runs: a step that had not ended will see for itself.
    """
    told: list[Outgoing] = []
    for row in await connection.fetch(Q["shown_late"], list(commands)):
        plan = parsed(row["document"])
        step = next(one for one in plan.steps if one.id == row["step"])
        answers = {one.device_id: one.state for one in (await runs.load_answers(connection, row["run_id"]))[step.id]}
        words, settled = shown_late(plan, step, runs.value(row["result"]), answers, row["devices"])
        note = MoveRequest(
            Move.NOTE,
            0,
            note=f"{words.zh} · {words.en}",
            alert_id=str(row["alert_id"]),
            outcome="confirmed" if settled else None,
            idempotency_key=f"plan|{row['run_id']}|{step.id}|{'|'.join(row['devices'])}",
        )
        _, said = await append_moves(connection, row["order_id"], [note], now)
        told += said
    return told


async def advance_due(pool: asyncpg.Pool[Any], held: Mapping[int, Lease], now: datetime | None = None) -> int:
    """Takes every run on that owes something by now, each in a transaction of its own; how many were.

    Nothing is kept in memory. A run is locked while it is taken on and names its next moment itself, so two engines
    take no step twice, and what one left undone the next one finds.
    """
    at = now or datetime.now(UTC)
    taken = 0
    async with pool.acquire() as connection:
        await ledger.lapse(connection, list(held), at)
        for row in await connection.fetch(Q["due_runs"], list(held), at):
            taken += await _take_on(connection, held[row["partition"]], row["id"], at)
    return taken


async def _take_on(connection: asyncpg.Connection[Any], lease: Lease, number: UUID, now: datetime) -> bool:
    try:
        async with connection.transaction():
            if not await connection.fetchval(ENGINE["hold_lease"], CONSUMER, lease.partition, lease.owner, lease.epoch):
                return False
            row = await runs.lock_run(connection, number)
            if row is None or row["state"] != "running":
                return False
            plan = parsed(row["document"])
            expired = await ledger.lapse_of_run(connection, number, now)
            kept = await runs.load_run(connection, row, plan)
            answers = await runs.load_answers(connection, number)
            standing = bool(await connection.fetchval(Q["alert_open"], row["alert_id"]))
            world = await load_world(connection, plan, kept.facts, standing)
            advanced = advance(plan, kept.run, kept.facts, world, answers, _ms(now))
            told = [*expired, *await _perform(connection, kept, advanced, now)]
            await runs.save_steps(connection, plan, advanced.run, advanced.changed)
            await runs.save_run(connection, advanced.run, now)
            await outbox.append(connection, told)
    except RETRYABLE:
        raise
    except Exception as error:
        metrics.PLAN_FAULTS.inc()
        log.error("plan_run_failed", run_id=str(number), why=str(error), exc_info=error)
        await _give_up(connection, number, f"{type(error).__name__}: {error}", now)
        return False
    if advanced.run.state != "running":
        log.info("plan_ended", run_id=str(number), plan=plan.id, state=advanced.run.state, why=advanced.run.why)
    return True


async def _give_up(connection: asyncpg.Connection[Any], number: UUID, why: str, now: datetime) -> None:
    """A run that cannot be taken on is failed aloud; it would fail at every look again."""
    async with connection.transaction():
        row = await runs.lock_run(connection, number)
        if row is None or row["state"] != "running":
            return
        try:
            kept = await runs.load_run(connection, row, parsed(row["document"]))
        except PlanFileError:
            bare = Run(number, _ms(row["started_at"]), {}, "failed", why)
            await runs.save_run(connection, bare, now)
            return
        run = replace(cancel(kept.run, why, _ms(now)), state="failed")
        await runs.save_steps(connection, kept.live.plan, run, run.steps)
        await runs.save_run(connection, run, now)
        await outbox.append(connection, [runs.ended_told(kept, run)])


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
