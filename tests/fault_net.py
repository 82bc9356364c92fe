"""A line to a server that can be slow, or lose everything that one side says without either side being told."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

Side = Literal["client", "server"]

_ATTACH_FILTER, _DETACH_FILTER = 26, 27
"""SO_ATTACH_FILTER and SO_DETACH_FILTER of asm-generic/socket.h."""
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
"""One instruction of classic BPF: return 0, that is, keep no byte of the packet."""


def _lose(end: socket.socket) -> None:
    """The kernel throws away what reaches this socket before TCP sees it: no data, no acknowledgement, no reset.

    The peer's kernel sends again and again as over a dead line, and what this end sends still arrives. Needs no
    privilege, unlike a packet filter in a network namespace.
    """
    end.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(_DROP_ALL)))


class Line:
    """`url` is the server's by way of this line. `delay_s`: how much later each piece arrives, each way."""

    def __init__(self, url: str, delay_s: float = 0.0) -> None:
        self._parts = urlsplit(url)
        self._target = (self._parts.hostname or "127.0.0.1", self._parts.port or 5432)
        self._server: asyncio.Server | None = None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._losing: Side | None = None
        self.delay_s = delay_s

    @property
    def url(self) -> str:
        assert self._server is not None
        login, at, _ = self._parts.netloc.rpartition("@")
        port = self._server.sockets[0].getsockname()[1]
        return urlunsplit(self._parts._replace(netloc=f"{login}{at}127.0.0.1:{port}"))

    def lose(self, says: Side, *, new_too: bool = True) -> int:
        """What this side says is lost, on the connections there are; how many. `new_too`: on later ones as well."""
        if new_too:
            self._losing = says
        for pair in self._pairs:
            self._deafen(pair, says)
        return len(self._pairs)

    def heal(self) -> None:
        """What was lost is sent again by the kernels of both sides, where they have not given up."""
        self._losing = None
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)

    @staticmethod
    def _deafen(pair: tuple[socket.socket, socket.socket], says: Side) -> None:
        with contextlib.suppress(OSError):
            _lose(pair[0 if says == "client" else 1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except (OSError, asyncio.CancelledError):
            # Refused, or cut while the far side was being opened.
            self._tasks.discard(task)
            writer.transport.abort()
            return
        pair = (writer.get_extra_info("socket"), far_writer.get_extra_info("socket"))
        for end in pair:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pairs.append(pair)
        if self._losing is not None:
            self._deafen(pair, self._losing)
        ways = [
            asyncio.create_task(self._pass(reader, far_writer)),
            asyncio.create_task(self._pass(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._pairs.remove(pair)
            for end in (writer, far_writer):
                end.transport.abort()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await pieces.get()
                await asyncio.sleep(due - loop.time())
                writer.write(data)
                await writer.drain()

        delivering = asyncio.create_task(deliver())
        try:
            while data := await reader.read(1 << 16):
                pieces.put_nowait((loop.time() + self.delay_s, data))
        finally:
            delivering.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await delivering

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Line]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
