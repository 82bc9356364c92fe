"""Stands before PostgreSQL, reads what the alert engine says to it, and strikes at a statement of one's choice."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

TURN = re.compile(r"FROM worker_lease .* FOR SHARE", re.S)
"""The first statement of a partition's transaction …"""
STEP = re.compile(r"SELECT version FROM work_order .* FOR UPDATE", re.S)
"""… and of a step up the ladder."""


@dataclass
class _Client:
    """One connection, as far as it has been read. `inside`: within a transaction that decides something."""

    texts: dict[bytes, str] = field(default_factory=dict)
    inside: bool = False
    stopping: bool = False


class Statements:
    """A proxy. `stop_at` names a statement by its beginning; reached, `kill` is called and nothing more passes.

    `after`: the statement is let through and PostgreSQL has answered, but the answer never arrives. With `goes_on`
    nothing is held back: whoever was struck is somebody else.
    """

    def __init__(self, url: str, kill: Callable[[], None], goes_on: bool = False) -> None:
        self._goes_on = goes_on
        self._parts = urlsplit(url)
        self._kill = kill
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wanted: tuple[str, bool] | None = None
        self.reached = asyncio.Event()
        self.seen: Counter[str] = Counter()
        """Statements of transactions that decide, by their beginnings."""

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        login, at, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(self._parts._replace(netloc=f"{login}{at}127.0.0.1:{port}"))

    def stop_at(self, statement: str, after: bool) -> None:
        self.reached.clear()
        self._wanted = statement, after

    def disarm(self) -> None:
        self._wanted = None

    def drop(self) -> None:
        """Cuts everybody off, as a server that is killed does."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        client = _Client()
        try:
            up_reader, up_writer = await asyncio.open_connection(self._parts.hostname, self._parts.port or 5432)
        except (OSError, asyncio.CancelledError):
            # Refused, or cut while the far side was being opened.
            self._tasks.discard(task)
            writer.transport.abort()
            return
        both = [
            asyncio.create_task(self._up(client, reader, up_writer)),
            asyncio.create_task(self._down(client, up_reader, writer)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for end in (writer, up_writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()
            self._tasks.discard(task)

    async def _up(self, client: _Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        started = False
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = b"" if not started else await reader.readexactly(1)
                size = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(size, "big") - 4)
                # The first message has no type; a wish for encryption before it is answered with no.
                started = started or body[:4] == b"\x00\x03\x00\x00"
                statement = self._statement(client, head, body)
                if statement is not None and self._is_wanted(statement):
                    assert self._wanted is not None
                    after = self._wanted[1]
                    self._wanted = None
                    if self._goes_on:
                        self._stop()
                    elif not after:
                        self._stop()
                        return
                    client.stopping = after and not self._goes_on
                writer.write(head + size + body)
                await writer.drain()

    def _is_wanted(self, statement: str) -> bool:
        return self._wanted is not None and statement == self._wanted[0]

    def _stop(self) -> None:
        self._kill()
        self.reached.set()

    def _statement(self, client: _Client, head: bytes, body: bytes) -> str | None:
        """The statement that this message has executed, if it is one of a transaction that decides."""
        if head == b"P":
            name, query, _ = body.split(b"\0", 2)
            client.texts[name] = query.decode()
            return None
        if head == b"B":
            text = client.texts.get(body.split(b"\0", 2)[1], "")
        elif head == b"Q":
            text = body.rstrip(b"\0").decode()
        else:
            return None
        if TURN.search(text) or STEP.search(text):
            client.inside = True
        if not client.inside:
            return None
        if text.startswith(("COMMIT", "ROLLBACK")):
            client.inside = False
        statement = beginning(text)
        self.seen[statement] += 1
        return statement

    async def _down(self, client: _Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if client.stopping:
                    self._stop()
                    return
                writer.write(data)
                await writer.drain()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Statements]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            self.drop()
            await asyncio.gather(*self._tasks, return_exceptions=True)


def beginning(text: str) -> str:
    """By which a person knows it."""
    return re.sub(r"\s+", " ", text).strip()[:60]
