"""One thing told to many devices: made, approved as one, followed by its commands' states, stopped half-way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from services.adapters import outbox
from services.adapters.commands.asking import (
    BATCH_MOST,
    REVIEW_WITHIN,
    Asked,
    CommandRefused,
    Spread,
    check,
    insert,
)
from services.adapters.commands.common import Connection, Q, Row, audit, told
from services.adapters.outbox import Outgoing
from services.domain.access import Principal
from services.domain.commands import CommandState
from services.domain.commands.rights import Place, Wanted, may_approve, may_cancel, may_review
from services.domain.vocabulary import Label

FASTEST = 50.0
"""Commands a second: nobody waits for the last siren of an emergency."""
SHOWN = 20
"""So many devices that cannot be told are named in a refusal."""


@dataclass(frozen=True, slots=True)
class Whom:
    """`devices` None: all of the kind; the rest narrows it."""

    kind: str
    devices: Sequence[str] | None = None
    buildings: Sequence[str] = ()
    grids: Sequence[str] = ()
    tags: Sequence[str] = ()

    def words(self, names: Mapping[str, str]) -> str:
        """For whoever approves it: places by their names, where those are known."""
        parts = [self.kind, *(names.get(one, one) for one in (*self.buildings, *self.grids)), *self.tags]
        if self.devices is not None:
            parts.append(f"{len(self.devices)}")
        return " ".join(parts)[:200]


async def make(
    connection: Connection,
    who: Principal,
    number: UUID,
    community_id: str,
    asked: Asked,
    whom: Whom,
    per_second: float,
    now: datetime,
) -> Row:
    """The batch, new or the one that this id stands for already. Raises CommandRefused; it is all of them or none."""
    digest = hashlib.sha256(asked.digest + repr((whom, per_second)).encode()).digest()
    before = await fetch(connection, number)
    if before is not None:
        if before["community_id"] != community_id or before["digest"] != digest:
            raise CommandRefused(
                Label("该 Idempotency-Key 已用于别的批次", "This Idempotency-Key stands for another batch"), "key"
            )
        return before
    devices, mute = await _devices(connection, community_id, whom)
    if asked.emergency:
        per_second = max(per_second, FASTEST)
    places = await connection.fetch(Q["place_names"], community_id, [*whom.buildings, *whom.grids])
    words = whom.words({row["id"]: row["name"] for row in places})
    dangerous = {check(who, asked, device) for device in devices}.pop()
    made = await connection.fetchval(
        Q["insert_batch"],
        number,
        community_id,
        asked.name,
        json.dumps(dict(asked.params), ensure_ascii=False),
        dangerous,
        asked.emergency and dangerous,
        asked.why,
        _targets(words, mute),
        len(devices),
        per_second,
        who.id,
        now,
        digest,
    )
    if made is not None:
        commands = {uuid5(number, str(device["device_no"])): device for device in devices}
        new = await insert(connection, who.id, asked, commands, dangerous, now, Spread(number, per_second))
        detail = {"name": asked.name, "whom": words, "total": len(devices)}
        action = "command.batch_emergency" if asked.emergency and dangerous else "command.batch_request"
        await audit(connection, who.id, who.role.value, community_id, action, f"command_batch:{number}", detail)
        events = await told(connection, new, as_requested=True)
        if asked.emergency and dangerous:
            by_then = (now + REVIEW_WITHIN).isoformat()
            data = {"batch_id": str(number), "name": asked.name, "by": who.id, "review_by": by_then}
            events.append(Outgoing("command.emergency", community_id, str(number), str(number), data))
        await outbox.append(connection, events)
    row = await fetch(connection, number)
    assert row is not None  # noqa: S101
    return row


def _targets(words: str, mute: Sequence[str]) -> str:
    """Whom it was meant for, and who of them cannot be told."""
    if not mute:
        return words
    more = "…" if len(mute) > SHOWN else ""
    return f"{words} − {len(mute)} 台不支持下行 no way down: {', '.join(mute[:SHOWN])}{more}"


async def _devices(connection: Connection, community_id: str, whom: Whom) -> tuple[Sequence[Row], Sequence[str]]:
    """Those that can be told, and the ids of those in these places that cannot. Raises CommandRefused."""
    named = None if whom.devices is None else list(dict.fromkeys(whom.devices))
    rows: Sequence[Row] = await connection.fetch(
        Q["targets"], community_id, [whom.kind], named, list(whom.buildings), list(whom.grids), list(whom.tags),
        BATCH_MOST + 1,
    )  # fmt: skip
    if len(rows) > BATCH_MOST:
        raise CommandRefused(
            Label(f"一次最多 {BATCH_MOST} 台，请缩小范围", f"At most {BATCH_MOST} at a time; narrow it down"), "value"
        )
    missing = sorted(set(named or ()) - {row["device_id"] for row in rows})
    mute = sorted(row["device_id"] for row in rows if row["codec"] != "native")
    if missing:
        said = ", ".join(missing[:SHOWN])
        raise CommandRefused(Label(f"范围内没有这些设备：{said}", f"No such {whom.kind} there: {said}"), "value")
    if mute and named is not None:
        said = ", ".join(mute[:SHOWN])
        raise CommandRefused(Label(f"不支持下行指令：{said}", f"What they speak has no way down: {said}"), "state")
    able = [row for row in rows if row["codec"] == "native"]
    if not able:
        raise CommandRefused(Label("范围内没有可用的设备", "There is no such device that can be told"), "value")
    return able, mute


async def fetch(connection: Connection, number: UUID, *, lock: bool = False) -> Row | None:
    if lock:
        await connection.execute(Q["lock_batch"], number)
    row: Row | None = await connection.fetchrow(Q["batch"], number)
    return row


async def approve(connection: Connection, who: Principal, row: Row, note: str, now: datetime) -> None:
    """`row` is locked. Raises CommandRefused."""
    _refuse(may_approve(who, _wanted(row), _place(row)), "who")
    moved = await connection.fetch(Q["approve_batch"], row["id"], who.id, now, row["per_second"], note)
    if not moved:
        raise CommandRefused(Label("没有待批准的指令", "Nothing of it waits for approval"), "state")
    await _done(connection, who, row, "command.batch_approve", [one["id"] for one in moved])


async def reject(connection: Connection, who: Principal, row: Row, why: str, now: datetime) -> None:
    """`row` is locked. Raises CommandRefused."""
    _refuse(may_approve(who, _wanted(row), _place(row)), "who")
    moved = await connection.fetch(Q["close_batch"], row["id"], "refused", now, who.id, why)
    if not moved:
        raise CommandRefused(Label("没有待批准的指令", "Nothing of it waits for approval"), "state")
    await _done(connection, who, row, "command.batch_reject", [one["id"] for one in moved])


async def stop(connection: Connection, who: Principal, row: Row, why: str, now: datetime) -> None:
    """`row` is locked. What has not left stays here; the rest ends by itself. Raises CommandRefused."""
    _refuse(may_cancel(who, _wanted(row), _place(row)), "who")
    if row["stopped_at"] is not None:
        return
    moved = await connection.fetch(Q["close_batch"], row["id"], "cancelled", now, who.id, why)
    await connection.execute(Q["stop_batch"], row["id"], who.id, now, why)
    await _done(connection, who, row, "command.batch_stop", [one["id"] for one in moved])


async def review(connection: Connection, who: Principal, row: Row, verdict: str, note: str, now: datetime) -> None:
    """`row` is locked. Raises CommandRefused."""
    why = may_review(who, _wanted(row, reviewed=not row["to_review"]), _place(row))
    _refuse(why, "who" if row["emergency"] and row["to_review"] else "state")
    await connection.fetch(Q["review_batch"], row["id"], who.id, now, verdict, note)
    detail = {"verdict": verdict, "asked_by": row["requested_by"]}
    subject = f"command_batch:{row['id']}"
    await audit(connection, who.id, who.role.value, row["community_id"], "command.batch_review", subject, detail)
    data = {"batch_id": str(row["id"]), "verdict": verdict, "by": who.id, "asked_by": row["requested_by"]}
    await outbox.append(
        connection, [Outgoing("command.reviewed", row["community_id"], str(row["id"]), str(row["id"]), data)]
    )


async def _done(connection: Connection, who: Principal, row: Row, action: str, moved: Sequence[UUID]) -> None:
    about = {"name": row["name"], "commands": len(moved), "asked_by": row["requested_by"]}
    subject = f"command_batch:{row['id']}"
    await audit(connection, who.id, who.role.value, row["community_id"], action, subject, about)
    await outbox.append(connection, await told(connection, moved))


def _place(row: Row) -> Place:
    return Place(row["community_id"], row["street_id"])


def _wanted(row: Row, *, reviewed: bool = False) -> Wanted:
    return Wanted(row["requested_by"], row["dangerous"], CommandState.AWAITING, row["emergency"], reviewed)


def _refuse(why: Label | None, code: str) -> None:
    if why is not None:
        raise CommandRefused(why, code)
