"""Takes one person out of everything that is kept; what orders and alerts are counted by stays.

What they were goes in an order that a crash may cut anywhere: consents and bindings first, so that nothing new comes
and nothing is shown; then what was measured, a day at a time; then everything with words in it and the person's own row
in one transaction. Doing it again does what is left.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from services.adapters.log_rows import pack, unpack
from services.adapters.queries import Queries

Q = Queries(Path(__file__).with_name("erase.sql"))
Connection: TypeAlias = "asyncpg.Connection[Any]"

_LANES = (0, 1)
_CHUNK = timedelta(days=1)


class Gone(Exception):
    """There is no such person (any more), or no such request."""


class NotTheirs(Exception):
    """Who asked for it may not approve it as well."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything that is about one person, by what it is called. `words`: what names them wherever it stands."""

    person_id: str
    community_id: str
    partition: int
    building: str
    account_id: str | None
    devices: tuple[int, ...]
    device_ids: tuple[str, ...]
    places: tuple[str, ...]
    alerts: tuple[UUID, ...]
    orders: tuple[UUID, ...]
    reports: tuple[UUID, ...]
    recipients: tuple[str, ...]
    words: tuple[str, ...]
    names: tuple[str, ...]
    """The words without the places: those are of a home, in which others may live."""


async def scope_of(connection: Connection, person_id: str) -> Scope:
    """Raises Gone."""
    person = await connection.fetchrow(Q["person"], person_id)
    if person is None:
        raise Gone(person_id)
    devices = await connection.fetch(Q["devices"], person_id)
    contacts = await connection.fetch(Q["contacts"], person_id)
    account = await connection.fetchrow(Q["account"], person["account_id"])
    numbers = [row["device_no"] for row in devices]
    alerts = [row["id"] for row in await connection.fetch(Q["alerts"], numbers)]
    phones = [person["phone"]] if person["phone"] else []
    community_id = person["community_id"]
    reports = await connection.fetch(Q["reports"], community_id, person["account_id"], phones)
    orders = [
        row["id"] for row in await connection.fetch(Q["orders"], numbers, alerts, [row["order_id"] for row in reports])
    ]
    telling: set[str] = {*phones, *(row["address"] for row in contacts), *(row["shown"] for row in contacts)}
    names: set[str] = {person["name"], *(row["name"] for row in contacts)}
    if account is not None:
        names |= {account["username"], account["display_name"]}
    places = {row["place"] for row in devices}
    return Scope(
        person_id,
        community_id,
        person["partition"],
        person["building"] or "",
        person["account_id"],
        tuple(numbers),
        tuple(row["id"] for row in devices),
        tuple(sorted(places - {""})),
        tuple(alerts),
        tuple(orders),
        tuple(row["id"] for row in reports),
        (
            f"person:{person_id}",
            *(f"contact:{one}" for one in sorted({str(row["id"]) for row in contacts})),
            *((f"account:{account['id']}",) if account is not None else ()),
            *(f"report:{row['id']}" for row in reports),
        ),
        _words(names | telling | places),
        _words(names | telling),
    )


def _words(found: set[Any]) -> tuple[str, ...]:
    """A single letter is no name: taking it out would tear every text apart."""
    return tuple(sorted(one for one in found if one is not None and len(one) >= 2))


async def counted(connection: Connection, scope: Scope) -> dict[str, int]:
    """How much of what would go, or (alerts, orders) stay without the person."""
    row = await connection.fetchrow(
        Q["count"], scope.devices, scope.alerts, scope.orders, scope.reports, scope.person_id, scope.community_id,
        scope.recipients, scope.device_ids, scope.account_id,
    )  # fmt: skip
    return {"devices": len(scope.devices), **dict(row)}


async def ask(connection: Connection, scope: Scope, id: UUID, reason: str, by: str, role: str, now: datetime) -> Any:
    """The request, or the one that waits already. Audited without a word of what it is about."""
    counts = await counted(connection, scope)
    values = (scope.community_id, scope.person_id, reason, by, now, json.dumps(counts))
    if await connection.fetchval(Q["ask"], id, *values) is not None:
        subject, detail = f"person:{scope.person_id}", json.dumps({"id": str(id), "reason": reason})
        await connection.execute(Q["audit"], by, role, scope.community_id, "person.erase_ask", subject, detail)
    return await connection.fetchrow(Q["open_request"], scope.person_id)


async def approve(connection: Connection, request_id: UUID, by: str, now: datetime) -> Any:
    """The request, approved by a second person. Raises Gone and NotTheirs."""
    async with connection.transaction():
        row = await connection.fetchrow(Q["lock_request"], request_id)
        if row is None:
            raise Gone(str(request_id))
        if row["requested_by"] == by and row["approved_at"] is None:
            raise NotTheirs(str(request_id))
        await connection.execute(Q["approve"], request_id, by, now)
    return await connection.fetchrow(Q["request"], request_id)


async def erase(connection: Connection, request_id: UUID, by: str, role: str, now: datetime) -> Any:
    """Does what an approved request says; the request as it is then. Not inside a transaction. Raises Gone."""
    request = await connection.fetchrow(Q["request"], request_id)
    if request is None or request["approved_at"] is None:
        raise Gone(str(request_id))
    if request["done_at"] is not None:
        return request
    scope = await scope_of(connection, request["person_id"])
    counts = await counted(connection, scope)
    async with connection.transaction():
        await connection.execute(Q["consents_gone"], scope.person_id)
    for device in scope.devices:
        await _forget_readings(connection, device)
    await _forget_log(connection, scope)
    async with connection.transaction():
        await connection.execute(Q["erasing"], request_id)
        await _forget_rows(connection, scope, now)
        # Once more, inside: what a device sent meanwhile.
        for device in scope.devices:
            await _forget_readings(connection, device)
        await connection.execute(Q["telemetry_gone"], scope.devices)
        await connection.execute(Q["unbind"], scope.person_id)
        await connection.execute(Q["person_bare"], scope.person_id, now)
        whole = {name: max(counts[name], request["counts"].get(name, 0)) for name in counts}
        await connection.execute(Q["done"], request_id, now, json.dumps(whole))
        subject, detail = f"person:{scope.person_id}", json.dumps({"id": str(request_id), "counts": whole})
        await connection.execute(Q["audit"], by, role, scope.community_id, "person.erase", subject, detail)
        await _forget_outbox(connection, scope)
    return await connection.fetchrow(Q["request"], request_id)


async def _forget_readings(connection: Connection, device: int) -> None:
    """A day at a time: no statement holds many locks for long."""
    span = await connection.fetchrow(Q["reading_span"], device)
    if span["first"] is None:
        return
    at = span["first"]
    while at <= span["last"]:
        await connection.execute(Q["readings_gone"], device, at, at + _CHUNK)
        at += _CHUNK


async def _forget_log(connection: Connection, scope: Scope) -> None:
    """The log of the last days is shared by all: its rows stay, with holes where the person's values were."""
    devices = set(scope.devices)
    for lane in _LANES if devices else ():
        after = 0
        while rows := await connection.fetch(Q["log_rows"], scope.partition, lane, after):
            after = rows[-1]["seq"]
            for row in rows:
                body, body_changed = _body_without(row["body"], devices)
                packed, packed_changed = _packed_without(row["readings"], row["packed"], devices)
                if body_changed or packed_changed:
                    await connection.execute(Q["rewrite_log"], scope.partition, lane, row["seq"], body, packed)


def _body_without(body: Any, devices: set[int]) -> tuple[Any, bool]:
    """Events keep their time and name, and lose what they said."""
    as_text = isinstance(body, str)
    items = json.loads(body) if as_text else body
    changed = False
    for item in items:
        if item.get("device_no") in devices and item.get("data"):
            item["data"] = {}
            changed = True
    return (json.dumps(items) if as_text else items), changed


def _packed_without(count: int, packed: bytes, devices: set[int]) -> tuple[bytes, bool]:
    if not count:
        return packed, False
    held = unpack(count, packed)
    if devices.isdisjoint(held.device_nos):
        return packed, False
    rows: list[Sequence[float | None]] = []
    at = 0
    for device, width in zip(held.device_nos, held.widths, strict=True):
        rows.append([None] * width if device in devices else held.vals[at : at + width])
        at += width
    return pack(held.device_nos, held.ts_ms, held.received_ms, rows), True


async def _forget_rows(connection: Connection, scope: Scope, now: datetime) -> None:
    alerts, orders, reports, words = scope.alerts, scope.orders, scope.reports, scope.words
    subjects = [f"device:{number}" for number in scope.devices]
    named = [f"person:{scope.person_id}", *(f"device:{id}" for id in scope.device_ids)]
    # Orders first: the order of locks is order, notices, outbox.
    await connection.execute(Q["orders_bare"], orders, scope.building, scope.places, words)
    await connection.execute(Q["histories_bare"], orders, words)
    await connection.execute(Q["alerts_bare"], alerts, scope.building)
    await connection.execute(Q["occurrences_bare"], alerts)
    await connection.execute(Q["answers_bare"], alerts)
    await connection.execute(Q["runs_bare"], alerts, words)
    await connection.execute(Q["commands_bare"], scope.community_id, words)
    await connection.execute(Q["rules_gone"], subjects, named, scope.community_id, scope.device_ids)
    await connection.execute(Q["reports_bare"], reports, now)
    await connection.execute(Q["report_notes_gone"], reports)
    await connection.execute(
        Q["pictures_gone"], scope.community_id, reports, orders, alerts, scope.devices, now, scope.account_id
    )
    await connection.execute(Q["handovers_bare"], scope.community_id, scope.names)
    await connection.execute(Q["silences_bare"], scope.community_id, scope.names)
    await connection.execute(Q["devices_bare"], scope.devices, words)
    await connection.execute(Q["quarantine_gone"], scope.community_id, scope.device_ids)
    await connection.execute(Q["notices_gone"], scope.community_id, scope.recipients)
    await connection.execute(Q["notices_bare"], orders, alerts, words)
    await connection.execute(Q["imports_gone"], scope.community_id, scope.names)
    await connection.execute(Q["contacts_gone"], scope.person_id)
    await connection.execute(Q["emergencies_gone"], scope.person_id)
    if scope.account_id is not None:
        await connection.execute(Q["channels_gone"], scope.account_id)
        await connection.execute(Q["account_traces_gone"], scope.account_id)
        await connection.execute(Q["account_bare"], scope.account_id, now)


async def _forget_outbox(connection: Connection, scope: Scope) -> None:
    """What is kept for those who follow late; what was told has been told."""
    subjects = [str(id) for id in (*scope.alerts, *scope.orders, *scope.reports)]
    await connection.execute(Q["outbox_bare"], scope.community_id, subjects, scope.words, scope.names)
