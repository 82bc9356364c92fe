"""Reads rows of the committed log into the items that rules understand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.domain.engine.subjects import Roster
from services.domain.ids import DeviceNo
from services.domain.rules.evaluation import Clock, Event, Flood, Item, Reading, Reply, Status


@dataclass(frozen=True, slots=True)
class LogRow:
    """One committed batch of one lane. Reading i has widths[i] of `vals`, in order; times are epoch ms."""

    lane: int
    seq: int
    committed_at: datetime
    device_nos: list[int]
    ts_ms: list[int]
    received_ms: list[int]
    widths: list[int]
    vals: list[float | None]
    body: list[Any]
    unreadable: str = ""
    """Why its readings could not be unpacked."""

    @property
    def size(self) -> int:
        return len(self.device_nos) + len(self.body)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that makes no sense; it is counted and passed over, the rest of the row is used."""

    why: str


_NOWHERE: Mapping[str, int] = {}


def items_of(row: LogRow, roster: Roster) -> Iterator[Item | Unreadable]:
    """Every item of the row: its readings, then what is told one by one. Foreign formats mix them on either lane."""
    if why := wrong_columns(row):
        yield Unreadable(why)
    else:
        yield from _readings(row, roster)
    yield from told(row)


def told(row: LogRow) -> Iterator[Item | Unreadable]:
    """The row's events, statuses, clocks and replies, in order."""
    for entry in row.body:
        try:
            yield _entry(entry)
        except (KeyError, TypeError, ValueError) as error:
            yield Unreadable(f"{type(error).__name__}: {error}")


def wrong_columns(row: LogRow) -> str:
    """Why its readings make no sense; empty where they do."""
    if row.unreadable:
        return row.unreadable
    if not len(row.device_nos) == len(row.ts_ms) == len(row.received_ms) == len(row.widths):
        return "arrays of different lengths"
    if sum(row.widths) != len(row.vals):
        return f"widths add up to {sum(row.widths)}, but there are {len(row.vals)} values"
    return ""


def _readings(row: LogRow, roster: Roster) -> Iterator[Item]:
    start = 0
    for number, ts_ms, received_ms, width in zip(row.device_nos, row.ts_ms, row.received_ms, row.widths, strict=True):
        device_no = DeviceNo(number)
        subject = roster.devices.get(device_no)
        positions = subject.positions if subject is not None else _NOWHERE
        yield Reading(device_no, ts_ms, received_ms, row.vals[start : start + width], positions)
        start += width


def _entry(entry: Any) -> Item:
    device_no, ts_ms, received_ms = DeviceNo(int(entry["device_no"])), int(entry["ts_ms"]), int(entry["received_ms"])
    match entry["type"]:
        case "event":
            data, name = dict(entry.get("data") or {}), str(entry.get("id") or "")
            return Event(device_no, ts_ms, received_ms, str(entry["event"]), data, id=name)
        case "status":
            return Status(device_no, ts_ms, received_ms, bool(entry["online"]), int(entry.get("session") or 0))
        case "clock":
            return Clock(device_no, ts_ms, received_ms, int(entry["offset_ms"]))
        case "flood":
            return Flood(device_no, ts_ms, received_ms, int(entry["count"]))
        case "reply":
            said = str(entry.get("id") or ""), bool(entry.get("ok", True)), str(entry.get("detail") or "")
            return Reply(device_no, ts_ms, received_ms, *said, bool(entry.get("done", True)))
        case other:
            raise ValueError(f"unknown type {other!r}")
