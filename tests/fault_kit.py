"""Ways to hurt a running ingest: kill its process, cut its database off in the worst moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from tests.ingest_kit import Wire, now_ms, until

ROOT = Path(__file__).resolve().parents[1]


def tell(words: str) -> None:
    """A figure of a fault test; `pytest -s`, or a failure, shows it."""
    sys.stdout.write(words + "\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class IngestProcess:
    """`python -m services.ingest.main`, to be killed and started again under the same name."""

    def __init__(self, database_url: str, mqtt_url: str, worker: str, **more: str) -> None:
        self._environment = {
            **os.environ,
            "LINHUB_DATABASE_URL": database_url,
            "LINHUB_MQTT_URL": mqtt_url,
            "LINHUB_WORKER": worker,
            "LINHUB_LOG_LEVEL": "ERROR",
            **{f"LINHUB_{name.upper()}": value for name, value in more.items()},
        }
        self._process: asyncio.subprocess.Process | None = None
        self._port = 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        self._port = free_port()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.ingest.main",
            cwd=ROOT,
            env={**self._environment, "LINHUB_HEALTH_PORT": str(self._port)},
        )

    async def ready(self) -> None:
        def ask() -> bool:
            try:
                with urlopen(f"http://127.0.0.1:{self._port}/health/ready", timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        await until(lambda: asyncio.to_thread(ask), 40)

    async def kill(self) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        return await asyncio.wait_for(self._process.wait(), 20)

    async def exit_code(self) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), 20)


class Stubborn:
    """Devices that keep each message and send it again until its application ack."""

    def __init__(self, wire: Wire, community: str, devices: list[str], sos: str) -> None:
        self._wire = wire
        self._community = community
        self._devices = devices
        self._sos = sos
        self._start = now_ms() - 3_600_000
        self.sent: dict[str, tuple[str, int]] = {}
        """message id → (device, ts)."""
        self._waiting: dict[str, tuple[str, dict[str, object]]] = {}

    def say(self, count: int) -> None:
        """So many new messages, one in twenty of them an event."""
        for _ in range(count):
            n = len(self.sent)
            ts = self._start + n
            if n % 20:
                device = self._devices[n % len(self._devices)]
                values = {"temperature": n % 60, "humidity": n % 100, "noise": n % 90}
                topic, body = f"sc/{self._community}/{device}/up/telemetry", {"ts": ts, "values": values}
            else:
                device = self._sos
                topic, body = f"sc/{self._community}/{device}/up/event", {"ts": ts, "event": "pressed"}
            message = {"id": f"m{n}", **body}
            self.sent[f"m{n}"] = device, ts
            self._waiting[f"m{n}"] = topic, message
            self._wire.send(topic, message)

    def forget_acknowledged(self) -> int:
        """How many are still waiting."""
        for device in (*self._devices, self._sos):
            for id in self._wire.acked(self._community, device):
                self._waiting.pop(id, None)
        return len(self._waiting)

    async def until_acknowledged(self, deadline_s: float = 90.0) -> int:
        """Sends again what is not acknowledged, until all is; how many were sent again."""
        again = 0
        for _ in range(int(deadline_s)):
            for _ in range(50):
                if not self.forget_acknowledged():
                    return again
                await asyncio.sleep(0.02)
            for topic, message in list(self._waiting.values()):
                self._wire.send(topic, message)
                again += 1
        raise AssertionError(f"{len(self._waiting)} messages were never acknowledged")


class Proxy:
    """Stands before a server. `drop` cuts everybody off.

    Before PostgreSQL, with `cut` > 0, it forwards a COMMIT and cuts the client off before the reply.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._parts = parts
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut = 0
        self.done = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        login, at, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(self._parts._replace(netloc=f"{login}{at}127.0.0.1:{port}"))

    def drop(self) -> int:
        """How many connections were cut."""
        for task in self._tasks:
            task.cancel()
        return len(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        cutting = False

        async def upwards() -> None:
            nonlocal cutting
            while data := await reader.read(1 << 16):
                if self.cut and b"COMMIT;" in data:
                    self.cut -= 1
                    cutting = True
                up_writer.write(data)
                await up_writer.drain()

        async def downwards() -> None:
            while data := await up_reader.read(1 << 16):
                if cutting:
                    self.done += 1
                    return
                writer.write(data)
                await writer.drain()

        both = [asyncio.create_task(upwards()), asyncio.create_task(downwards())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for end in (writer, up_writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()
            self._tasks.discard(task)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
