"""The answer that stays open: an event stream written straight from its reader's queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.adapters.wire import transport_of
from services.api.live.client import Client


class EventStream(Response):
    """Sends the opening, then whatever comes, until the reader goes, stalls, or is ended."""

    media_type = "text/event-stream"

    def __init__(self, client: Client, opening: bytes, stalled_s: float, leave: Callable[[Client], None]) -> None:
        super().__init__(
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type="text/event-stream"
        )
        del self.headers["content-length"]
        self._client = client
        self._opening = opening
        self._stalled_s = stalled_s
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching = asyncio.create_task(self._watch(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send(send, self._opening)
            self._client.wire = transport_of(scope)
            while (chunk := await self._client.take()) is not None:
                await self._send(send, chunk)
            if self._client.ended != "gone":
                await self._send(send, b"", more=False)
        except TimeoutError:
            self._client.end("stalled")
        except OSError:
            self._client.end("gone")
        finally:
            self._client.wire = None
            self._leave(self._client)
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _send(self, send: Send, body: bytes, more: bool = True) -> None:
        async with asyncio.timeout(self._stalled_s):
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._client.end("gone")
