"""What people do with commands: ask, approve, reject, call back, review; each with its audit row and outbox events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from services.adapters import outbox
from services.adapters.commands.common import Connection, Q, Row, audit, told
from services.adapters.outbox import Outgoing
from services.domain.access import Principal
from services.domain.commands import STATE_LABELS, CommandState
from services.domain.commands.asking import APPROVAL_S, command_of, lives_s, proof_of, wrong_params
from services.domain.commands.rights import (
    Place,
    Wanted,
    may_approve,
    may_ask,
    may_break_glass,
    may_cancel,
    may_review,
)
from services.domain.vocabulary import Label

_NAMESPACE = UUID("5f1c9a1e-2b57-5d0b-9c3e-636f6d6d616e")
BATCH_MOST = 500
REVIEW_WITHIN = timedelta(hours=24)


class CommandRefused(Exception):
    """Why not, in words for the person who asked. `code`: who, value, state, key."""

    def __init__(self, reason: Label, code: str) -> None:
        super().__init__(f"{reason.zh} · {reason.en}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants done. `emergency`: at once, to be reviewed afterwards (紧急越权)."""

    name: str
    params: Mapping[str, Any]
    why: str
    emergency: bool = False
    expires_in_s: float | None = None

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(
            json.dumps([self.name, dict(self.params), self.why, self.emergency], sort_keys=True).encode()
        ).digest()


@dataclass(frozen=True, slots=True)
class Spread:
    """Over how many devices: `group` is what their commands belong to, `per_second` how fast they go out."""

    batch_id: UUID | None = None
    per_second: float = 1.0


def id_of(by: str, key: str, what: str = "") -> UUID:
    """A retry with the same Idempotency-Key asks for the same command again, and so for nothing."""
    return uuid5(_NAMESPACE, f"{by}|{key}|{what}")


def place_of(row: Row) -> Place:
    return Place(row["community_id"], row["street_id"], row["grid_id"], row["kind"])


def wanted_of(row: Row) -> Wanted:
    return Wanted(
        row["requested_by"],
        row["dangerous"],
        CommandState(row["state"]),
        row["emergency"],
        row["reviewed_by"] is not None,
    )


async def target(connection: Connection, device_id: str) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["target"], device_id)
    return row


def check(who: Principal, asked: Asked, device: Row) -> bool:
    """Whether it is dangerous. Raises CommandRefused for whatever is wrong with it."""
    command = command_of(device["kind"], asked.name)
    if command is None:
        raise CommandRefused(
            Label(f"{device['kind']} 没有指令 {asked.name}", f"a {device['kind']} knows no {asked.name}"), "value"
        )
    why = may_ask(who, command, place_of(device))
    if why is None and asked.emergency and command.dangerous:
        why = may_break_glass(who, command, place_of(device))
    if why is not None:
        raise CommandRefused(why, "who")
    why = wrong_params(command, asked.params)
    if why is not None:
        raise CommandRefused(why, "value")
    if device["retired"]:
        raise CommandRefused(Label("设备已停用", "The device is retired"), "state")
    if device["codec"] != "native":
        raise CommandRefused(Label("该设备的协议不支持下行指令", "What this device speaks has no way down"), "state")
    return command.dangerous


async def ask(connection: Connection, who: Principal, number: UUID, asked: Asked, device: Row, now: datetime) -> Row:
    """The command, new or the one that this id stands for already. Raises CommandRefused."""
    new: list[UUID] = []
    row = await fetch(connection, number)
    if row is None:
        dangerous = check(who, asked, device)
        new = await insert(connection, who.id, asked, {number: device}, dangerous, now)
        row = await fetch(connection, number)
    assert row is not None  # noqa: S101
    same = row["device_id"] == device["device_id"] and row["name"] == asked.name and row["params"] == dict(asked.params)
    if not same or row["emergency"] != (asked.emergency and row["dangerous"]):
        raise CommandRefused(
            Label("该 Idempotency-Key 已用于别的指令", "This Idempotency-Key stands for another command"), "key"
        )
    if new:
        detail = {"device": row["device_id"], "name": row["name"], "dangerous": row["dangerous"]}
        action = "command.emergency" if row["emergency"] else "command.request"
        await audit(connection, who.id, who.role.value, row["community_id"], action, f"command:{number}", detail)
        await outbox.append(connection, await told(connection, [number], as_requested=True) + _calls(row, now))
    return row


async def insert(
    connection: Connection,
    by: str,
    asked: Asked,
    devices: Mapping[UUID, Row],
    dangerous: bool,
    now: datetime,
    spread: Spread | None = None,
    source: str = "",
) -> list[UUID]:
    """Those that were not there before; all of one community."""
    if not devices:
        return []
    spread = spread or Spread()
    emergency = asked.emergency and dangerous
    waits = dangerous and not emergency
    first = next(iter(devices.values()))
    lives = {number: _lives(asked, device) for number, device in devices.items()}
    starts = {number: now + timedelta(seconds=place / spread.per_second) for place, number in enumerate(devices)}
    rows = await connection.fetch(
        Q["insert"],
        first["community_id"],
        first["partition"],
        asked.name,
        source or f"user:{by}",
        by,
        dangerous,
        emergency,
        asked.why,
        "awaiting" if waits else "queued",
        now,
        spread.batch_id,
        list(devices),
        [device["device_no"] for device in devices.values()],
        [json.dumps(dict(asked.params), ensure_ascii=False)] * len(devices),
        [
            now + timedelta(seconds=APPROVAL_S) if waits else starts[number] + timedelta(seconds=lives[number])
            for number in devices
        ],
        [None if waits else starts[number] for number in devices],
        list(lives.values()),
        [_json(proof_of(device["kind"], asked.name, asked.params)) for device in devices.values()],
    )
    return [row["id"] for row in rows]


async def fetch(connection: Connection, number: UUID, *, lock: bool = False) -> Row | None:
    if lock:
        await connection.execute(Q["lock"], number)
    row: Row | None = await connection.fetchrow(Q["fetch"], number)
    return row


async def approve(connection: Connection, who: Principal, row: Row, note: str, now: datetime) -> None:
    """`row` is locked. Raises CommandRefused."""
    _refuse(may_approve(who, wanted_of(row), place_of(row)), "who")
    if await connection.fetchval(Q["approve"], row["id"], who.id, now, note) is None:
        raise over(row)
    await _moved(connection, who, row, "command.approve", {"asked_by": row["requested_by"]})


async def reject(connection: Connection, who: Principal, row: Row, why: str, now: datetime) -> None:
    """`row` is locked. Raises CommandRefused."""
    _refuse(may_approve(who, wanted_of(row), place_of(row)), "who")
    if row["state"] != "awaiting" or await _close(connection, row, "refused", who.id, why, now) is None:
        raise over(row)
    await _moved(connection, who, row, "command.reject", {"asked_by": row["requested_by"]})


async def cancel(connection: Connection, who: Principal, row: Row, why: str, now: datetime) -> None:
    """`row` is locked. What was handed to the broker stays. Raises CommandRefused."""
    why_not = may_cancel(who, wanted_of(row), place_of(row))
    _refuse(why_not, "state" if row["state"] not in ("awaiting", "queued") else "who")
    if await _close(connection, row, "cancelled", who.id, why, now) is None:
        raise over(row)
    await _moved(connection, who, row, "command.cancel", {})


async def review(connection: Connection, who: Principal, row: Row, verdict: str, note: str, now: datetime) -> None:
    """`row` is locked. Raises CommandRefused."""
    why = may_review(who, wanted_of(row), place_of(row))
    _refuse(why, "state" if row["reviewed_by"] is not None or not row["emergency"] else "who")
    await connection.execute(Q["review"], row["id"], who.id, now, verdict, note)
    detail = {"verdict": verdict, "asked_by": row["requested_by"]}
    await audit(
        connection, who.id, who.role.value, row["community_id"], "command.review", f"command:{row['id']}", detail
    )
    await outbox.append(connection, [reviewed(row, who, verdict)])


def reviewed(row: Row, who: Principal, verdict: str) -> Outgoing:
    data = {"command_id": str(row["id"]), "verdict": verdict, "by": who.id, "asked_by": row["requested_by"]}
    return Outgoing("command.reviewed", row["community_id"], str(row["id"]), str(row["id"]), data)


def over(row: Row) -> CommandRefused:
    state = STATE_LABELS[CommandState(row["state"])]
    return CommandRefused(
        Label(f"该指令已是“{state.zh}”或已过期", f"The command stands at “{state.en}” or has run out"), "state"
    )


async def _close(connection: Connection, row: Row, state: str, by: str, why: str, now: datetime) -> UUID | None:
    found: UUID | None = await connection.fetchval(Q["close"], row["id"], state, now, by, why)
    return found


async def _moved(connection: Connection, who: Principal, row: Row, action: str, detail: Mapping[str, Any]) -> None:
    about = {"device": row["device_id"], "name": row["name"], **detail}
    await audit(connection, who.id, who.role.value, row["community_id"], action, f"command:{row['id']}", about)
    await outbox.append(connection, await told(connection, [row["id"]]))


def _calls(row: Row, now: datetime) -> list[Outgoing]:
    """That somebody has to look at it afterwards, and by when."""
    if not row["emergency"]:
        return []
    data = {
        "command_id": str(row["id"]),
        "batch_id": str(row["batch_id"]) if row["batch_id"] else None,
        "name": row["name"],
        "by": row["requested_by"],
        "review_by": (now + REVIEW_WITHIN).isoformat(),
    }
    return [Outgoing("command.emergency", row["community_id"], str(row["id"]), row["correlation"], data)]


def _lives(asked: Asked, device: Row) -> int:
    command = command_of(device["kind"], asked.name)
    assert command is not None  # noqa: S101
    return lives_s(command, asked.expires_in_s)


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value))


def _refuse(why: Label | None, code: str) -> None:
    if why is not None:
        raise CommandRefused(why, code)


async def history(connection: Connection, number: UUID) -> Sequence[Row]:
    rows: Sequence[Row] = await connection.fetch(Q["history"], number)
    return rows
