"""Keeps `device_state` after the log: written apart from the batches, from a checkpoint on after a restart.

Apart, because both lanes touch the same device's row: in the batches' own transactions an event would wait for the
telemetry batch that holds the row, and a device that speaks ten times a second would be written ten times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from services.adapters.log_rows import unpack
from services.adapters.queries import Queries
from services.domain.ids import DeviceNo
from services.domain.messages import Reply
from services.domain.proof.silences import NOTED_INTERVALS
from services.ingest.checked import Checked, Outcome, Session
from services.ingest.state import Latest, StateFold

Q = Queries.beside(__file__)
_BOTH_LANES = (0, 1)


def fold_batch(fold: StateFold, checked: Checked, numbers: Mapping[int, int], lane: int) -> None:
    """Takes in a committed batch. A duplicate still shows that its sender is alive."""
    plain = checked.plain
    fold.readings([device.no for device in plain.devices], plain.ts_ms, plain.received_ms, plain.vals)
    for reading in checked.readings:
        if reading.outcome is Outcome.STORED:
            vals = reading.vals if reading.added is None else reading.added
            fold.reading(reading.device.no, reading.ts_ms, reading.received_ms, vals)
        else:
            fold.seen(reading.device.no, reading.received_ms, reading.ts_ms)
    for happening in checked.happenings:
        if happening.outcome is Outcome.STORED and not isinstance(happening.message, Reply):
            fold.event(happening.device.no, happening.ts_ms, happening.received_ms, happening.event)
        else:
            fold.seen(happening.device.no, happening.received_ms, happening.ts_ms)
    for status in checked.statuses:
        if status.outcome is Outcome.STORED:
            fold.status(status.device.no, status.received_ms, status.online, status.session)
        elif status.heartbeat:
            fold.seen(status.device.no, status.received_ms)
    for no, received_ms in checked.forwarders.items():
        fold.seen(no, received_ms, received_ms)
    for clock in checked.clocks:
        fold.clock(clock.device.no, clock.received_ms, clock.offset_ms)
    for partition, number in numbers.items():
        fold.positions[partition, lane] = number


async def catch_up(
    connection: asyncpg.Connection[Any],
    fold: StateFold,
    partitions: Sequence[int],
    gateway_of: Mapping[DeviceNo, DeviceNo],
) -> None:
    """Folds in what an earlier process committed to the log and did not live to write here."""
    saved = {
        (row["partition"], row["lane"]): row["seq"] for row in await connection.fetch(Q["state_positions"], partitions)
    }
    for partition in partitions:
        for lane in _BOTH_LANES:
            after = saved.get((partition, lane), 0)
            while rows := await connection.fetch(Q["state_behind"], partition, lane, after):
                for row in rows:
                    _fold_row(fold, row, gateway_of)
                after = fold.positions[partition, lane] = rows[-1]["seq"]
                await save(connection, *fold.take())


def _fold_row(fold: StateFold, row: asyncpg.Record, gateway_of: Mapping[DeviceNo, DeviceNo]) -> None:
    logged, at = unpack(row["readings"], row["packed"]), 0
    for number, ts_ms, received_ms, width in zip(
        logged.device_nos, logged.ts_ms, logged.received_ms, logged.widths, strict=True
    ):
        no = DeviceNo(number)
        fold.reading(no, ts_ms, received_ms, logged.vals[at : at + width])
        at += width
        if no in gateway_of:
            fold.seen(gateway_of[no], received_ms, received_ms)
    for item in row["body"]:
        no, ts_ms, received_ms = item["device_no"], item["ts_ms"], item["received_ms"]
        match item["type"]:
            case "event":
                fold.event(no, ts_ms, received_ms, item["event"])
            case "status":
                fold.status(no, received_ms, item["online"], item["session"])
            case "clock":
                fold.clock(no, received_ms, item["offset_ms"])
            case _:
                fold.seen(no, received_ms, ts_ms)


async def save(
    connection: asyncpg.Connection[Any],
    pending: Mapping[DeviceNo, Latest],
    positions: Mapping[tuple[int, int], int],
) -> None:
    """Writes the states and how far they reach, in one transaction; safe to do again."""
    vals: list[float] = []
    widths, starts = [], []
    apart: list[int] = []
    apart_starts: list[int] = []
    times: list[int] = []
    for no, latest in pending.items():
        row = latest.vals
        starts.append(len(vals) + 1)
        widths.append(len(row))
        if None in row:
            vals += [math.nan if value is None else value for value in row]
        else:
            vals += row  # type: ignore[arg-type]
        if latest.vals_at is not None:
            apart.append(no)
            apart_starts.append(len(times) + 1)
            times += latest.vals_at
    states = list(pending.values())
    async with connection.transaction():
        # Before the states, which forget when the device was heard before. A heartbeat without values leaves nothing
        # else, so a backtest is told of its absence.
        await connection.execute(
            Q["note_silences"], list(pending), [latest.first_ms for latest in states], NOTED_INTERVALS
        )
        await connection.execute(
            Q["save_state"],
            list(pending),
            widths,
            starts,
            vals,
            [latest.seen_ms for latest in states],
            [latest.made_ms for latest in states],
            [latest.vals_ms for latest in states],
            [latest.event for latest in states],
            [latest.event_ms for latest in states],
            [latest.session for latest in states],
            [latest.online for latest in states],
            [latest.status_ms for latest in states],
            [latest.clock_off_ms for latest in states],
            apart,
            apart_starts,
            times,
        )
        await connection.execute(
            Q["save_position"],
            [partition for partition, _ in positions],
            [lane for _, lane in positions],
            list(positions.values()),
        )


async def known_sessions(connection: asyncpg.Connection[Any]) -> dict[DeviceNo, Session]:
    """The newest session of each device that reports them, as far as the table knows."""
    return {
        DeviceNo(row["device_no"]): (row["session"], not row["online"]) for row in await connection.fetch(Q["sessions"])
    }
