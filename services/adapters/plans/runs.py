"""Runs of plans in the database: begun with the alert, taken on step by step, and what they have sent out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.commands.sending import cancel_of_run
from services.adapters.outbox import Outgoing
from services.adapters.plans.around import Q
from services.adapters.rules.privacy import about_health
from services.domain.commands.asking import proof_of
from services.domain.plans.core import (
    Advanced,
    Answer,
    Answers,
    Run,
    SendBroadcast,
    SendCommand,
    SendNotice,
    StepState,
    cancel,
)
from services.domain.plans.facts import Facts
from services.domain.plans.plan import Plan

RECIPIENTS = 200
"""So many are named in a notice; beyond that the groups and the count say it."""


@dataclass(frozen=True, slots=True)
class Live:
    """A version in force: its plan, and who approved it."""

    plan: Plan
    version: int
    approved_by: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A run as it stands in the database, and the plan version it follows to its end."""

    live: Live
    facts: Facts
    run: Run
    partition: int


async def insert_run(connection: asyncpg.Connection[Any], kept: Kept, advanced: Advanced) -> bool:
    """False: it was there already."""
    run, live = advanced.run, kept.live
    found = await connection.fetchval(
        Q["insert_run"],
        run.id,
        kept.facts.community_id,
        kept.partition,
        live.plan.id,
        live.version,
        UUID(kept.facts.alert_id),
        run.state,
        live.approved_by,
        json.dumps(kept.facts.as_json(), ensure_ascii=False),
        at(run.started_ms),
        at(run.next_ms),
        None if run.state == "running" else at(run.started_ms),
        run.why,
        kept.facts.correlation,
    )
    if found is None:
        return False
    await save_steps(connection, live.plan, run, [step.id for step in live.plan.steps])
    return True


async def save_steps(connection: asyncpg.Connection[Any], plan: Plan, run: Run, names: Iterable[str]) -> None:
    wanted = set(names)
    rows = [
        (step.id, place, step.word, run.steps[step.id]) for place, step in enumerate(plan.steps) if step.id in wanted
    ]
    await connection.execute(
        Q["save_steps"],
        run.id,
        [name for name, _, _, _ in rows],
        [place for _, place, _, _ in rows],
        [word for _, _, word, _ in rows],
        [one.state for _, _, _, one in rows],
        [at(one.due_ms) for _, _, _, one in rows],
        [at(one.requested_ms) for _, _, _, one in rows],
        [at(one.expires_ms) for _, _, _, one in rows],
        [at(one.ended_ms) for _, _, _, one in rows],
        [json.dumps(dict(one.result), ensure_ascii=False) for _, _, _, one in rows],
    )


async def save_run(connection: asyncpg.Connection[Any], run: Run, now: datetime, ended_by: str | None = None) -> None:
    ended = None if run.state == "running" else now
    await connection.execute(Q["save_run"], run.id, run.state, at(run.next_ms), ended, run.why, ended_by)


async def lock_run(connection: asyncpg.Connection[Any], run_id: UUID) -> asyncpg.Record | None:
    """The row, held to the end of the transaction. Whoever also touches its commands does that afterwards."""
    row: asyncpg.Record | None = await connection.fetchrow(Q["lock_run"], run_id)
    return row


async def load_run(connection: asyncpg.Connection[Any], row: asyncpg.Record, plan: Plan) -> Kept:
    steps = {
        step["step"]: StepState(
            step["state"],
            step["due_ms"],
            step["requested_ms"],
            step["expires_ms"],
            step["ended_ms"],
            value(step["result"]),
        )
        for step in await connection.fetch(Q["load_steps"], row["id"])
    }
    started_ms = round(row["started_at"].timestamp() * 1000)
    run = Run(row["id"], started_ms, steps, row["state"], row["why"])
    live = Live(plan, row["version"], row["approved_by"])
    return Kept(live, Facts.from_json(value(row["facts"])), run, row["partition"])


async def load_answers(connection: asyncpg.Connection[Any], run_id: UUID) -> Answers:
    found: dict[str, list[Answer]] = {}
    for row in await connection.fetch(Q["load_answers"], run_id):
        found.setdefault(row["step"], []).append(Answer(row["device_id"], row["state"], row["detail"]))
    return found


async def send_out(
    connection: asyncpg.Connection[Any], kept: Kept, advanced: Advanced, now: datetime
) -> list[Outgoing]:
    """Writes the commands; gives everything that the outbox is to say of this advance, its last row excepted."""
    commands = [one for one in advanced.doings if isinstance(one, SendCommand)]
    told: list[Outgoing] = []
    if commands:
        new = await _insert_commands(connection, kept, commands, now)
        told += [_command_told(kept, one) for one in commands if one.id in new]
    for one in advanced.doings:
        if isinstance(one, SendNotice):
            told.append(_outgoing(kept, "notice.requested", _notice(one)))
        elif isinstance(one, SendBroadcast):
            words = {"zh": one.text.zh, "en": one.text.en}
            data = {"step": one.step, "text": words, "within": one.within.value, "devices": list(one.devices)}
            told.append(_outgoing(kept, "broadcast.requested", data))
    return told


def steps_told(kept: Kept, advanced: Advanced) -> list[Outgoing]:
    """Of each step that is another now, and of the run where it has ended."""
    words = {step.id: step.word for step in kept.live.plan.steps}
    told = [
        _outgoing(
            kept,
            "plan.step",
            {
                "step": name,
                "action": words[name],
                "state": advanced.run.steps[name].state,
                "result": dict(advanced.run.steps[name].result),
            },
        )
        for name in advanced.changed
        if advanced.run.steps[name].state not in ("waiting", "due")
    ]
    if advanced.run.state != "running":
        told.append(ended_told(kept, advanced.run))
    return told


def started_told(kept: Kept) -> Outgoing:
    title = kept.live.plan.title
    return _outgoing(
        kept,
        "plan.started",
        {
            "title": {"zh": title.zh, "en": title.en},
            "place": kept.facts.place,
            "steps": [{"step": step.id, "action": step.word} for step in kept.live.plan.steps],
        },
    )


def ended_told(kept: Kept, run: Run) -> Outgoing:
    return _outgoing(kept, "plan.ended", {"state": run.state, "why": run.why})


def _outgoing(kept: Kept, kind: str, data: dict[str, Any]) -> Outgoing:
    named = {
        "run_id": str(kept.run.id),
        "plan_id": kept.live.plan.id,
        "version": kept.live.version,
        "alert_id": kept.facts.alert_id,
        "health": about_health(kept.facts.rule_id),
    }
    return Outgoing(kind, kept.facts.community_id, str(kept.run.id), kept.facts.correlation, named | data)


def _notice(one: SendNotice) -> dict[str, Any]:
    """Ids only: who delivers it looks up how each is reached, and whether they want to be."""
    return {
        "step": one.step,
        "text": {"zh": one.text.zh, "en": one.text.en},
        "to": {
            "people": [each.value for each in one.to.people],
            "roles": [each.value for each in one.to.roles],
            "teams": [each.value for each in one.to.teams],
        },
        "recipients": [
            {"id": each.id, "user": each.user} | ({"contact": True} if each.contact else {})
            for each in one.people[:RECIPIENTS]
        ],
        "count": len(one.people),
        "escalation": one.escalation,
    }


def _command_told(kept: Kept, one: SendCommand) -> Outgoing:
    data = {
        "step": one.step,
        "command_id": str(one.id),
        "device_id": one.device.id,
        "name": one.name,
        "dangerous": one.dangerous,
        "expires_at": at(one.expires_ms).isoformat(),
    }
    return _outgoing(kept, "command.requested", data)


async def _insert_commands(
    connection: asyncpg.Connection[Any], kept: Kept, commands: Sequence[SendCommand], now: datetime
) -> set[UUID]:
    live = kept.live
    rows = await connection.fetch(
        Q["insert_commands"],
        kept.run.id,
        kept.facts.community_id,
        kept.partition,
        f"plan:{live.plan.id}@{live.version}",
        live.approved_by,
        now,
        kept.facts.correlation,
        [one.id for one in commands],
        [one.device.device_no for one in commands],
        [one.name for one in commands],
        [json.dumps(dict(one.params), ensure_ascii=False) for one in commands],
        [one.step for one in commands],
        [one.dangerous for one in commands],
        [at(one.expires_ms) for one in commands],
        [_proof(one) for one in commands],
    )
    return {row["id"] for row in rows}


def _proof(one: SendCommand) -> str | None:
    proof = proof_of(one.device.kind, one.name, one.params)
    return None if proof is None else json.dumps(proof)


def value(stored: Any) -> Any:
    return json.loads(stored) if isinstance(stored, str) else stored


def at(ms: int | None) -> Any:
    """Epoch milliseconds as the database wants them."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


async def cancel_run(
    connection: asyncpg.Connection[Any], row: asyncpg.Record, plan: Plan, by: str, why: str, now: datetime
) -> list[Outgoing]:
    """Ends a run that `lock_run` holds: nothing more is begun, and what has not left yet stays here.

    What the broker or a device has already cannot be called back; it ends by its answer or its expiry.
    """
    kept = await load_run(connection, row, plan)
    run = cancel(kept.run, why, round(now.timestamp() * 1000))
    told = await cancel_of_run(connection, run.id, by, now)
    await save_steps(connection, plan, run, run.steps)
    await save_run(connection, run, now, by)
    return [*told, ended_told(kept, run)]
