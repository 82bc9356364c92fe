"""What a batch added, as one row of the committed log for each partition, numbered by its single owner."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import asyncpg

from services.adapters.log_rows import pack
from services.adapters.queries import Queries
from services.domain.messages import Reply
from services.ingest.batch import Fenced, Owner, StoredReadings, Written
from services.ingest.checked import Checked, Happening, Item, Outcome, Status

Q = Queries.beside(__file__)

_LOG_KEY = "ingest_log_pkey"


def stored_readings(checked: Checked) -> dict[int, StoredReadings]:
    """partition → its readings that are new, in the order they came, each with what it added."""
    plain = checked.plain
    if checked.readings and plain.sources:
        checked.unfold()
        plain = checked.plain
    by_partition: dict[int, StoredReadings] = {}
    if plain.sources:
        partitions = [device.partition for device in plain.devices]
        nos = [device.no for device in plain.devices]
        # A partition's messages come one behind the other, out of its own session: a few long runs, taken whole.
        start = 0
        for partition, run in groupby(partitions):
            part = slice(start, start + len(list(run)))
            start = part.stop
            rows = StoredReadings(nos[part], plain.ts_ms[part], plain.received_ms[part], plain.vals[part])
            if (known := by_partition.get(partition)) is None:
                by_partition[partition] = rows
            else:
                known.extend(rows)
    for reading in checked.readings:
        if reading.outcome is Outcome.STORED:
            by_partition.setdefault(reading.device.partition, StoredReadings.none()).add(
                reading.device.no,
                reading.ts_ms,
                reading.received_ms,
                reading.vals if reading.added is None else reading.added,
            )
    return by_partition


async def append(
    connection: asyncpg.Connection[Any], owner: Owner, checked: Checked, numbers: Mapping[int, int], written: Written
) -> None:
    """Raises Fenced."""
    readings = written.readings = stored_readings(checked)
    bodies: dict[int, list[dict[str, Any]]] = {}
    stored: list[Item] = [*checked.happenings, *checked.statuses]
    for item in stored:
        if item.outcome is Outcome.STORED:
            bodies.setdefault(item.device.partition, []).append(_body(item))
    if owner.lane == 0:
        for clock in checked.clocks:
            bodies.setdefault(clock.device.partition, []).append(
                {
                    "type": "clock",
                    "device_no": clock.device.no,
                    "ts_ms": clock.ts_ms,
                    "received_ms": clock.received_ms,
                    "offset_ms": clock.offset_ms,
                }
            )
        for flood in checked.floods:
            at = {"device_no": flood.device.no, "ts_ms": flood.received_ms, "received_ms": flood.received_ms}
            bodies.setdefault(flood.device.partition, []).append({"type": "flood", **at, "count": flood.count})
    await _keep_notes(connection, bodies)
    for partition in sorted(readings.keys() | bodies.keys()):
        rows = readings.get(partition) or StoredReadings.none()
        if partition not in numbers:
            raise Fenced(partition, f"partition {partition} is not ours; a community moved while we were running")
        number = numbers[partition] + 1
        try:
            appended = await connection.execute(
                Q["append_log"],
                partition,
                owner.lane,
                number,
                owner.instance,
                len(rows.device_nos),
                pack(*rows),
                bodies.get(partition, []),
            )
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == _LOG_KEY or _LOG_KEY in str(error):
                raise Fenced(
                    partition,
                    f"partition {partition} lane {owner.lane} number {number} was written by another worker; "
                    "it owns the partition now",
                ) from error
            raise
        if appended == "SELECT 0":
            raise Fenced(partition, f"partition {partition} is not leased to {owner.instance}")
        written.numbers[partition] = number


_NOTED = frozenset({"status", "clock", "flood"})
"""What of the log no other table keeps: when the log is gone, a backtest still hears of it."""


async def _keep_notes(connection: asyncpg.Connection[Any], bodies: Mapping[int, list[dict[str, Any]]]) -> None:
    notes = [entry for body in bodies.values() for entry in body if entry["type"] in _NOTED]
    if notes:
        kept = [{name: value for name, value in note.items() if name not in _COLUMNS} for note in notes]
        numbers, times = [note["device_no"] for note in notes], [note["received_ms"] for note in notes]
        await connection.execute(Q["insert_notes"], numbers, times, kept)


_COLUMNS = ("device_no", "received_ms")


def _body(item: Item) -> dict[str, Any]:
    common = {"device_no": item.device.no, "ts_ms": item.ts_ms, "received_ms": item.received_ms}
    match item:
        case Happening(message=Reply() as reply):
            return {"type": "reply", **common, "id": reply.command_id, "ok": reply.ok, "detail": reply.detail} | (
                {} if reply.done else {"done": False}
            )
        case Happening():
            return {"type": "event", **common, "event": item.event, "data": item.data, "id": item.message_id}
        case Status():
            return {"type": "status", **common, "online": item.online, "session": item.session}
        case _:
            raise TypeError(f"{type(item).__name__} has no place in the event log")
