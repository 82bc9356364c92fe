"""A TCP proxy that can refuse, cut and freeze: a server that goes away, without touching the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.embedded.ports import Reservations

_PORTS = Reservations()
"""Kept while nothing listens: one that the kernel lends may have been lent again when it is mended."""


class Proxy:
    """`port` is where to connect. `cut` drops every connection and refuses new ones until `mend`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = _PORTS.choose()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            await _taken_in()
        for writer in list(self._writers):
            writer.transport.abort()

    def freeze(self) -> None:
        """Connections stay, nothing passes."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        both = {writer}
        self._writers |= both
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            both.add(far_writer)
            self._writers |= both
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, far_writer))
                group.create_task(self._pass(far_reader, writer))
        except OSError:
            pass
        finally:
            self._writers -= both
            # Whatever ended this: cut while the far side was being opened, or with the loop.
            for one in both:
                if not one.is_closing():
                    one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


async def _taken_in() -> None:
    """A connection that came as the door was shut is served a few turns of the loop later."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    between = Proxy(host, port)
    await between.mend()
    try:
        yield between
    finally:
        between.thaw()
        await between.cut()
        await asyncio.sleep(0)
