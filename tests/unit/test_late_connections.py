"""What the tests' own servers leave behind when they close."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import warnings


async def test_connection_accepted_as_its_server_closes_is_closed() -> None:
    """Accepted in one turn of the loop, given to the server in the next: it closes between the two."""
    came: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: came.append(writer), "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as other:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        server.close()
        for _ in range(5):
            await asyncio.sleep(0)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            gc.collect()
        assert not came and not said
        other.settimeout(30)
        with contextlib.suppress(ConnectionError):  # hung up on either way
            assert other.recv(1) == b""
