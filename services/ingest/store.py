"""One batch, one transaction: readings, events, the log, the ledger and the quarantine, or nothing of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from services.adapters.mqtt import Inbound
from services.adapters.queries import Queries
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition
from services.domain.messages import Reason, Rejected, Reply
from services.ingest import rollups
from services.ingest.core import (
    DEVICE_TS,
    BadValue,
    Checked,
    Happening,
    Item,
    Outcome,
    Reading,
    Session,
    Status,
    order_statuses,
    reconcile,
)
from services.ingest.registry import KindSpec, KnownDevice, Registry

Q = Queries.beside(__file__)

KEPT_PAYLOAD_BYTES = 64 * 1024
_LOG_KEY = "ingest_log_pkey"


class Fenced(Exception):
    """Somebody else writes this partition's log: we are no longer its owner and must stop."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes. `worker` counts in the ledger across restarts; `instance` tells two processes of that name apart."""

    worker: str
    instance: str
    lane: int
    partitions: tuple[int, ...]


@dataclass(slots=True)
class Batch:
    """Messages on their way into one transaction. `marker` is unique to the batch: it is how a commit is recognised."""

    messages: Sequence[Inbound]
    checked: Checked
    marker: datetime
    attempts: int = 0
    written: Written = field(default_factory=lambda: Written())


@dataclass(slots=True)
class Written:
    """What the last attempt did; valid once it is committed."""

    numbers: dict[int, int] = field(default_factory=dict)
    """partition → the log number this batch got."""
    sessions: dict[DeviceNo, Session] = field(default_factory=dict)
    conflicts: list[BadValue] = field(default_factory=list)


async def load_registry(connection: asyncpg.Connection[Any], kinds: Mapping[str, KindSpec]) -> Registry:
    """Devices in use and all communities. A device of a kind that this version does not know has no metrics."""
    communities = {
        CommunityId(row["id"]): Partition(row["partition"]) for row in await connection.fetch(Q["communities"])
    }
    devices: dict[DeviceId, KnownDevice] = {}
    addresses: dict[tuple[DeviceNo, str], KnownDevice] = {}
    for row in await connection.fetch(Q["registry"]):
        community = CommunityId(row["community_id"])
        if community not in communities:
            continue
        kind = kinds.get(row["kind"]) or KindSpec(row["kind"], 0, {}, frozenset())
        device = KnownDevice(
            row["device_no"],
            row["id"],
            community,
            communities[community],
            kind,
            row["gateway_no"],
            row["codec"],
            row["address"],
            row["profile"],
        )
        devices[device.id] = device
        if device.gateway_no is not None and device.address is not None:
            addresses[device.gateway_no, device.address] = device
    return Registry(devices, communities, addresses)


async def claim(connection: asyncpg.Connection[Any], owner: Owner) -> dict[int, int]:
    """partition → last log number. Waits for what an earlier process of ours may still be committing."""
    async with connection.transaction():
        await connection.execute(Q["open_ledger"], owner.worker, owner.lane, [-1, *owner.partitions])
        await connection.fetchval(Q["lock_ledger"], owner.worker, owner.lane, None)
        rows = await connection.fetch(Q["last_numbers"], owner.lane, list(owner.partitions))
    return {row["partition"]: row["seq"] for row in rows}


async def write(
    connection: asyncpg.Connection[Any],
    owner: Owner,
    batch: Batch,
    numbers: Mapping[int, int],
    sessions: Mapping[DeviceNo, Session],
) -> None:
    """Stores the batch and sets each item's outcome and `batch.written`. Raises Fenced.

    Where an earlier attempt turns out to be committed (only its reply was lost) nothing is done: its results stand.
    """
    async with connection.transaction():
        # The lock waits for an attempt whose connection was cut while the server was still committing it.
        if batch.attempts and await connection.fetchval(Q["lock_ledger"], owner.worker, owner.lane, batch.marker):
            return
        checked, written = batch.checked, Written()
        batch.written = written
        checked.begin()
        written.sessions = order_statuses(checked.statuses, sessions)
        if checked.readings:
            await _readings(connection, checked.readings, written)
        if checked.happenings:
            await _events(connection, checked.happenings)
        await _log(connection, owner, checked, numbers, written)
        await _quarantine(connection, owner, batch)
        await _count(connection, owner, batch)
        if stored := [reading for reading in checked.readings if reading.outcome is Outcome.STORED]:
            # Last, so that the locks it takes are held for the commit alone.
            await rollups.mark_late(
                connection,
                sorted({reading.device.partition for reading in stored}),
                [reading.device.no for reading in stored],
                [reading.ts_ms for reading in stored],
            )


async def _readings(connection: asyncpg.Connection[Any], readings: list[Reading], written: Written) -> None:
    first: dict[tuple[int, int], Reading] = {}
    again: list[Reading] = []
    for reading in readings:
        key = (reading.device.no, reading.ts_ms)
        if key in first:
            again.append(reading)
        else:
            first[key] = reading
    vals, widths, starts = _flat(reading.vals for reading in first.values())
    nos, times = [no for no, _ in first], [ts for _, ts in first]
    result = await connection.fetchrow(Q["insert_readings"], nos, times, widths, vals, starts)
    if result["count"] < len(first):
        new = set(zip(result["device_nos"] or (), result["ts_ms"] or (), strict=True))
        # In the order they came: which of two is the first value must not depend on the batch.
        repeated = {id(reading) for reading in again}
        again = [r for r in readings if id(r) in repeated or (r.device.no, r.ts_ms) not in new]
    if again:
        await _meet(connection, again, written)


async def _meet(connection: asyncpg.Connection[Any], again: list[Reading], written: Written) -> None:
    """Readings whose row is there already: duplicates, fillers of holes, or contradictions."""
    keys = list({(reading.device.no, reading.ts_ms): None for reading in again})
    times = [ts for _, ts in keys]
    rows = await connection.fetch(Q["stored_readings"], [no for no, _ in keys], times, min(times), max(times))
    stored: dict[tuple[int, int], list[float | None]] = {(row["device_no"], row["ts_ms"]): row["vals"] for row in rows}
    filled: dict[tuple[int, int], list[float | None]] = {}
    for reading in again:
        key = (reading.device.no, reading.ts_ms)
        now, added, disagree = reconcile(stored[key], reading.vals)
        details = [_contradiction(reading, position, now[position]) for position in disagree]
        if any(value is not None for value in added):
            stored[key] = filled[key] = now
            reading.added = added
            written.conflicts += [BadValue(reading, Reason.CONFLICT, detail) for detail in details]
        elif disagree:
            reading.refuse(Rejected(Reason.CONFLICT, "; ".join(details), reading.device.id, reading.message_id))
        else:
            reading.outcome = Outcome.DUPLICATE
    if filled:
        await connection.executemany(Q["fill_reading"], [(*key, vals) for key, vals in filled.items()])


def _contradiction(reading: Reading, position: int, stored: float | None) -> str:
    name = next(name for name, metric in reading.device.kind.metrics.items() if metric.position == position)
    return f"{name}: {stored:g} was stored for this time before, now {reading.vals[position]:g}; the first stands"


async def _events(connection: asyncpg.Connection[Any], happenings: list[Happening]) -> None:
    Key = tuple[int, int, str]
    happenings = await _not_answered_before(connection, happenings)
    first: dict[Key, Happening] = {}
    for happening in happenings:
        first.setdefault((happening.device.no, happening.ts_ms, happening.event), happening)
    rows = await connection.fetch(
        Q["insert_events"],
        [no for no, _, _ in first],
        [ts for _, ts, _ in first],
        [event for _, _, event in first],
        [happening.data for happening in first.values()],
        [happening.message_id for happening in first.values()],
        [happening.received_ms for happening in first.values()],
    )
    new = {(row["device_no"], row["ts_ms"], row["event"]) for row in rows}
    again = [h for h in happenings if (key := (h.device.no, h.ts_ms, h.event)) not in new or first[key] is not h]
    if not again:
        return
    keys = list({(h.device.no, h.ts_ms, h.event): None for h in again})
    times = [ts for _, ts, _ in keys]
    rows = await connection.fetch(
        Q["stored_events"], [k[0] for k in keys], times, [k[2] for k in keys], min(times), max(times)
    )
    stored = {(row["device_no"], row["ts_ms"], row["event"]): row["data"] for row in rows}
    for happening in again:
        if stored[happening.device.no, happening.ts_ms, happening.event] == happening.data:
            happening.outcome = Outcome.DUPLICATE
        else:
            detail = f"{happening.event} was stored for this time before with other data; the first stands"
            happening.refuse(Rejected(Reason.CONFLICT, detail, happening.device.id, happening.message_id))


async def _not_answered_before(connection: asyncpg.Connection[Any], happenings: list[Happening]) -> list[Happening]:
    """Events taken at the time of their arrival have another time at each resending; their id tells them apart."""
    timeless = [h for h in happenings if DEVICE_TS in h.data and h.message_id is not None]
    if not timeless:
        return happenings
    rows = await connection.fetch(
        Q["answered_events"],
        [h.device.no for h in timeless],
        [h.event for h in timeless],
        [h.message_id for h in timeless],
    )
    known = {(row["device_no"], row["event"], row["message_id"]) for row in rows}
    fresh = []
    for happening in happenings:
        key = (happening.device.no, happening.event, happening.message_id)
        if DEVICE_TS in happening.data and happening.message_id is not None:
            if key in known:
                happening.outcome = Outcome.DUPLICATE
                continue
            known.add(key)
        fresh.append(happening)
    return fresh


async def _log(
    connection: asyncpg.Connection[Any], owner: Owner, checked: Checked, numbers: Mapping[int, int], written: Written
) -> None:
    readings: dict[int, list[Reading]] = {}
    for reading in checked.readings:
        if reading.outcome is Outcome.STORED:
            readings.setdefault(reading.device.partition, []).append(reading)
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
    for partition in sorted(readings.keys() | bodies.keys()):
        rows = readings.get(partition, ())
        sent = [row.vals if row.added is None else row.added for row in rows]
        if partition not in numbers:
            raise Fenced(f"partition {partition} is not ours; a community moved while we were running")
        number = numbers[partition] + 1
        try:
            await connection.execute(
                Q["append_log"],
                partition,
                owner.lane,
                number,
                owner.instance,
                [row.device.no for row in rows],
                [row.ts_ms for row in rows],
                [row.received_ms for row in rows],
                [len(vals) for vals in sent],
                [value for vals in sent for value in vals],
                bodies.get(partition, []),
            )
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == _LOG_KEY or _LOG_KEY in str(error):
                raise Fenced(
                    f"partition {partition} lane {owner.lane} number {number} was written by another worker; "
                    "it owns the partition now"
                ) from error
            raise
        written.numbers[partition] = number


def _body(item: Item) -> dict[str, Any]:
    common = {"device_no": item.device.no, "ts_ms": item.ts_ms, "received_ms": item.received_ms}
    match item:
        case Happening(message=Reply() as reply):
            return {"type": "reply", **common, "id": reply.command_id, "ok": reply.ok, "detail": reply.detail}
        case Happening():
            return {"type": "event", **common, "event": item.event, "data": item.data, "id": item.message_id}
        case Status():
            return {"type": "status", **common, "online": item.online, "session": item.session}
        case _:
            raise TypeError(f"{type(item).__name__} has no place in the event log")


async def _quarantine(connection: asyncpg.Connection[Any], owner: Owner, batch: Batch) -> None:
    rows: list[tuple[str, Reason, str, int, str | None, str | None, str | None]] = []
    for refusal in batch.checked.refusals:
        why = refusal.rejected
        rows.append(("message", why.reason, why.detail, refusal.source, refusal.community, why.device, why.message_id))
    for item in batch.checked.items():
        if item.refusal is not None:
            why, device = item.refusal, item.device
            rows.append(("message", why.reason, why.detail, item.source, device.community, device.id, item.message_id))
    for bad in (*batch.checked.bad_values, *batch.written.conflicts):
        if bad.item.outcome is Outcome.STORED:
            item, device = bad.item, bad.item.device
            rows.append(("value", bad.reason, bad.detail, item.source, device.community, device.id, item.message_id))
    if not rows:
        return
    sources = [batch.messages[row[3]] for row in rows]
    await connection.execute(
        Q["quarantine"],
        owner.worker,
        [message.received_ms for message in sources],
        [row[0] for row in rows],
        [row[1].value for row in rows],
        [_text(row[2]) for row in rows],
        [_text(message.topic) for message in sources],
        [row[4] for row in rows],
        [row[5] for row in rows],
        [row[6] for row in rows],
        [message.payload[:KEPT_PAYLOAD_BYTES] for message in sources],
        [len(message.payload) for message in sources],
    )


def _text(words: str) -> str:
    """A device may have put anything into the words; PostgreSQL keeps no NUL and no lone surrogate."""
    return words[:2000].replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def ledger(checked: Checked) -> dict[int, Counter[Outcome]]:
    """partition → how many messages ended how."""
    counts: dict[int, Counter[Outcome]] = {}
    for items in (checked.readings, checked.happenings, checked.statuses):
        for item in items:
            counts.setdefault(item.device.partition, Counter())[item.outcome] += 1
    for refusal in checked.refusals:
        counts.setdefault(refusal.partition, Counter())[Outcome.REJECTED] += 1
    return counts


async def _count(connection: asyncpg.Connection[Any], owner: Owner, batch: Batch) -> None:
    counts = ledger(batch.checked)
    await connection.execute(
        Q["count"],
        owner.worker,
        owner.lane,
        list(counts),
        [count[Outcome.STORED] for count in counts.values()],
        [count[Outcome.DUPLICATE] for count in counts.values()],
        [count[Outcome.REJECTED] for count in counts.values()],
        batch.marker,
    )


def _flat(rows: Iterable[Sequence[float | None]]) -> tuple[list[float], list[int], list[int]]:
    """All values in one array, NaN for a hole, with each row's width and where it starts (from 1).

    An array with NULLs in it can be sliced only by walking it; NaN cannot be sent, so it is free to mean a hole.
    """
    vals: list[float] = []
    widths: list[int] = []
    starts: list[int] = []
    for row in rows:
        starts.append(len(vals) + 1)
        widths.append(len(row))
        if None in row:
            vals += [math.nan if value is None else value for value in row]
        else:
            vals += row  # type: ignore[arg-type]
    return vals, widths, starts
