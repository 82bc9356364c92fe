"""Stands before the API: passes everything on but the live stream, which it speaks itself, as fast as it is told to.

Frames are written by the API's own `frames`, of the shapes that its snapshot has.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from services.api.live import frames

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"


class Stream:
    """Everybody who watches now. `cursor` grows with each event that has one."""

    def __init__(self, api_port: int) -> None:
        self._api_port = api_port
        self._watching: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.build = ""
        self.cursor = 0
        self.now = datetime.now().astimezone()
        self.opened = 0
        self.port = 0

    def send(self, kind: str, data: object, *, counted: bool = False) -> None:
        self.cursor += counted
        framed = frames.frame(kind, data, self.cursor if counted else None)
        for writer in self._watching:
            writer.write(framed)

    async def drain(self) -> None:
        for writer in list(self._watching):
            with contextlib.suppress(ConnectionError):
                await writer.drain()

    def cut(self) -> None:
        """As a server that ends: every stream is closed."""
        for writer in self._watching:
            writer.close()
        self._watching.clear()

    async def end(self) -> None:
        self.cut()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/stream?" in head.partition(b"\r\n")[0]:
                self.opened += 1
                self.cursor = max(self.cursor, int(re.findall(rb"cursor=(\d+)", head)[0]))
                writer.write(_HEAD + frames.hello(self.cursor, self.build, self.now))
                self._watching.add(writer)
                await reader.read()
                return
            await self._pass_on(head, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._watching.discard(writer)
            writer.close()

    async def _pass_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_api, to_api = await asyncio.open_connection("127.0.0.1", self._api_port)
        try:
            to_api.write(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)[:-2] + b"Connection: close\r\n\r\n")
            length = re.findall(rb"(?i)\r\ncontent-length: (\d+)", head)
            if length:
                to_api.write(await reader.readexactly(int(length[0])))
            while part := await from_api.read(1 << 16):
                writer.write(part)
            await writer.drain()
        finally:
            to_api.close()


@asynccontextmanager
async def streaming(api_port: int) -> AsyncIterator[Stream]:
    stream = Stream(api_port)
    server = await asyncio.start_server(stream.serve, "127.0.0.1", 0)
    stream.port = server.sockets[0].getsockname()[1]
    try:
        yield stream
    finally:
        server.close()
        await stream.end()
