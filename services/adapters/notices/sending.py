"""Works the queue off: claims what is due, chooses each person's channels, sends, and records what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

import asyncpg
import structlog

from services.adapters.notices.carrier import Carrier, Message, Outcome, gateway_address
from services.adapters.notices.following import take_further
from services.adapters.notices.reading import Q
from services.domain.notices import TEMPLATES, ChannelSort, ack_wait_s, bundles, quiet_until, render, retry_after_s
from services.domain.notices.channels import GATEWAY
from services.domain.notices.templates import digest
from services.domain.notices.timing import WINDOW_S
from services.domain.vocabulary import Severity

log = structlog.get_logger(__name__)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """`pace` stretches or shortens every wait of retries and acknowledgements; `public_url` is where links lead."""

    lease_s: float
    pace: float = 1.0
    public_url: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """One channel of a person as it can be used now. `why_not`: it cannot."""

    channel_id: UUID | None
    sort: ChannelSort
    address: str
    language: str
    min_severity: Severity
    quiet_from: Any
    quiet_to: Any
    verified: bool
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What was claimed, with what sending it needs."""

    lease: UUID
    rows: tuple[Row, ...]
    ways: Mapping[str, tuple[Way, ...]]
    zones: Mapping[str, str]
    in_use: Mapping[str, bool]
    lately: Mapping[str, tuple[int, datetime]]
    tokens: Mapping[UUID, str]


@dataclass(slots=True)
class Tried:
    """One round through a person's channels. `wait`: their quiet hours end then."""

    attempts: list[tuple[Way, datetime, Outcome]] = field(default_factory=list)
    wait: datetime | None = None

    @property
    def ok(self) -> bool:
        return any(outcome.ok for _, _, outcome in self.attempts)

    @property
    def error(self) -> str | None:
        return next((o.error for _, _, o in reversed(self.attempts) if not o.ok), None)


async def claim(connection: asyncpg.Connection[Any], rules: Rules, now: datetime, limit: int) -> Batch | None:
    """The gravest and oldest that are due, leased: whoever dies with them leaves them to the next. None: nothing."""
    lease = uuid4()
    rows = await connection.fetch(Q["claim"], now, limit, lease, rules.lease_s)
    if not rows:
        return None
    rows.sort(key=lambda row: (-Severity(row["severity"]).rank, row["created_at"], row["id"]))
    people = sorted({row["recipient"] for row in rows})
    communities = sorted({row["community_id"] for row in rows})
    given = [row["channel_id"] for row in rows if row["channel_id"]]
    gates = {
        (row["community_id"], row["sort"]): row["template"]
        for row in await connection.fetch(Q["gateways"], communities)
    }
    home = {row["recipient"]: row["community_id"] for row in rows}
    ways: dict[str, list[Way]] = defaultdict(list)
    for row in await connection.fetch(Q["ways"], people, given):
        ways[row["recipient"]].append(_way(row, gates, home[row["recipient"]]))
    places = await connection.fetch(Q["communities"], communities)
    lately = await connection.fetch(Q["sent_lately"], people, now - timedelta(seconds=WINDOW_S))
    return Batch(
        lease,
        tuple(rows),
        {person: tuple(found) for person, found in ways.items()},
        {row["id"]: row["timezone"] for row in places},
        {row["id"]: row["in_use"] for row in places},
        {row["recipient"]: (row["n"], row["first"]) for row in lately},
        await _links(connection, rows, rules),
    )


def _way(row: Row, gates: Mapping[tuple[str, str], str], community_id: str) -> Way:
    sort, address, why_not = ChannelSort(row["sort"]), row["address"], None
    if sort in GATEWAY:
        template = gates.get((community_id, sort.value))
        address, why_not = (gateway_address(template, address), None) if template else ("", "no gateway")
    severity = Severity(row["min_severity"])
    quiet = row["quiet_from"], row["quiet_to"]
    return Way(row["id"], sort, address, row["language"], severity, *quiet, row["verified"], why_not)


async def _links(connection: asyncpg.Connection[Any], rows: Sequence[Row], rules: Rules) -> dict[UUID, str]:
    """A new random token for each sending; the database keeps its hash. None where no address of ours is known."""
    if rules.public_url is None:
        return {}
    tokens = {
        row["id"]: secrets.token_urlsafe(16)
        for row in rows
        if TEMPLATES[row["template"]].ack and row["state"] == "sending"
    }
    if tokens:
        until = {row["id"]: row["expires_at"] + timedelta(days=1) for row in rows}
        await connection.execute(
            Q["insert_links"],
            [hashlib.sha256(token.encode()).digest() for token in tokens.values()],
            list(tokens),
            [until[id] for id in tokens],
        )
    return tokens


class Connections(Protocol):
    """A pool, or a part of one."""

    def acquire(self) -> AbstractAsyncContextManager[Any]: ...


class Delivery:
    """Sends one batch; `count` hears of each attempt as (sort, sent or failed), and of each end as ("", what)."""

    def __init__(
        self,
        pool: Connections,
        carrier: Carrier,
        rules: Rules,
        now: Callable[[], datetime],
        count: Callable[[str, str], None],
    ) -> None:
        self._pool = pool
        self._carrier = carrier
        self._rules = rules
        self._now = now
        self._count = count

    async def deliver(self, batch: Batch) -> None:
        """Everybody's share beside everybody else's: who is slow to reach holds up nobody."""
        shares: dict[str, list[Row]] = defaultdict(list)
        for row in batch.rows:
            shares[row["recipient"]].append(row)
        done = await asyncio.gather(*(self._share(batch, one) for one in shares.values()), return_exceptions=True)
        for error in done:
            if isinstance(error, Exception):
                log.error("notice_share_failed", why=repr(error), exc_info=error)
            elif isinstance(error, BaseException):
                raise error

    async def _share(self, batch: Batch, rows: list[Row]) -> None:
        """What is due to one person."""
        now = self._now()
        fresh: list[Row] = []
        for row in rows:
            if row["state"] != "sending":
                await self._take_further(row, now)
            elif row["expires_at"] <= now:
                await self._ended(batch, row, "expired", None)
            else:
                fresh.append(row)
        if not fresh:
            return
        count, first = batch.lately.get(fresh[0]["recipient"], (0, now))
        plain = [row for row in fresh if row["channel_id"] is None]
        due = bundles([Severity(row["severity"]) for row in plain], count)
        for place in due.wait:
            again = max(now, first + timedelta(seconds=WINDOW_S))
            await self._record(batch, plain[place], "queued", again, Tried())
        alone = [row for row in fresh if row["channel_id"] is not None] + [plain[place] for place in due.singles]
        work = [self._single(batch, row) for row in alone]
        if due.together:
            work.append(self._digest(batch, [plain[place] for place in due.together]))
        await asyncio.gather(*work)

    async def _single(self, batch: Batch, row: Row) -> None:
        severity = Severity(row["severity"])
        template, zone = TEMPLATES[row["template"]], batch.zones[row["community_id"]]

        def message(language: str) -> Message:
            title, body = render(template, row["params"], severity, language, zone)
            return Message(title, body + self._link(batch, row["id"], language), severity)

        ways = _ways_of(batch, row)
        tried = await self._round(ways, severity, zone, message, asked=template.asked)
        await self._settle(batch, row, tried)

    async def _digest(self, batch: Batch, rows: list[Row]) -> None:
        """One message for many. The first carries it and its link; the others follow it."""
        lead, zone = rows[0], batch.zones[rows[0]["community_id"]]
        severity = max((Severity(row["severity"]) for row in rows), key=lambda one: one.rank)

        def message(language: str) -> Message:
            titles = [
                render(TEMPLATES[row["template"]], row["params"], Severity(row["severity"]), language, zone)[0]
                for row in rows
            ]
            title, body = digest(titles, language)
            return Message(title, body + self._link(batch, lead["id"], language), severity)

        tried = await self._round(_ways_of(batch, lead), severity, zone, message)
        await self._settle(batch, lead, tried)
        for row in rows[1:]:
            follows = lead["id"] if tried.ok else None
            await self._settle(batch, row, Tried(wait=tried.wait) if not tried.ok else tried, follows=follows)

    def _link(self, batch: Batch, notice_id: UUID, language: str) -> str:
        token = batch.tokens.get(notice_id)
        if token is None or self._rules.public_url is None:
            return ""
        word = "点此确认" if language == "zh" else "Say that you know"
        return f"\n{word}: {self._rules.public_url.rstrip('/')}/n/{token}"

    async def _round(
        self,
        ways: Sequence[Way],
        severity: Severity,
        zone: str,
        message: Callable[[str], Message],
        *,
        asked: bool = False,
    ) -> Tried:
        """Critical, or asked for: every channel at once, whatever the hour. Others: the first that takes it and is not
        quiet."""
        now, tried = self._now(), Tried()
        usable = [one for one in ways if one.why_not is None]
        if asked or severity is Severity.CRITICAL:
            tried.attempts = list(await asyncio.gather(*(self._carry(one, message) for one in usable)))
            return tried
        heard = [one for one in usable if one.min_severity.rank <= severity.rank]
        quiet = {id(one): quiet_until(now, one.quiet_from, one.quiet_to, zone) for one in heard}
        awake = [one for one in heard if quiet[id(one)] is None]
        started = time.monotonic()
        for one in awake:
            if time.monotonic() - started > self._rules.lease_s / 2:
                # What is left of the lease might not be enough; the next round begins with a new one.
                break
            tried.attempts.append(await self._carry(one, message))
            if tried.ok:
                return tried
        if heard and not awake:
            tried.wait = min(until for until in quiet.values() if until is not None)
        return tried

    async def _carry(self, way: Way, message: Callable[[str], Message]) -> tuple[Way, datetime, Outcome]:
        at = self._now()
        outcome = await self._carrier.carry(way.sort, way.address, message(way.language))
        self._count(way.sort.value, "sent" if outcome.ok else "failed")
        return way, at, outcome

    async def _settle(self, batch: Batch, row: Row, tried: Tried, *, follows: UUID | None = None) -> None:
        now, severity = self._now(), Severity(row["severity"])
        rounds = row["attempts"] + 1
        if tried.ok:
            wait = ack_wait_s(severity) if TEMPLATES[row["template"]].ack else None
            again = now + timedelta(seconds=wait * self._rules.pace) if wait is not None else None
            await self._record(batch, row, "sent", again, tried, via="channel", attempts=rounds, follows=follows)
        elif tried.wait is not None:
            await self._record(batch, row, "queued", tried.wait, tried)
        elif not tried.attempts and not self._has_channel(batch, row):
            await self._in_app(batch, row, now)
        else:
            after = retry_after_s(severity, rounds)
            if after is None:
                await self._ended(batch, row, "failed", tried)
            else:
                again = now + timedelta(seconds=after * self._rules.pace)
                await self._record(batch, row, "queued", again, tried, attempts=rounds)

    def _has_channel(self, batch: Batch, row: Row) -> bool:
        """One that would be used for this. A digest's followers have made no attempt of their own."""
        severity = Severity(row["severity"])
        return any(
            one.why_not is None and (severity is Severity.CRITICAL or one.min_severity.rank <= severity.rank)
            for one in _ways_of(batch, row)
        )

    async def _in_app(self, batch: Batch, row: Row, now: datetime) -> None:
        """No channel: it stands under /me/notices. A critical one counts as undelivered where others have channels."""
        further = row["severity"] == Severity.CRITICAL.value and batch.in_use.get(row["community_id"], False)
        outside = not row["recipient"].startswith("account:")
        self._count("app", "failed" if outside else "sent")
        if outside:
            # Somebody without an account and without a channel cannot be told at all.
            await self._ended(batch, row, "failed", None, "no channel")
        else:
            await self._record(batch, row, "sent", now if further else None, Tried(), via="app", attempts=1)

    async def _ended(self, batch: Batch, row: Row, state: str, tried: Tried | None, why: str | None = None) -> None:
        """For good. Looked at once more at once: whether anybody else knows, or it has to be taken further."""
        self._count("", state)
        # What was over before anybody could be told needs nobody else, unless it was critical.
        further = state == "failed" or row["severity"] == Severity.CRITICAL.value
        now = self._now()
        rounds = row["attempts"] + (1 if tried is not None else 0)
        again = now if further else None
        await self._record(batch, row, state, again, tried or Tried(), attempts=rounds, why=why)
        async with self._pool.acquire() as connection:
            await connection.execute(Q["next_in_turn"], row["seq"], row["template"], now)

    async def _record(
        self,
        batch: Batch,
        row: Row,
        state: str,
        again: datetime | None,
        tried: Tried,
        *,
        via: str | None = None,
        attempts: int | None = None,
        follows: UUID | None = None,
        why: str | None = None,
    ) -> None:
        sent_at = self._now() if state == "sent" else None
        rounds = row["attempts"] if attempts is None else attempts
        async with self._pool.acquire() as connection, connection.transaction():
            if tried.attempts and follows is None:
                await connection.execute(Q["insert_attempts"], *_attempt_columns(row["id"], tried.attempts))
            values = (state, via, rounds, again, why or tried.error, sent_at, follows)
            await connection.fetchval(Q["record"], row["id"], batch.lease, *values)
        for way, at, outcome in tried.attempts if follows is None else ():
            if way.channel_id is not None:
                async with self._pool.acquire() as connection:
                    await connection.execute(Q["channel_went"], way.channel_id, outcome.ok, at)

    async def _take_further(self, row: Row, now: datetime) -> None:
        async with self._pool.acquire() as connection:
            what = await take_further(connection, row, now)
        self._count("", what)


def _ways_of(batch: Batch, row: Row) -> list[Way]:
    """The one it is meant for; else every one that was shown to be theirs."""
    ways = batch.ways.get(row["recipient"], ())
    if row["channel_id"] is not None:
        return [one for one in ways if one.channel_id == row["channel_id"]]
    return [one for one in ways if one.verified]


def _attempt_columns(notice_id: UUID, attempts: Iterable[tuple[Way, datetime, Outcome]]) -> list[list[Any]]:
    rows = [
        (notice_id, way.channel_id, way.sort.value, at, outcome.ok, outcome.error, outcome.ms)
        for way, at, outcome in attempts
    ]
    return [[row[place] for row in rows] for place in range(7)]
