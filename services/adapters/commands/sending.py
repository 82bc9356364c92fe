"""What the engine does with commands: hand out those that are due, take answers in, prove, and end what ran out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.adapters import outbox
from services.adapters.commands.asking import REVIEW_WITHIN
from services.adapters.commands.common import Connection, Q, Row, audit, told
from services.adapters.outbox import Outgoing
from services.domain.access import Principal
from services.domain.commands import CommandState
from services.domain.commands.asking import MOST_SENDS, command_of
from services.domain.commands.rights import Place, Wanted, still_stands
from services.domain.rules.evaluation import Reply
from services.domain.vocabulary import Role, Team

STRAYS_KEPT = 200
"""So many different stray replies of one device are kept; more of them tell nothing new."""


@dataclass(frozen=True, slots=True)
class HandedOut:
    """`rows` are to be published now; so many others were `withdrawn`."""

    rows: Sequence[Row]
    withdrawn: int = 0


async def hand_out(connection: Connection, partitions: Sequence[int], now: datetime) -> HandedOut:
    """What is due, each counted as sent once more, in the caller's transaction.

    Whoever asked and approved is looked up again, and held as they are until the end of it: a right that ends before
    the commit ends the command, one that ends afterwards came too late for it.
    """
    due = await connection.fetch(Q["due"], list(partitions), now)
    if not due:
        return HandedOut(())
    people = await _people(connection, due)
    good, refused, resting = [], [], []
    for row in due:
        why = _why_not(row, people)
        if why is None:
            good.append(row["id"])
        elif row["sends"] == 0:
            refused.append((row, why))
        else:
            resting.append(row["id"])
    rows: Sequence[Row] = await connection.fetch(Q["put"], good, now, MOST_SENDS) if good else ()
    if resting:
        await connection.execute(Q["rest"], resting)
    gone = [row["id"] for row, why in refused if await connection.fetchval(Q["withdraw"], row["id"], why, now)]
    for row, why in refused:
        detail = {"why": why, "asked_by": row["requested_by"], "approved_by": row["approved_by"], "name": row["name"]}
        await audit(
            connection, "system", "system", row["community_id"], "command.withdraw", f"command:{row['id']}", detail
        )
    await outbox.append(connection, await told(connection, gone))
    return HandedOut(rows, len(gone))


def _why_not(row: Row, people: dict[str, Principal]) -> str | None:
    """Plans and schedules were approved as such, and go on when whoever approved them has left."""
    if not row["source"].startswith("user:"):
        return None
    command = command_of(row["kind"], row["name"])
    if command is None:
        return "该设备不再支持此指令 · its kind no longer knows this command"
    wanted = Wanted(row["requested_by"], row["dangerous"], CommandState(row["state"]), row["emergency"])
    place = Place(row["community_id"], row["street_id"], row["grid_id"], row["kind"])
    approver = people.get(row["approved_by"]) if row["approved_by"] else None
    why = still_stands(people.get(row["requested_by"]), approver, command, wanted, place)
    return None if why is None else f"{why.zh} · {why.en}"


async def _people(connection: Connection, due: Sequence[Row]) -> dict[str, Principal]:
    names = {
        row[which] for row in due for which in ("requested_by", "approved_by") if row["source"].startswith("user:")
    }
    if not names:
        return {}
    rows = await connection.fetch(Q["people"], sorted(name for name in names if name is not None))
    return {
        row["id"]: Principal(
            row["id"],
            row["username"],
            row["display_name"],
            Role(row["role"]),
            Team(row["team"]) if row["team"] else None,
            row["community_id"],
            row["street_id"],
            row["grid_id"],
            row["household_id"],
            row["leads"],
        )
        for row in rows
    }


async def mark_sent(connection: Connection, ids: Sequence[UUID], now: datetime) -> None:
    """The broker has them. In a transaction of its own."""
    async with connection.transaction():
        rows = await connection.fetch(Q["mark_sent"], list(ids), now)
        await outbox.append(connection, await told(connection, [row["id"] for row in rows]))


async def replied(connection: Connection, replies: Sequence[Reply], now: datetime) -> tuple[list[Outgoing], list[str]]:
    """Moves the commands that devices have answered; (what the outbox is to say, why replies moved nothing).

    First in its transaction: runs are locked before commands, and both before any order. A reply counts only from the
    device that was told or its gateway, to a command that was sent and has not ended; any other is kept in view.
    """
    replies = [one for one in replies if one.command_id]
    if not replies:
        return [], []
    known = [(number, one) for one in replies if (number := _uuid(one.command_id)) is not None]
    moved: list[UUID] = []
    if known:
        numbers = [number for number, _ in known]
        await connection.fetch(Q["lock_runs"], numbers)
        latest = _latest(known)
        rows = await connection.fetch(
            Q["answer"],
            [number for number, _ in latest],
            [one.device_no for _, one in latest],
            ["failed" if not one.ok else "done" if one.done else "acknowledged" for _, one in latest],
            [one.detail for _, one in latest],
            [datetime.fromtimestamp(one.ts_ms / 1000, UTC) for _, one in latest],
            now,
        )
        moved = [row["id"] for row in rows]
        if moved:
            await connection.execute(Q["wake_runs"], moved, now)
    strays = await connection.fetch(
        Q["strays"],
        now,
        [one.command_id for one in replies],
        [_uuid(one.command_id) for one in replies],
        [one.device_no for one in replies],
        [one.ok for one in replies],
        [one.detail for one in replies],
        STRAYS_KEPT,
    )
    return await told(connection, moved), [row["reason"] for row in strays]


def _latest(known: Sequence[tuple[UUID, Reply]]) -> list[tuple[UUID, Reply]]:
    """Of several answers of one device to one command the last of this turn counts, an end more than "at work"."""
    latest: dict[tuple[UUID, int], Reply] = {}
    for number, one in known:
        before = latest.get((number, one.device_no))
        if before is None or one.done or not one.ok or not before.done:
            latest[number, one.device_no] = one
    return [(number, one) for (number, _), one in latest.items()]


Late = Callable[[Connection, Sequence[UUID], datetime], Awaitable[list[Outgoing]]]
"""Says of confirmed commands, in the same transaction, what was not believed of them any more."""


async def prove(
    connection: Connection, partitions: Sequence[int], now: datetime, late: Late | None = None
) -> list[UUID]:
    """Confirms what readings and events show by now."""
    async with connection.transaction():
        shown = [row["id"] for row in await connection.fetch(Q["confirm"], list(partitions), now)]
        if not shown:
            return []
        await connection.fetch(Q["lock_runs"], shown)
        moved = [row["id"] for row in await connection.fetch(Q["confirmed"], shown, now)]
        await connection.execute(Q["wake_runs"], moved, now)
        said = await told(connection, moved)
        if late is not None and moved:
            said += await late(connection, moved, now)
        await outbox.append(connection, said)
    return moved


async def lapse(connection: Connection, partitions: Sequence[int], now: datetime) -> list[UUID]:
    """Ends what ran out, save for what a run that is under way will end itself."""
    async with connection.transaction():
        over = [row["id"] for row in await connection.fetch(Q["overdue"], list(partitions), now)]
        if not over:
            return []
        moved = [row["id"] for row in await connection.fetch(Q["lapse"], over, now)]
        await outbox.append(connection, await told(connection, moved))
    return moved


async def remind(connection: Connection, partitions: Sequence[int], now: datetime) -> int:
    """Says once of each emergency that nobody has reviewed within a day; of a batch once. How many it said."""
    async with connection.transaction():
        rows = await connection.fetch(Q["unreviewed"], list(partitions), now, now - REVIEW_WITHIN)
        each = {row["batch_id"] or row["id"]: row for row in rows}
        await outbox.append(
            connection,
            [
                Outgoing(
                    "command.review_overdue",
                    row["community_id"],
                    str(number),
                    str(number),
                    {
                        "command_id": None if row["batch_id"] else str(row["id"]),
                        "batch_id": str(row["batch_id"]) if row["batch_id"] else None,
                        "name": row["name"],
                        "by": row["requested_by"],
                        "at": row["requested_at"].isoformat(),
                    },
                )
                for number, row in each.items()
            ],
        )
    return len(each)


async def lapse_of_run(connection: Connection, run_id: UUID, now: datetime) -> list[Outgoing]:
    """The same for the commands of one run, which its caller has locked."""
    over = [row["id"] for row in await connection.fetch(Q["overdue_of_run"], run_id, now)]
    if not over:
        return []
    moved = await connection.fetch(Q["lapse"], over, now)
    return await told(connection, [row["id"] for row in moved])


async def cancel_of_run(connection: Connection, run_id: UUID, by: str, now: datetime) -> list[Outgoing]:
    """Calls back what has not left yet."""
    rows = await connection.fetch(Q["cancel_of_run"], run_id, now, by)
    return await told(connection, [row["id"] for row in rows])


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def counted(reasons: Sequence[str]) -> dict[str, int]:
    found: dict[str, Any] = {}
    for reason in reasons:
        found[reason] = found.get(reason, 0) + 1
    return found
