"""The door of notices: whatever a channel is called, its message goes to an address that was checked, or nowhere.

apprise and its transports (requests, smtplib) connect by themselves, from a thread. In such a thread every connection
is made here instead: the name is looked up and all its addresses are checked, one of exactly these is connected to, and
the thread gets one end of a pair of sockets. What goes between is passed on until the message's time is over or the
other side has said too much; then both ends are shut. Redirects, proxies and .netrc are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from services.adapters.outward import Allowed, Refused, Resolve, look_up, system_resolve

ANSWER_BYTES = 256 * 1024
"""Of an answer with its handshake; a provider says a few kilobytes."""
WEB_PORTS = frozenset({443, 8443})
MAIL_PORTS = frozenset({25, 465, 587, 2525})
_MAIL = frozenset({"mailto", "mailtos"})
_PLAIN = frozenset({"json", "form", "xml", "smseagle"})
"""apprise's names for plain HTTP to a host of one's own choice."""
_CHUNK = 65_536
_here = threading.local()


@dataclass(frozen=True, slots=True)
class Door:
    """`networks`: of one's own, besides the open internet; there, plain HTTP and any port will do."""

    allowed: Allowed = field(default_factory=lambda: Allowed(ports=WEB_PORTS))
    resolve: Resolve = system_resolve

    def errand(self, address: str, total_s: float) -> Errand:
        """For one message to one address; call it on the loop that will pass the bytes on."""
        scheme = urlsplit(address).scheme.lower()
        ports = MAIL_PORTS if scheme in _MAIL else WEB_PORTS
        allowed = Allowed(self.allowed.networks, ports)
        loop = asyncio.get_running_loop()
        return Errand(allowed, self.resolve, scheme in _PLAIN, loop, loop.time() + total_s)


@dataclass(slots=True)
class Errand:
    """`refused`: why an address was not connected to, for people; None: none was refused."""

    allowed: Allowed
    resolve: Resolve
    plain: bool
    loop: asyncio.AbstractEventLoop
    until: float
    refused: str | None = None
    said_too_much: bool = False
    late: bool = False
    _relays: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """In this thread, whatever connects does so by this errand."""
        _install()
        _here.errand = self
        try:
            yield
        finally:
            _here.errand = None

    def connect(self, host: str, port: int, timeout: float | None) -> socket.socket:
        """From the thread. Raises OSError; never waits beyond the errand's time."""
        made = asyncio.run_coroutine_threadsafe(self._open(host, port, timeout), self.loop)
        ours = made.result()
        ours.settimeout(timeout)
        return ours

    async def _open(self, host: str, port: int, timeout: float | None) -> socket.socket:
        patience = self.until if timeout is None else min(self.until, self.loop.time() + timeout)
        async with asyncio.timeout_at(patience):
            try:
                good = await look_up(host, port, self.allowed, self.resolve, plain=self.plain)
            except Refused as why:
                self.refused = str(why)
                raise
            there = await self._first(good, port)
        inner, ours = socket.socketpair()
        here = await asyncio.open_connection(sock=inner)
        relay = asyncio.create_task(self._relay(here, there))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)
        return ours

    async def _first(self, addresses: list[str], port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        error = OSError("no address")
        for address in addresses:
            try:
                return await asyncio.open_connection(address, port)
            except OSError as one:
                error = one
        raise error

    async def _relay(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Until either side is done, the time is over, or too much was said; then neither hears of the other more."""
        ways = {
            asyncio.create_task(_pass(here[0], there[1])),
            asyncio.create_task(self._answer(there[0], here[1])),
        }
        try:
            done, _ = await asyncio.wait(
                ways, timeout=self.until - self.loop.time(), return_when=asyncio.FIRST_COMPLETED
            )
            self.late |= not done
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for _, writer in (here, there):
                writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.said_too_much |= await _pass(reader, writer, ANSWER_BYTES)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None = None) -> bool:
    """To the end of it; True: there was more than `most` bytes."""
    passed = 0
    while chunk := await reader.read(_CHUNK):
        passed += len(chunk)
        if most is not None and passed > most:
            return True
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        await writer.drain()
        if most is not None:
            # What was said last has to arrive before the end does.
            writer.close()
            await writer.wait_closed()
    return False


_installed = threading.Lock()
_done = False


def _install() -> None:
    """Once a process. Threads that are on no errand connect, and ask for proxies, as they always did."""
    global _done
    with _installed:
        if _done:
            return
        import requests.sessions
        import urllib3.util.connection

        for module in (socket, urllib3.util.connection):
            _instead(module)
        _nothing(requests.sessions, "get_environ_proxies", {})
        _nothing(requests.sessions, "get_netrc_auth", None)
        _done = True


def _instead(module: Any) -> None:
    usual = module.create_connection

    def create_connection(address: tuple[str, int], *args: Any, **more: Any) -> socket.socket:
        errand: Errand | None = getattr(_here, "errand", None)
        if errand is None:
            return usual(address, *args, **more)  # type: ignore[no-any-return]
        timeout = args[0] if args else more.get("timeout")
        return errand.connect(address[0], address[1], timeout if isinstance(timeout, int | float) else None)

    module.create_connection = create_connection


def _nothing(module: Any, name: str, instead: object) -> None:
    usual = getattr(module, name)

    def asked(*args: Any, **more: Any) -> Any:
        return usual(*args, **more) if getattr(_here, "errand", None) is None else instead

    setattr(module, name, asked)
