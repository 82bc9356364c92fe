"""The live hub: follows the outbox, polls watched communities, beats, and cuts whoever may no longer watch."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import structlog

from services.api.access.credentials import Credentials
from services.api.identity.auth import Ticket
from services.api.live import batch, frames
from services.api.live.channel import Channel
from services.api.live.client import Client
from services.api.live.pictures.board import KpiBoard
from services.api.live.tail import Tail
from services.api.store import system
from services.api.store.database import AWAY, Database, DatabaseAwayError
from services.api.store.tenancy import SERVICE
from services.api.web import meters

log = structlog.get_logger(__name__)

MAX_REPLAY = 1000
_BATCH = 500
_POLL_S = 1.0
"""The outbox is read this often even when no notification comes."""
_FRESH_S = 5.0
_READY_S = 15.0
"""A busy moment stops the heart sooner than it takes the service out of rotation."""
_KPIS_EVERY_S = 30.0
_LATELY_S = 30.0
"""A stream that opens so long after a change of its access is looked at once more."""
_RETRY_S = 0.2


@dataclass(frozen=True, slots=True)
class HubSettings:
    heartbeat_s: float
    session_check_s: float
    device_poll_s: float
    queue_bytes: int


class Hub:
    """One a process. `run` keeps it alive; `join` and `leave` bracket each stream."""

    def __init__(
        self,
        database: Database,
        credentials: Credentials,
        settings: HubSettings,
        build: Callable[[], str],
        board: KpiBoard,
    ) -> None:
        self._database = database
        self._credentials = credentials
        self._settings = settings
        self._build = build
        self._board = board
        self._channels: dict[str, Channel] = {}
        self._tails: set[Tail] = set()
        self._cursor: int | None = None
        self._read_at: float | None = None
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._changed: set[str] = set()
        self._access = asyncio.Event()
        self._lately: dict[str, float] = {}
        self._closed = False
        self.started = asyncio.Event()
        """Set once the outbox has been read to its end."""

    @property
    def waiting(self) -> str | None:
        return None if self._age_s < _READY_S else "waiting to read the outbox"

    @property
    def current(self) -> bool:
        """Whether the outbox was read to its end just now: only then does the heart beat."""
        return self._age_s < _FRESH_S

    @property
    def _age_s(self) -> float:
        return time.monotonic() - self._read_at if self._read_at is not None else float("inf")

    async def run(self) -> None:
        """Until cancelled; a database that goes away is waited for."""
        loops = (
            self._forever("outbox", self._follow, 0.5),
            self._forever("poll", self._poll, self._settings.device_poll_s),
            self._forever("beat", self._beat, self._settings.heartbeat_s),
            self._forever("sessions", self._check_sessions, self._settings.session_check_s),
            self._forever("access", self._cut, 0.0),
        )
        await asyncio.gather(*loops)

    async def _forever(self, name: str, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        said = ""
        while True:
            try:
                await step()
                said = ""
            except AWAY as error:
                why = str(error) or type(error).__name__
                if why != said:
                    log.warning("live_waiting_for_database", loop=name, why=why)
                    said = why
            except Exception:
                log.exception("live_loop_failed", loop=name)
            await asyncio.sleep(every_s)

    def close(self) -> None:
        """Ends every stream at once and takes no more."""
        self._closed = True
        for one in self._watching():
            one.end("shutdown")

    def _clients(self) -> list[Client]:
        return [client for channel in self._channels.values() for client in channel.clients]

    def _watching(self) -> list[Client | Tail]:
        return [*self._clients(), *self._tails]

    def follow(self, ticket: Ticket, most: int) -> Tail | None:
        """A reader of city events, poked when the outbox grows; None where its account has `most` already."""
        if self._closed or self._cursor is None:
            raise DatabaseAwayError("the outbox was not read yet")
        if sum(one.ticket.principal.id == ticket.principal.id for one in self._tails) >= most:
            return None
        tail = Tail(ticket)
        self._tails.add(tail)
        self._look_again(ticket)
        meters.STREAMS.inc()
        return tail

    def unfollow(self, tail: Tail) -> None:
        if tail in self._tails:
            self._tails.discard(tail)
            meters.STREAMS.dec()

    def _look_again(self, ticket: Ticket) -> None:
        """Verified before a change of its access, perhaps, and not yet here when it was heard of."""
        if self._lately.keys() & _names(ticket):
            self._changed |= _names(ticket)
            self._access.set()

    # -- readers ------------------------------------------------------------------------------------------------

    async def join(self, ticket: Ticket, community_id: str, cursor: int | None) -> tuple[Client, bytes]:
        """The reader, from now on in the fan-out, and the bytes it starts with: hello, and what it has missed.

        Raises DatabaseAwayError (and other AWAY) while there is nothing true to say.
        """
        if self._closed or self._cursor is None:
            raise DatabaseAwayError("the outbox was not read yet")
        client = Client(ticket, community_id, self._settings.queue_bytes)
        async with self._turn:  # between two batches: what is at or before `head` is replayed, the rest will come
            head = self._cursor
            channel = self._channels.setdefault(community_id, Channel(community_id))
            channel.clients.add(client)
            self._look_again(ticket)
        meters.STREAMS.inc()
        try:
            async with self._database.read(as_=SERVICE) as connection:
                await channel.baseline(connection)
                return client, await self._opening(connection, channel, client, cursor, head)
        except BaseException:
            self.leave(client)
            raise

    async def _opening(self, connection: Any, channel: Channel, client: Client, cursor: int | None, head: int) -> bytes:
        now = datetime.now(UTC)
        if cursor is None:
            return frames.hello(head, self._build(), now)
        why = await self._too_far(connection, cursor, head)
        missed: list[system.OutboxRow] = []
        if why is None:
            missed = await system.outbox_between(connection, client.community_id, cursor, head, MAX_REPLAY + 1)
            why = "too many events missed" if len(missed) > MAX_REPLAY else None
        if why is not None:
            return frames.hello(head, self._build(), now) + frames.resync(why)
        replay = batch.Batch(client.community_id, missed, await batch.load(connection, missed))
        at = await system.outbox_at(connection, cursor)
        return b"".join(
            (
                frames.hello(cursor, self._build(), now),
                replay.written_for(client.reader),
                channel.since(at, client.reader),
                channel.kpis or b"",
            )
        )

    async def _too_far(self, connection: Any, cursor: int, head: int) -> str | None:
        if cursor > head and cursor > await system.outbox_head(connection):
            return "cursor is ahead of this database"
        oldest = await system.outbox_oldest(connection)
        return "cursor is too old" if oldest is not None and cursor + 1 < oldest else None

    def leave(self, client: Client) -> None:
        channel = self._channels.get(client.community_id)
        if channel is None or client not in channel.clients:
            return
        channel.clients.discard(client)
        meters.STREAMS.dec()
        if not channel.clients:
            del self._channels[client.community_id]

    # -- the outbox ---------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        connection = await asyncpg.connect(
            self._database.url, timeout=5, command_timeout=5, server_settings={"application_name": "linhub-api-live"}
        )
        try:
            await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
            await connection.add_listener("outbox", lambda *_: self._wake.set())
            await connection.add_listener("session", lambda *said: self._heard(str(said[-1])))
            connection.add_termination_listener(lambda _: self._wake.set())
            await self._start_at(connection)
            while True:
                self._wake.clear()
                while await self._read_batch(connection):
                    pass
                self._read_at = time.monotonic()
                self.started.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await self._wake.wait()
        finally:
            self._read_at = None
            connection.terminate()

    async def _start_at(self, connection: Any) -> None:
        head = await system.outbox_head(connection)
        if self._cursor is None:
            self._cursor = head
        elif head < self._cursor:  # another database, or one restored to an earlier time
            self._cursor = head
            for client in self._clients():
                client.put(frames.resync("the database went back in time"))

    async def _read_batch(self, connection: Any) -> bool:
        """Publishes the next rows; True when there may be more."""
        async with self._turn:
            rows = await system.outbox_after(connection, self._cursor or 0, _BATCH)
            if not rows:
                return False
            watched = [row for row in rows if row.community_id in self._channels]
            things = await batch.load(connection, watched) if watched else {}
            for community_id in {row.community_id for row in watched}:
                if channel := self._channels.get(community_id):
                    self._publish(channel, [row for row in watched if row.community_id == community_id], things)
            self._cursor = rows[-1].seq
            for tail in self._tails:
                tail.wake.set()
            return len(rows) == _BATCH

    def _publish(self, channel: Channel, rows: list[system.OutboxRow], things: dict[batch.Key, Any]) -> None:
        events = batch.Batch(channel.community_id, rows, things)
        if not events.count:
            return
        channel.kpis_due = rows[-1].seq
        for client in channel.clients:
            client.put(events.written_for(client.reader))
        meters.SENT.labels("outbox").inc(events.count * len(channel.clients))

    # -- what is polled -----------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        meters.LAG.set(self._age_s)
        for channel in list(self._channels.values()):
            async with self._database.read(as_=SERVICE) as connection:
                await channel.poll(connection)
            now = time.monotonic()
            if channel.kpis_due > channel.kpis_head or now - channel.kpis_at >= _KPIS_EVERY_S:
                kpis, head = await self._board.latest(channel.community_id, self._cursor or 0)
                if kpis.at == channel.kpis_of:
                    continue  # still being counted: what is due stays so
                channel.kpis_head, channel.kpis_at, channel.kpis_of = head, now, kpis.at
                channel.kpis = frames.frame("kpis", kpis)
                for client in channel.clients:
                    client.put(channel.kpis)

    async def _beat(self) -> None:
        """No beat while the outbox cannot be read: a picture that cannot change must not look alive."""
        if self.current:
            framed = frames.beat()
            for client in self._clients():
                client.put(framed)

    async def _check_sessions(self) -> None:
        clients = self._watching()
        now = datetime.now(UTC)
        for client in clients:
            if client.ticket.expires_at <= now:
                client.end("session")
        if clients:
            await self._end_invalid(clients)

    def _heard(self, name: str) -> None:
        """Somebody's access has changed (`user:…`, `session:…`, `key:…`, `display:…`), and is committed."""
        self._credentials.forget(name)
        now = time.monotonic()
        self._lately = {one: at for one, at in self._lately.items() if now - at < _LATELY_S} | {name: now}
        self._changed.add(name)
        self._access.set()

    async def _cut(self) -> None:
        """Looks again at whoever a change may be about; the loop above does so at everybody, should a word be lost."""
        await self._access.wait()
        self._access.clear()
        # Taken out before the answer is waited for: a word heard meanwhile may be of what that answer cannot know.
        names, self._changed = self._changed, set()
        touched = [client for client in self._watching() if _names(client.ticket) & names]
        try:
            if touched:
                await self._end_invalid(touched)
        except Exception:
            self._changed |= names
            self._access.set()
            await asyncio.sleep(_RETRY_S)
            raise

    async def _end_invalid(self, clients: list[Client | Tail]) -> None:
        valid = await self._credentials.still_valid(client.ticket for client in clients)
        for client in clients:
            if client.ticket.token_id not in valid:
                client.end("session")


def _names(ticket: Ticket) -> set[str]:
    """What changes of its access are called."""
    id = ticket.token_id
    return {f"user:{ticket.principal.id}", id if ":" in id else f"session:{id}"}
