"""One reader of a live stream: a bounded queue of ready bytes, and nothing anybody else waits for."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import lru_cache

from services.adapters.wire import chunked
from services.api.identity.auth import Ticket
from services.api.live import frames
from services.api.web import meters
from services.domain.access import ReaderClass, reader_class

_SLOW = frames.resync("slow")
_FLOWS_BYTES = 16 * 1024
"""A connection that owes less than this flows; asyncio itself pauses writers at 64 KiB."""

_chunk = lru_cache(maxsize=16)(chunked)
"""Readers of one class get the same bytes one after the other: framed once for them all."""


class Client:
    """Frames go in by `put`, never waiting; they come out joined by `take`. What does not fit is dropped as a whole.

    With a `wire`, a frame goes straight to the connection while that flows and nobody is in the middle of a `take`:
    a thousand readers are then no thousand tasks to wake.
    """

    def __init__(self, ticket: Ticket, community_id: str, limit_bytes: int) -> None:
        self.ticket = ticket
        self.community_id = community_id
        self.reader: ReaderClass = reader_class(ticket.principal)
        self.ended: str | None = None
        self._limit = limit_bytes
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._waiting = False
        self.wire: asyncio.WriteTransport | None = None

    def put(self, framed: bytes) -> None:
        """A full queue is emptied and replaced by a `resync`: an old picture helps nobody."""
        if self.ended is not None:
            return
        wire = self.wire
        idle = self._waiting and not self._queue
        if wire is not None and idle and not wire.is_closing() and wire.get_write_buffer_size() < _FLOWS_BYTES:
            wire.write(_chunk(framed))
            return
        if self._queue and self._size + len(framed) > self._limit:
            meters.DROPPED.inc(len(self._queue) + 1)
            self._queue.clear()
            framed = _SLOW
            self._size = 0
        self._queue.append(framed)
        self._size += len(framed)
        self._wake.set()

    def end(self, why: str) -> None:
        """What is still queued is dropped; the stream closes at once."""
        if self.ended is None:
            self.ended = why
            meters.CUT.labels(why).inc()
        self._wake.set()

    async def take(self) -> bytes | None:
        """Everything queued, waiting for the first; None when the stream has ended."""
        while not self._queue and self.ended is None:
            self._wake.clear()
            self._waiting = True
            try:
                await self._wake.wait()
            finally:
                self._waiting = False
        if self.ended is not None:
            return None
        joined = b"".join(self._queue)
        self._queue.clear()
        self._size = 0
        return joined
