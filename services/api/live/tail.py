"""A stream of a subscription's city events: read page by page from where the reader is, as fast as it takes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.api.identity.auth import Ticket
from services.api.store.database import AWAY
from services.api.web.problems import ApiError

log = structlog.get_logger(__name__)

_SETTLE_S = 0.1
"""A storm of rows is read in pages, not one by one."""


class Tail:
    """One reader, poked by the hub when the outbox grows, ended by it when its access does."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.ended: str | None = None
        self.wake = asyncio.Event()

    def end(self, why: str) -> None:
        if self.ended is None:
            self.ended = why
        self.wake.set()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames ready to send, where the next read begins, and whether there is something already."""

    body: bytes
    cursor: int
    more: bool


class TailStream(Response):
    """Holds one page in memory, whatever the distance: the next is read when the last has been taken."""

    media_type = "text/event-stream"

    def __init__(
        self,
        tail: Tail,
        cursor: int,
        read: Callable[[int], Awaitable[Chunk]],
        beat: Callable[[int], bytes | None],
        beat_s: float,
        stalled_s: float,
        leave: Callable[[Tail], None],
    ) -> None:
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type="text/event-stream"
        )
        del self.headers["content-length"]
        self._tail = tail
        self._cursor = cursor
        self._read = read
        self._beat = beat
        self._beat_s = beat_s
        self._stalled_s = stalled_s
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching = asyncio.create_task(self._watch(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._run(send)
            if self._tail.ended != "gone":
                await self._send(send, b"", more=False)
        except TimeoutError:
            self._tail.end("stalled")
        except OSError:
            self._tail.end("gone")
        finally:
            self._leave(self._tail)
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _run(self, send: Send) -> None:
        """Ends where the database is away or the subscription is not active any more: the reader comes again from its
        last id, and is told then."""
        while self._tail.ended is None:
            self._tail.wake.clear()
            try:
                chunk = await self._read(self._cursor)
            except (*AWAY, ApiError) as error:
                log.info("city_stream_ends", why=f"{type(error).__name__}: {error}")
                return
            self._cursor = chunk.cursor
            if chunk.body:
                await self._send(send, chunk.body)
            if chunk.more:
                continue
            try:
                async with asyncio.timeout(self._beat_s):
                    await self._tail.wake.wait()
            except TimeoutError:
                if (beat := self._beat(self._cursor)) is not None:
                    await self._send(send, beat)
            else:
                await asyncio.sleep(_SETTLE_S)

    async def _send(self, send: Send, body: bytes, more: bool = True) -> None:
        async with asyncio.timeout(self._stalled_s):
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._tail.end("gone")
