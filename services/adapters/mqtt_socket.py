"""A TCP connection to the broker whose loss is noticed even when the other machine says nothing."""

from __future__ import annotations

import asyncio
import socket


def user_timeout_ms(keepalive_s: int) -> int:
    """How long what we sent may stay unacknowledged by the broker's machine (TCP_USER_TIMEOUT, RFC 5482)."""
    return keepalive_s * 1500


async def connect_socket(host: str, port: int, keepalive_s: int) -> socket.socket:
    """Connected and non-blocking, to the host's first address that answers. Raises OSError."""
    loop = asyncio.get_running_loop()
    error: OSError = OSError("no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms(keepalive_s))
            await loop.sock_connect(connection, address)
        except OSError as failed:
            connection.close()
            error = failed
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise error
