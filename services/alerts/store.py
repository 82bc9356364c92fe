"""Writes what the core decided in one fenced transaction: alerts, orders, states, checkpoint and outbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

import asyncpg

from services.adapters import outbox
from services.adapters.commands import sending as ledger
from services.adapters.outbox import Outgoing
from services.adapters.queries import Queries
from services.adapters.rules.privacy import about_health
from services.alerts import metrics, plans
from services.alerts.incidents import Written, at, flush_joins, order_for, step_down
from services.alerts.lease import Lease, LeaseLost
from services.alerts.sendings import answered, asked, hold, release
from services.domain.engine.decisions import (
    Answered,
    Asked,
    Clear,
    Decided,
    Decision,
    Ease,
    Hold,
    Presence,
    Raise,
    Recover,
    Release,
    Repeat,
    StateChange,
)
from services.domain.engine.hold.settling import without_passed
from services.domain.rules.evaluation import Reply
from services.domain.vocabulary import Severity

Q = Queries.beside(__file__)
CONSUMER = "alerts"
HEALTH = frozenset({"value", "values", "data"})
"""Parts of a trigger that are sensitive personal information where it reads a health metric."""


class CheckpointMoved(Exception):
    """Somebody else has read this partition on: this engine is not its owner any more."""


@dataclass(frozen=True, slots=True)
class Advance:
    """One lane's checkpoint, from where it was read to where it is now."""

    lane: int
    before: int
    after: int


async def commit(
    connection: asyncpg.Connection[Any],
    lease: Lease,
    advances: Sequence[Advance],
    decided: Decided,
    now: datetime,
    replies: Sequence[Reply] = (),
) -> Written:
    """Everything of one turn, or nothing. Raises LeaseLost or CheckpointMoved when another engine has taken over."""
    written = Written()
    async with connection.transaction():
        if not await connection.fetchval(Q["hold_lease"], CONSUMER, lease.partition, lease.owner, lease.epoch):
            raise LeaseLost(f"partition {lease.partition} has another owner than epoch {lease.epoch}")
        for advance in advances:
            moved = await connection.execute(
                Q["move_checkpoint"], CONSUMER, lease.partition, advance.lane, advance.after, advance.before
            )
            if moved != "UPDATE 1":
                raise CheckpointMoved(f"partition {lease.partition} lane {advance.lane} is not at {advance.before}")
        answered_now, strays = await ledger.replied(connection, replies, now)
        written.outgoing += answered_now
        for reason, times in ledger.counted(strays).items():
            metrics.STRAY_REPLIES.labels(reason).inc(times)
        await _save_states(connection, lease.partition, decided.states)
        for decision in without_passed(decided.decisions):
            await _perform(connection, decision, written, now)
        await flush_joins(connection, written, now)
        for alert, severity in written.sent:
            written.outgoing += await plans.started(connection, alert, now, severity)
        await outbox.append(connection, written.outgoing)
    return written


async def _save_states(connection: asyncpg.Connection[Any], partition: int, states: Sequence[StateChange]) -> None:
    kept = [change for change in states if change.state is not None]
    gone = [change for change in states if change.state is None]
    if kept:
        await connection.execute(
            Q["save_states"],
            partition,
            [change.rule_id for change in kept],
            [change.subject for change in kept],
            [json.dumps(change.state) for change in kept],
            [change.shape for change in kept],
        )
    if gone:
        await connection.execute(
            Q["forget_states"], [change.rule_id for change in gone], [change.subject for change in gone]
        )


async def _perform(connection: asyncpg.Connection[Any], decision: Decision, written: Written, now: datetime) -> None:
    match decision:
        case Raise():
            await _raise(connection, decision, written, now)
        case Repeat():
            await _repeat(connection, decision, written, now)
        case Recover():
            row = await connection.fetchrow(Q["recover_alert"], decision.id, at(decision.at_ms))
            if row is not None:
                await _occurred(connection, decision, "recovering", decision.at_ms)
                await _tell(connection, "alert.recovering", row, written)
        case Clear():
            await _clear(connection, decision, written)
        case Ease():
            await _ease(connection, decision, written, now)
        case Hold():
            await _tell(connection, "alert.held", await hold(connection, decision), written)
        case Release():
            row = await release(connection, decision, written, now)
            if row is not None:
                written.sent.append((decision.alert, Severity(row["severity"])))
            await _tell(connection, "alert.released", row, written, decision.alert.device_id)
        case Asked():
            written.outgoing.append(asked(decision))
        case Answered():
            await _tell(connection, "alert.answered", await answered(connection, decision), written)
        case Presence():
            await _presence(connection, decision, written)
        case _:
            assert_never(decision)


async def _raise(connection: asyncpg.Connection[Any], alert: Raise, written: Written, now: datetime) -> None:
    row = await connection.fetchrow(
        Q["insert_alert"],
        alert.id,
        alert.community_id,
        alert.rule_id,
        alert.rule_version,
        alert.family,
        alert.subject,
        alert.device_no,
        alert.building_id,
        alert.kind,
        alert.severity.value,
        alert.team.value,
        alert.life_safety,
        alert.title.zh,
        alert.title.en,
        alert.why.zh,
        alert.why.en,
        alert.place,
        at(alert.onset_ms),
        at(alert.fired_ms),
        at(alert.last_ms),
        json.dumps(dict(alert.trigger), ensure_ascii=False),
        alert.correlation,
        list(alert.held),
        alert.shadow,
        alert.group_key,
    )
    if row is None:
        return
    written.raised += 1
    await _record(connection, alert, "raised", alert.severity.value)
    await _tell(connection, "alert.raised", row, written, alert.device_id)
    if alert.sends:
        await order_for(connection, alert, written, now)
        written.sent.append((alert, alert.severity))


async def _record(connection: asyncpg.Connection[Any], alert: Raise, what: str, severity: str) -> bool:
    trigger = json.dumps(dict(alert.trigger), ensure_ascii=False)
    found = await connection.fetchval(
        Q["insert_occurrence"], alert.id, at(alert.last_ms), what, severity, trigger, alert.correlation, alert.cause
    )
    return found is not None


async def _repeat(connection: asyncpg.Connection[Any], repeat: Repeat, written: Written, now: datetime) -> None:
    alert = repeat.alert
    severity = (repeat.worse or alert.severity).value
    counted = repeat.counts and await _record(connection, alert, "severity" if repeat.worse else "repeated", severity)
    row = await connection.fetchrow(
        Q["repeat_alert"],
        alert.id,
        list(repeat.active_rules),
        int(counted),
        at(alert.last_ms),
        list(repeat.held),
        alert.life_safety,
    )
    if row is None or not counted:
        return
    if repeat.worse:
        row = await connection.fetchrow(
            Q["worsen_alert"],
            alert.id,
            repeat.worse.value,
            alert.team.value,
            alert.life_safety,
            alert.rule_id,
            alert.rule_version,
            alert.title.zh,
            alert.title.en,
            alert.why.zh,
            alert.why.en,
            json.dumps(dict(alert.trigger), ensure_ascii=False),
        )
    await _tell(connection, "alert.repeated", row, written, alert.device_id)
    if not alert.shadow:
        await order_for(connection, alert, written, now, repeat.worse, opens=not repeat.held)
    if repeat.worse and alert.sends and not repeat.held:
        written.sent.append((alert, repeat.worse))


async def _occurred(connection: asyncpg.Connection[Any], decision: Recover | Clear | Ease, what: str, ms: int) -> None:
    said = {"reason": decision.reason} if isinstance(decision, Clear) and decision.reason else {}
    await connection.fetchval(
        Q["insert_occurrence"],
        decision.id,
        at(ms),
        what,
        decision.severity.value,
        json.dumps(said),
        decision.correlation,
        "",
    )


async def _ease(connection: asyncpg.Connection[Any], ease: Ease, written: Written, now: datetime) -> None:
    row = await connection.fetchrow(
        Q["ease_alert"],
        ease.id,
        ease.severity.value,
        ease.rule_id,
        ease.rule_version,
        ease.title.zh,
        ease.title.en,
        ease.why.zh,
        ease.why.en,
    )
    if row is None:
        return
    await _occurred(connection, ease, "severity", ease.at_ms)
    await _tell(connection, "alert.repeated", row, written)
    await step_down(connection, row["order_id"], ease, written, now)


async def _clear(connection: asyncpg.Connection[Any], decision: Clear, written: Written) -> None:
    if decision.active_rules:
        await connection.execute(Q["keep_alert"], decision.id, list(decision.active_rules))
        return
    row = await connection.fetchrow(Q["clear_alert"], decision.id, at(decision.at_ms), list(decision.suppressed))
    if row is not None:
        written.suppressed += decision.suppressed
        await _occurred(connection, decision, "cleared", decision.at_ms)
        await _tell(connection, "alert.cleared", row, written)


async def _presence(connection: asyncpg.Connection[Any], decision: Presence, written: Written) -> None:
    query = Q["device_online" if decision.online else "device_offline"]
    await connection.execute(query, decision.device_no, at(decision.at_ms))
    what = await connection.fetchval(Q["kind_of_device"], decision.device_no)
    kind = "device.online" if decision.online else "device.offline"
    data = {
        "device_id": decision.device_id,
        "kind": what,
        "online": decision.online,
        "at": at(decision.at_ms).isoformat(),
    }
    written.outgoing.append(Outgoing(kind, decision.community_id, decision.device_id, decision.correlation, data))


async def _tell(
    connection: asyncpg.Connection[Any],
    kind: str,
    row: Mapping[str, Any] | None,
    written: Written,
    device_id: str | None = None,
) -> None:
    if row is None or row["shadow"]:
        return
    if row["device_no"] is not None and device_id is None:
        device_id = await connection.fetchval("SELECT id FROM device WHERE device_no = $1", row["device_no"])
    written.outgoing.append(
        Outgoing(kind, row["community_id"], str(row["id"]), row["correlation"], alert_json(row, device_id))
    )


def alert_json(row: Mapping[str, Any], device_id: str | None) -> dict[str, Any]:
    """The alert as the API shows it, without its order; readings of a person's body stay in the database.

    `health`: whether what it says is to be hidden from whoever is granted no health data.
    """
    trigger = row["trigger"] if isinstance(row["trigger"], dict) else json.loads(row["trigger"])
    if trigger.get("health"):
        trigger = {name: value for name, value in trigger.items() if name not in HEALTH}

    def when(name: str) -> str | None:
        return row[name].isoformat() if row[name] is not None else None

    return {
        "id": str(row["id"]),
        "community_id": row["community_id"],
        "rule_id": row["rule_id"],
        "kind": row["kind"],
        "severity": row["severity"],
        "team": row["team"],
        "life_safety": row["life_safety"],
        "state": row["state"],
        "title": {"zh": row["title_zh"], "en": row["title_en"]},
        "why": {"zh": row["why_zh"], "en": row["why_en"]},
        "place": row["place"],
        "device_id": device_id,
        "building_id": row["building_id"],
        "onset_at": when("onset_at"),
        "fired_at": when("fired_at"),
        "last_at": when("last_at"),
        "cleared_at": when("cleared_at"),
        "occurrences": row["occurrences"],
        "held": list(row["held"]),
        "suppressed": row["suppressed"],
        "group_key": row["group_key"],
        "trigger": trigger,
        "correlation": row["correlation"],
        "health": any(about_health(rule_id) for rule_id in (row["rule_id"], *row["active_rules"])),
    }
