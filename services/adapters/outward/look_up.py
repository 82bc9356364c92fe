"""A name to the addresses that may be connected to: all of them checked at once, and nothing else connected to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from services.adapters.outward.addresses import Allowed, checked

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a name, or OSError."""


class Refused(OSError):
    """An address that nobody may have us connect to."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


async def look_up(host: str, port: int, allowed: Allowed, resolve: Resolve, *, plain: bool) -> list[str]:
    """Raises Refused where one of them may not be connected to, OSError where there is none.

    `plain`: what is said there is not encrypted, so it has to be a network of our own.
    """
    found = await resolve(host, port)
    if not found:
        raise OSError("no address")
    good = checked(found, allowed, listed_only=plain)
    if isinstance(good, str):
        raise Refused(good)
    listed = all(not isinstance(checked([one], allowed, listed_only=True), str) for one in good)
    if port not in allowed.ports and not listed:
        raise Refused("port")
    return good
