"""uvicorn's HTTP protocol, which also lends a long answer the connection under it.

Every chunk that goes out by ASGI costs a dictionary, an await and a task's turn; a live stream hands the same bytes to
a thousand connections at once, and what it pays a reader is what the whole costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_EXTENSION = "linhub.wire"


class Wire(HttpToolsProtocol):
    """Names its transport among the scope's extensions. Whoever writes there writes chunks, as `chunked` makes them,
    between the first and the last body message of an answer without a length, and heeds `get_write_buffer_size`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()  # type: ignore[no-untyped-call, unused-ignore]
        self.scope["extensions"] = {**(self.scope.get("extensions") or {}), _EXTENSION: {"transport": self.transport}}


def transport_of(scope: Mapping[str, Any]) -> asyncio.WriteTransport | None:
    """None under any other server: then everything goes by ASGI."""
    lent = (scope.get("extensions") or {}).get(_EXTENSION)
    return lent["transport"] if lent else None


def chunked(body: bytes) -> bytes:
    """One chunk of RFC 9112, 7.1. `body` is not empty: an empty chunk would end the answer."""
    return b"%x\r\n%b\r\n" % (len(body), body)
