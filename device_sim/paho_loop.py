"""Runs paho's client on an asyncio loop: paho says which socket wants what, the loop does the waiting; no threads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import paho.mqtt.client as mqtt


def _ours(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the caller runs on this loop's thread; connecting does not."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def bind(client: mqtt.Client, loop: asyncio.AbstractEventLoop) -> None:
    """Reads and writes of `client` happen on `loop` from now on. `connect` may run in another thread."""

    def soon(work: Callable[..., Any], *args: Any) -> None:
        if _ours(loop):
            work(*args)
        elif not loop.is_closed():  # paho lets go of its socket when it is collected, which may be later
            loop.call_soon_threadsafe(work, *args)

    def add_reader(sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            loop.add_reader(sock, client.loop_read)

    def add_writer(sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            loop.add_writer(sock, client.loop_write)

    def remove_writer(sock: socket.socket) -> None:
        if sock.fileno() >= 0:
            loop.remove_writer(sock)

    def on_open(_: mqtt.Client, __: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        soon(add_reader, sock)

    def on_close(_: mqtt.Client, __: Any, sock: Any) -> None:
        if _ours(loop) and sock.fileno() >= 0:
            loop.remove_reader(sock)
            loop.remove_writer(sock)

    client.on_socket_open = on_open
    client.on_socket_close = on_close
    client.on_socket_register_write = lambda _c, _u, sock: soon(add_writer, sock)
    client.on_socket_unregister_write = lambda _c, _u, sock: soon(remove_writer, sock)


def unbind(client: mqtt.Client, loop: asyncio.AbstractEventLoop) -> None:
    """Tears the socket off without a word to the broker."""
    sock: Any = client.socket()
    if sock is None:
        return
    if sock.fileno() >= 0:
        loop.remove_reader(sock)
        loop.remove_writer(sock)
    with contextlib.suppress(OSError):
        sock.close()


async def first(*waits: Awaitable[Any]) -> None:
    """Returns when the first is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
