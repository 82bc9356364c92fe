"""Provisioning: devices put into the registry from a file, admitted to the broker, shut out again; each all or none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from services.adapters.broker_identity import new_secret, secret_hash
from services.adapters.queries import Queries
from services.domain.ids import CommunityId, DeviceId
from services.domain.profiles.mapper import Profiles

Q = Queries(Path(__file__).with_name("provision.sql"))

_CHUNK = 5_000
_COLUMNS = (
    *("line", "id", "community_id", "kind", "name", "place", "gateway_id", "building_id", "unit_id", "household_id"),
    *("grid_id", "floor", "x", "y", "interval_s", "tags", "codec", "address", "profile"),
)
_MOST_NOTED = 200
"""Device ids that one audit entry names; the count is always there."""


@dataclass(frozen=True, slots=True)
class NewDevice:
    """One device as a row says it; `line` is where it says so. Empty text became None where nothing is meant."""

    line: int
    id: DeviceId
    community_id: CommunityId
    kind: str
    name: str
    place: str
    gateway_id: str | None
    building_id: str | None
    unit_id: str | None
    household_id: str | None
    grid_id: str | None
    floor: int | None
    x: float
    y: float
    interval_s: int
    tags: list[str]
    codec: str
    address: str | None
    profile: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in a line. `fault` names the sentence; `value` and `other` fill it."""

    line: int
    fault: str
    value: str
    other: str = ""


class Faulty(Exception):
    """Nothing was written; `faults` is everything that is wrong, by line."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = list(faults)


@dataclass(frozen=True, slots=True)
class Secret:
    """What an installer types into a device."""

    id: str
    community: str
    name: str
    place: str
    secret: str


@dataclass(slots=True)
class Provisioned:
    total: int = 0
    added: int = 0
    changed: int = 0
    secrets: int = 0
    revoked: list[str] = field(default_factory=list)
    """Devices of the file that stay shut out, because somebody revoked them."""

    @property
    def unchanged(self) -> int:
        return self.total - self.added - self.changed


Keep = Callable[[list[Secret]], None]
"""Puts secrets where they survive; called before the commit, so that no device has a secret nobody knows."""


async def provision(
    connection: asyncpg.Connection[Any],
    devices: AsyncIterator[NewDevice],
    keep: Keep,
    *,
    actor: str,
    only_new: bool = False,
    faults: Callable[[], list[Fault]] = list,
    progress: Callable[[str, int, int], None] = lambda step, done, total: None,
    profiles: Profiles | None = None,
    strict: bool = False,
    audited: bool = True,
) -> Provisioned:
    """Makes the registry say what the rows say, in one transaction; rows already so are left alone.

    `faults` are what the reader of the rows found itself, asked for at their end. A device that speaks for itself and
    has no secret gets one; a secret that is there stays. `only_new`: a registered device is a fault. `profiles`: their
    formats are held against those that are spoken. `strict`: building, unit and household must lie in each other.
    `audited` False: whoever calls writes the audit, and knows more to say.
    Raises Faulty, with everything that is wrong, and then nothing was written.
    """
    done = Provisioned()
    async with connection.transaction():
        done.total = await _stage(connection, devices)
        progress("checking", 0, 0)
        found = [*faults(), *await _wrong(connection, profiles, only_new=only_new, strict=strict)]
        if found:
            raise Faulty(sorted(found, key=lambda fault: fault.line))
        progress("writing", 0, 0)
        await connection.execute(Q["free_addresses"])
        counted = await connection.fetchrow(Q["put_devices"])
        done.added, done.changed = counted["added"], counted["changed"]
        await connection.execute(Q["put_gateways"])
        await connection.execute(Q["put_addresses"])
        rows = await connection.fetch(Q["without_secret"])
        for start in range(0, len(rows), _CHUNK):
            progress("secrets", start, len(rows))
            part = rows[start : start + _CHUNK]
            await _admit(connection, Q["add_credentials"], part, keep)
            done.secrets += len(part)
        done.revoked = [row["id"] for row in await connection.fetch(Q["still_revoked"])]
        if audited and (done.added or done.changed or done.secrets):
            detail = {"added": done.added, "changed": done.changed, "secrets": done.secrets}
            subject = f"{done.total} devices"
            await _audit(connection, actor, None, "device.provisioned", subject, detail, "operator")
        progress("committing", 0, 0)
    return done


@dataclass(frozen=True, slots=True)
class Would:
    """What a row would do. `columns`: those it changes; none of a new device."""

    line: int
    id: str
    added: bool
    columns: list[str]


async def rehearse(
    connection: asyncpg.Connection[Any],
    devices: AsyncIterator[NewDevice],
    *,
    faults: Callable[[], list[Fault]] = list,
    profiles: Profiles | None = None,
) -> tuple[int, list[Would], list[Fault]]:
    """How many rows there are, what those that do anything would do, and all that is wrong. Writes nothing."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        total = await _stage(connection, devices)
        found = [*faults(), *await _wrong(connection, profiles, only_new=False, strict=True)]
        would = [] if found else [Would(**row) for row in await connection.fetch(Q["would"])]
    finally:
        await transaction.rollback()
    return total, would, sorted(found, key=lambda fault: fault.line)


async def _stage(connection: asyncpg.Connection[Any], devices: AsyncIterator[NewDevice]) -> int:
    total = 0
    await connection.execute(Q["open_stage"])
    async for chunk in _chunks(devices):
        await connection.copy_records_to_table("stage", records=map(_record, chunk), columns=_COLUMNS)
        total += len(chunk)
    await connection.execute(Q["index_stage"])
    await connection.execute(Q["analyze_stage"])
    return total


async def _wrong(
    connection: asyncpg.Connection[Any], profiles: Profiles | None, *, only_new: bool, strict: bool
) -> list[Fault]:
    """What contradicts the registry, the other rows or itself."""
    formats = {one.name: one.codec for one in (profiles or Profiles()).by_name.values() if one.codec is not None}
    rows = await connection.fetch(Q["faults"], only_new, list(formats), list(formats.values()))
    if strict:
        rows += await connection.fetch(Q["inconsistent"])
    return [Fault(**row) for row in rows]


async def revoke(
    connection: asyncpg.Connection[Any],
    ids: Sequence[str],
    *,
    actor: str,
    retire: bool = False,
    role: str = "operator",
) -> int:
    """Shuts devices out of the broker; `retire` also takes them out of service. How many were let in before.

    All or none: raises Faulty when one is not there, or speaks through its gateway alone and has nothing to revoke.
    """
    async with connection.transaction():
        rows = await _known(connection, ids, must_log_in=not retire)
        numbers = [row["device_no"] for row in rows]
        revoked = int((await connection.execute(Q["revoke"], numbers)).rpartition(" ")[2])
        if retire:
            await connection.execute(Q["retire"], numbers)
        await _audit_each(connection, actor, "device.retired" if retire else "device.revoked", rows, role)
    return revoked


async def rotate(
    connection: asyncpg.Connection[Any],
    ids: Sequence[str],
    keep: Keep,
    *,
    actor: str,
    readmit: bool = False,
    role: str = "operator",
) -> int:
    """New secrets; the old ones are void as soon as the broker has read its file. How many.

    Raises Faulty for a device that is not there, has no secret of its own, or was revoked (unless `readmit`).
    """
    async with connection.transaction():
        rows = await _known(connection, ids, must_log_in=True, may_be_revoked=readmit)
        for start in range(0, len(rows), _CHUNK):
            await _admit(connection, Q["rotate"], rows[start : start + _CHUNK], keep)
        await _audit_each(connection, actor, "device.rotated", rows, role)
    return len(rows)


async def listed(
    connection: asyncpg.Connection[Any],
    *,
    community: str | None = None,
    kind: str | None = None,
    gateway: str | None = None,
    only: str | None = None,
    revoked: bool | None = None,
    limit: int | None = None,
) -> AsyncIterator[dict[str, Any]]:
    """Devices by id, the retired too, a page at a time."""
    after, left = "", limit
    while left is None or left > 0:
        page = min(_CHUNK, left) if left is not None else _CHUNK
        rows = await connection.fetch(Q["devices"], after, community, kind, gateway, only, revoked, page)
        for row in rows:
            yield dict(row)
        if len(rows) < page:
            return
        after = rows[-1]["id"]
        left = None if left is None else left - len(rows)


async def _known(
    connection: asyncpg.Connection[Any], ids: Sequence[str], *, must_log_in: bool, may_be_revoked: bool = True
) -> list[asyncpg.Record]:
    """A row each, asked for twice or once. Raises Faulty; `line` is the place in the list, from 1."""
    rows = await connection.fetch(Q["credentials"], list(ids))
    faults = []
    for line, (wanted, row) in enumerate(zip(ids, rows, strict=True), 1):
        if row["id"] is None:
            faults.append(Fault(line, "unknown", wanted))
        elif must_log_in and not row["logs_in"]:
            faults.append(Fault(line, "no_secret", wanted, row["gateway_id"] or ""))
        elif not may_be_revoked and row["revoked_at"] is not None:
            faults.append(Fault(line, "revoked", wanted))
        elif not may_be_revoked and row["retired_at"] is not None:
            faults.append(Fault(line, "retired", wanted))
    if faults:
        raise Faulty(faults)
    return list({row["id"]: row for row in rows}.values())


async def _admit(
    connection: asyncpg.Connection[Any], statement: str, rows: Sequence[asyncpg.Record], keep: Keep
) -> None:
    secrets = [Secret(row["id"], row["community_id"], row["name"], row["place"], new_secret()) for row in rows]
    keep(secrets)
    hashes = [secret_hash(one.secret) for one in secrets]
    await connection.execute(statement, [row["device_no"] for row in rows], hashes)


async def _audit_each(
    connection: asyncpg.Connection[Any], actor: str, action: str, rows: Iterable[asyncpg.Record], role: str
) -> None:
    """One entry a community: what a thousand devices have in common is said once."""
    by_community: dict[str, list[str]] = {}
    for row in rows:
        by_community.setdefault(row["community_id"], []).append(row["id"])
    for community, ids in by_community.items():
        subject = ids[0] if len(ids) == 1 else f"{len(ids)} devices"
        await _audit(
            connection, actor, community, action, subject, {"count": len(ids), "devices": ids[:_MOST_NOTED]}, role
        )


async def _audit(
    connection: asyncpg.Connection[Any],
    actor: str,
    community: str | None,
    action: str,
    subject: str,
    detail: dict[str, Any],
    role: str,
) -> None:
    """`detail` as text: connections differ in what they take for jsonb."""
    told = json.dumps(detail, ensure_ascii=False)
    await connection.execute(Q["audit"], actor, role, community, action, subject, told)


async def _chunks(devices: AsyncIterator[NewDevice]) -> AsyncIterator[list[NewDevice]]:
    chunk: list[NewDevice] = []
    async for device in devices:
        chunk.append(device)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _record(device: NewDevice) -> tuple[Any, ...]:
    return tuple(getattr(device, column) for column in _COLUMNS)
