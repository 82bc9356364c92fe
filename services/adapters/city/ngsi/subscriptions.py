"""Subscriptions of NGSI-LD as rows: who is due, what each may see as its account is now, how far each has come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from services.adapters.city.ngsi import reading
from services.adapters.city.ngsi.reading import Connection
from services.adapters.city.reading import LISTENERS
from services.adapters.city.signing import SigningKey
from services.adapters.queries import Queries
from services.domain.access import allowed, city_wide
from services.domain.city import DataClass
from services.domain.city.delivery import Attempt, Head
from services.domain.city.ngsi import NgsiType, Site
from services.domain.city.ngsi.changes import Marks, Seen
from services.domain.city.ngsi.mapping import ALERT, OFF_STREET_PARKING, URN
from services.domain.city.ngsi.subscribing import Subscription, read
from services.domain.vocabulary import Role

Q = Queries(Path(__file__).with_name("subscriptions.sql"))

ALERTS = "!alert"
"""Among the kinds of devices that can touch a subscription: alerts can."""
OLDEST = 1_000_000_000
"""Of transactions, half of what can be told apart: beyond it, everything is looked at."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A subscription in this process's hands while the lease holds."""

    subscription_id: UUID
    lease: UUID
    seen: str | None
    seq: int
    view: str
    fresh: bool
    looked_at: datetime | None
    failures: int
    refusals: int
    failing_since: datetime | None
    succeeded: int
    """Notifications that were taken."""

    def head(self, now: datetime) -> Head:
        """What waits is the present state, which grows no older: it is never given up for its age."""
        return Head(self.failures, self.refusals, now, self.failing_since)


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a subscription, as its account and its grants are now. `kinds`: what it asks for and may see."""

    name: str
    account_id: str
    asked: Subscription
    headers: Mapping[str, str]
    sites: tuple[Site, ...]
    classes: frozenset[DataClass]
    kinds: tuple[NgsiType, ...]

    @property
    def view(self) -> str:
        said = [[one.id for one in self.sites], sorted(self.classes), [one.name for one in self.kinds]]
        return hashlib.blake2b(json.dumps(said).encode(), digest_size=8).hexdigest()


def touched_by(asked: Subscription) -> list[str]:
    """Kinds of devices, and alerts, whose changes can change what is asked for."""
    devices = {one for kind in asked.kinds for one in kind.kinds}
    return sorted(devices | ({ALERTS} if ALERT in asked.kinds else set()))


# -- who is due ----------------------------------------------------------------------------------------------------


async def wanted(connection: Connection, now: datetime) -> list[str]:
    return [row["kind"] for row in await connection.fetch(Q["wanted"], now)]


async def mark(connection: Connection) -> tuple[str, int]:
    """To be taken before a look, and given to the next one."""
    row = await connection.fetchrow(Q["mark"])
    return row["seen"], row["seq"]


async def everybody(connection: Connection, now: datetime) -> frozenset[UUID]:
    return frozenset(row["id"] for row in await connection.fetch(Q["everybody"], now))


async def touched(
    connection: Connection, since: tuple[str, int], kinds: Sequence[str], now: datetime
) -> frozenset[UUID]:
    rows = await connection.fetch(Q["touched"], since[0], since[1], list(kinds), now)
    return frozenset(row["id"] for row in rows)


async def claim(
    connection: Connection, ids: Collection[UUID], now: datetime, lease_s: float, most: int, again: timedelta
) -> list[Claimed]:
    rows = await connection.fetch(
        Q["claim"], now, uuid4(), now + timedelta(seconds=lease_s), list(ids), most, LISTENERS, again
    )
    return [Claimed(**dict(row)) for row in rows]


# -- what it may see -----------------------------------------------------------------------------------------------


async def standing(connection: Connection, id: UUID, now: datetime) -> Standing | None:
    """None: it has ended, or its account is shut, may not listen, or came by a key that has ended."""
    row = await connection.fetchrow(Q["standing"], id, now)
    if row is None or row["disabled"] or row["role"] not in LISTENERS:
        return None
    if row["key_id"] is not None and row["scopes"] is None:
        return None
    role, given = Role(row["role"]), [one for one in (row["limits"], row["scopes"]) if one is not None]
    if any("city_events" not in one for one in given):
        return None
    asked = read(_object(row["document"]))
    classes = await reading.granted(connection, row["account_id"])
    sites = await reading.sites(connection, row["community_id"], row["street_id"], city_wide(role))
    kinds = tuple(
        kind
        for kind in asked.kinds
        if allowed(role, kind.needs) and all(kind.needs.value in one for one in given) and kind.shown(classes)
    )
    return Standing(row["name"], row["account_id"], asked, _object(row["headers"]), tuple(sites), classes, kinds)


async def signing_keys(connection: Connection, account_id: str, now: datetime) -> list[SigningKey]:
    rows = await connection.fetch(Q["signing_keys"], account_id, now)
    return [SigningKey(row["sort"], row["secret"], row["public"]) for row in rows]


# -- what has changed ----------------------------------------------------------------------------------------------


async def is_continued(connection: Connection, one: Claimed) -> bool:
    """Whether what was written since its last look can be told from what was not."""
    if one.seen is None:
        return False
    age: int = await connection.fetchval(Q["age"], one.seen)
    oldest: int = await connection.fetchval(Q["oldest"])
    return 0 <= age <= OLDEST and oldest <= one.seq + 1


async def changed(
    connection: Connection, one: Claimed, to: Standing, upto: int
) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """By community and type: the names of the entities behind which something was written since the last look."""
    found: dict[str, dict[str, set[str]]] = {}
    communities = [site.id for site in to.sites]
    kinds = sorted({kind for each in to.kinds for kind in each.kinds})
    if kinds:
        for row in await connection.fetch(Q["changed_devices"], communities, kinds, one.seen):
            names = found.setdefault(row["community_id"], {})
            for kind in to.kinds:
                if row["kind"] in kind.kinds:
                    name = row["community_id"] if kind is OFF_STREET_PARKING else row["id"]
                    names.setdefault(kind.name, set()).add(name)
    if ALERT in to.kinds:
        for row in await connection.fetch(Q["changed_alerts"], communities, one.seq, upto):
            found.setdefault(row["community_id"], {}).setdefault(ALERT.name, set()).add(row["subject"])
    return {site: _selected(to.asked, names) for site, names in found.items()}


def _selected(asked: Subscription, names: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    found = {
        kind: frozenset(name for name in some if asked.selects(kind, name, f"{URN}:{kind}:{name}"))
        for kind, some in names.items()
    }
    return {kind: some for kind, some in found.items() if some}


async def known(connection: Connection, id: UUID, entities: Sequence[str] | None) -> dict[str, Marks]:
    """By entity; `entities` None: of all."""
    rows = await connection.fetch(Q["known"], id, entities)
    return {row["entity_id"]: _object(row["marks"]) for row in rows}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else json.loads(value)


# -- what came of it -----------------------------------------------------------------------------------------------


async def write(connection: Connection, one: Claimed, seen: Sequence[Seen]) -> bool:
    """What was told or passed over, in the transaction of its outcome. False: somebody else has it by now."""
    if await connection.fetchrow(Q["hold"], one.subscription_id, one.lease) is None:
        return False
    there = [each for each in seen if each.marks is not None]
    gone = [each.id for each in seen if each.marks is None]
    if there:
        marks = [json.dumps(each.marks) for each in there]
        await connection.execute(Q["write_known"], one.subscription_id, [each.id for each in there], marks)
    if gone:
        await connection.execute(Q["drop_known"], one.subscription_id, gone)
    return True


async def told(
    connection: Connection, one: Claimed, seen: Sequence[Seen], attempt: Attempt, now: datetime, ms: int, lease_s: float
) -> bool:
    async with connection.transaction():
        if not await write(connection, one, seen):
            return False
        await connection.execute(Q["told"], one.subscription_id, now, now + timedelta(seconds=lease_s))
        await _log(connection, one, seen, attempt, now, ms)
    return True


async def failed(
    connection: Connection,
    one: Claimed,
    seen: Sequence[Seen],
    attempt: Attempt,
    now: datetime,
    ms: int,
    at: datetime,
    *,
    refused: bool = False,
    dropped: bool = False,
    closed: str | None = None,
    lease_s: float = 0.0,
) -> bool:
    """`dropped`: it is not tried again. `closed`: the subscription ends, and why."""
    async with connection.transaction():
        if not await write(connection, one, seen if dropped else ()):
            return False
        said = attempt.error or f"HTTP {attempt.status}"
        await connection.execute(
            Q["failed"], one.subscription_id, now, said, at, refused, dropped, now + timedelta(seconds=lease_s)
        )
        if closed is not None:
            await connection.execute(Q["close"], one.subscription_id, closed)
        await _log(connection, one, seen, attempt, now, ms)
    return True


async def _log(
    connection: Connection, one: Claimed, seen: Sequence[Seen], attempt: Attempt, now: datetime, ms: int
) -> None:
    count = sum(each.told is not None for each in seen)
    await connection.execute(
        Q["attempted"], one.subscription_id, now, attempt.taken, attempt.status, attempt.error, ms, count
    )


async def passed_over(connection: Connection, one: Claimed, seen: Sequence[Seen]) -> bool:
    async with connection.transaction():
        return await write(connection, one, seen)


async def looked(
    connection: Connection, one: Claimed, mark: tuple[str, int], view: str, whole_at: datetime | None, again: datetime
) -> None:
    """Everything was told. `whole_at`: where everything was looked at, when."""
    await connection.execute(Q["looked"], one.subscription_id, one.lease, *mark, view, whole_at, again)


async def release(connection: Connection, one: Claimed, again: datetime, error: str | None = None) -> None:
    await connection.execute(Q["release"], one.subscription_id, one.lease, again, error)
