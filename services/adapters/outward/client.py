"""HTTP to places that somebody else named: every address is checked, and connected to is the one that was checked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import httpcore

from services.adapters.outward.addresses import Allowed
from services.adapters.outward.look_up import Refused, Resolve, look_up, system_resolve
from services.adapters.outward.target import Target, read
from services.domain.vocabulary import Label

BODY_BYTES = 64 * 1024
"""Of an answer so much is read; whoever sends more is hung up on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """In seconds. `total`: from the first look-up to the end of the answer."""

    connect_s: float = 5.0
    total_s: float = 15.0
    body_bytes: int = BODY_BYTES
    connections: int = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` by lower-case name. The body is read up to its limit and thrown away."""

    status: int
    headers: Mapping[str, str]
    ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer. `why` is one of a few words, safe to show: nothing of what was connected to stands in it."""

    why: str
    ms: int


class _Guarded(httpcore.AsyncNetworkBackend):
    """Where the pool connects: name to addresses, all of them checked, then one of exactly these."""

    def __init__(self, allowed: Allowed, resolve: Resolve, secure: bool) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._secure = secure
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            good = await look_up(host, port, self._allowed, self._resolve, plain=not self._secure)
            error: Exception = httpcore.ConnectError("no address")
            for address in good:
                try:
                    return await self._inner.connect_tcp(address, port, None, local_address, socket_options)
                except httpcore.ConnectError as one:
                    error = one
            raise error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise Refused("unix socket")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class OutwardClient:
    """Follows no redirect, asks no proxy, sends no cookie. Connections are kept for half a minute; each was checked
    when it was made, and leads where it led then."""

    def __init__(
        self,
        allowed: Allowed,
        limits: Limits | None = None,
        *,
        resolve: Resolve = system_resolve,
        ca_file: Path | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._allowed = allowed
        self._resolve = resolve
        self._ca_file = ca_file
        self._pools: dict[bool, httpcore.AsyncConnectionPool] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer | Failed:
        """Never raises for what the other side does; cancelled, it leaves nothing open."""
        started = time.monotonic()
        target = read(url)
        if isinstance(target, Label):
            return Failed(f"address: {target.en}", 0)
        try:
            async with asyncio.timeout(self._limits.total_s):
                return await self._send(target, headers, body, started)
        except Exception as error:
            why = _why(error)
            if why is None:
                raise
            return Failed(why, _ms(started))

    async def _send(self, target: Target, headers: Mapping[str, str], body: bytes, started: float) -> Answer:
        timeout = {"connect": self._limits.connect_s, "pool": self._limits.total_s}
        async with self._pool(target.secure).stream(
            "POST", target.url, headers=list(headers.items()), content=body, extensions={"timeout": timeout}
        ) as answer:
            read_bytes = 0
            async for chunk in answer.aiter_stream():
                read_bytes += len(chunk)
                if read_bytes > self._limits.body_bytes:
                    break
            said = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
            return Answer(answer.status, said, _ms(started))

    def _pool(self, secure: bool) -> httpcore.AsyncConnectionPool:
        if secure not in self._pools:
            self._pools[secure] = httpcore.AsyncConnectionPool(
                ssl_context=self._trust() if secure else None,
                max_connections=self._limits.connections,
                max_keepalive_connections=self._limits.connections,
                keepalive_expiry=30.0,
                http2=False,
                retries=0,
                network_backend=_Guarded(self._allowed, self._resolve, secure),
            )
        return self._pools[secure]

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=certifi.where())
        if self._ca_file is not None:
            context.load_verify_locations(cafile=str(self._ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()
        self._pools.clear()


def _why(error: Exception) -> str | None:
    """None for what is a fault of ours."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Refused):
            return f"address refused: {cause}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "certificate"
        if isinstance(cause, ssl.SSLError):
            return "tls"
        if isinstance(cause, socket.gaierror):
            return "name not found"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, TimeoutError | httpcore.TimeoutException):
        return "timeout"
    if isinstance(error, httpcore.ConnectError | ConnectionError):
        return "not reached"
    if isinstance(error, httpcore.ProtocolError):
        return "no HTTP"
    if isinstance(error, httpcore.NetworkError | OSError | httpcore.UnsupportedProtocol):
        return "connection lost"
    return None


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
