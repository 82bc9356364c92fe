"""What `bench.storage` loads: the same devices, moments and values for each shape of the table, and batches of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import psutil

from services.adapters.queries import Queries

Q = Queries(Path(__file__).with_name("storage.sql"))

Table = Literal["wide", "real", "columns", "narrow"]

WIDTHS = (5, 2, 1, 3, 2, 5, 1, 3, 2, 5, 1, 3, 2, 5, 1, 2, 5, 3, 2, 8)
"""How many metrics devices send, in the proportion in which a community's speak; `bench_width` says the same."""
MEAN_WIDTH = sum(WIDTHS) / len(WIDTHS)
START = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday: chunks of a day and of a week begin here."""
BATCH = 2_500


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to store readings. `table` names the statements, `key` and `extra` the indexes."""

    name: str
    table: Table = "wide"
    chunk: timedelta = timedelta(days=1)
    key: str = "key_device_ts"
    extra: tuple[str, ...] = ()


PRESENT = Shape("wide float8[], 1 d")
SHAPES = (
    PRESENT,
    Shape("narrow, 1 d", "narrow", key="key_device_metric_ts"),
    Shape("wide real[], 1 d", "real"),
    Shape("typed columns, 1 d", "columns"),
    Shape("wide, 6 h", chunk=timedelta(hours=6)),
    Shape("wide, 7 d", chunk=timedelta(days=7)),
    Shape("wide, key ts DESC", key="key_device_ts_desc"),
    Shape("wide, index fill 100", key="key_device_ts_tight"),
    Shape("wide, and BRIN on ts", extra=("brin_ts",)),
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many devices, each speaking once an interval at a moment of its own."""

    devices: int
    every: timedelta

    def turns(self, rows: int) -> int:
        return max(1, rows // self.devices)


def batches(fleet: Fleet, first_turn: int, count: int, size: int = BATCH) -> Iterator[list[list[Any]]]:
    """(device_nos, ts_ms, widths, vals, starts) of one statement each, going on where `bulk` of so many turns ended."""
    start_ms, every_ms = round(START.timestamp() * 1000), fleet.every / timedelta(milliseconds=1)
    at = first_turn * fleet.devices
    for _ in range(count):
        nos, times, widths, starts = [], [], [], []
        vals: list[float] = []
        for n in range(at, at + size):
            turn, slot = divmod(n, fleet.devices)
            device = slot * 7919 % fleet.devices + 1
            width = WIDTHS[device % len(WIDTHS)]
            nos.append(device)
            times.append(round(start_ms + (turn + slot / fleet.devices) * every_ms))
            widths.append(width)
            starts.append(len(vals) + 1)
            vals += _vals(device, turn)[:width]
        at += size
        yield [nos, times, widths, vals, starts]


def _vals(device: int, n: int) -> tuple[float, ...]:
    """As `bench_vals`."""
    return (
        round(1e5 + device * 7 + n * 0.013, 3),
        round(220 + 8 * math.sin(n / 40 + device), 1),
        round(360 - n // 20000) / 100,
        float(n % 97),
        round(0.9 + math.sin(n / 9) / 20, 2),
        float(n // 50 % 100),
        31.25 + device / 1e5,
        121.5 + n % 17 / 1e5,
    )


def arguments(table: Table, batch: list[list[Any]]) -> list[list[Any]]:
    """A batch as the table's insert takes it."""
    if table != "narrow":
        return batch
    nos, times, widths, vals, _ = batch
    return [
        [no for no, width in zip(nos, widths, strict=True) for _ in range(width)],
        [ts for ts, width in zip(times, widths, strict=True) for _ in range(width)],
        [metric for width in widths for metric in range(width)],
        vals,
    ]


def server_cpu_s(database: str) -> float | None:
    """What the server has spent on clients' connections to `database` that are open now; None where it cannot be seen.

    Found by title, not by the number the server gives, which may be of its sandbox's own counting. Workers that come
    and go, such as autovacuum's, have no client's address in theirs and are left out.
    """
    client = re.compile(rf"postgres: \S+ {re.escape(database)} \S+\(\d+\) ")
    spent, seen = 0.0, False
    for process in psutil.process_iter(["cmdline"]):
        if client.match(" ".join(process.info["cmdline"] or ())):
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            spent, seen = spent + times.user + times.system, True
    return spent if seen else None
