"""Ways to hurt running services (kill, freeze, cut off in the worst moment), and proof that nothing came of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from prometheus_client import CollectorRegistry

from deploy.embedded.part import Part
from deploy.embedded.ports import Reservations
from deploy.embedded.processes import die_with_parent
from deploy.embedded.service import health
from services.adapters.mqtt import Address
from services.cli.broker_watch import BrokerLimits, BrokerWatch
from services.domain.ids import DeviceId
from tests.conftest import Servers
from tests.factory import put_community, small_community
from tests.fault_rows import note
from tests.ingest_kit import Database, Wire, client_prefix, now_ms, until

KILLS = int(os.environ.get("LINHUB_FAULT_KILLS", "3"))
"""Kill points a test; campaigns use 20 and more."""
SEED = int(os.environ.get("LINHUB_FAULT_SEED", random.SystemRandom().randrange(1 << 32)))
"""Of the moments; repeats a run."""

FREEZE_S = float(os.environ.get("LINHUB_FAULT_FREEZE_S", "3"))
"""How long a server or a service stays frozen; campaigns take 90."""

ROOT = Path(__file__).resolve().parents[1]


def tell(words: str) -> None:
    """A figure of a fault test; `pytest -s`, or a failure, shows it."""
    sys.stdout.write(words + "\n")


_PORTS = Reservations()


def free_port() -> int:
    """Not one that the kernel might lend to an outgoing connection before it is used."""
    return _PORTS.choose()


class ServiceProcess:
    """`python -m services.{service}.main`, to be killed, frozen and started again. Keeps what it logs."""

    def __init__(self, service: str, database_url: str, **more: object) -> None:
        self._module = f"services.{service}.main"
        self._environment = {
            **os.environ,
            "LINHUB_DATABASE_URL": database_url,
            "LINHUB_LOG_LEVEL": "WARNING",
            # One device says here what a thousand would; that floods are refused is tested for itself.
            "LINHUB_FLOOD_RATE": "100000",
            "LINHUB_FLOOD_BURST": "1000000",
            "LINHUB_FLOOD_EVENT_RATE": "100000",
            "LINHUB_FLOOD_EVENT_BURST": "1000000",
            **{f"LINHUB_{name.upper()}": str(value) for name, value in more.items()},
        }
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._port = 0
        self.lines: list[str] = []

    def under(self, environment: Mapping[str, str]) -> Self:
        """With these variables as well, whatever their names."""
        self._environment |= environment
        return self

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def port(self) -> int:
        """Where it serves health and figures."""
        return self._port

    @property
    def alive(self) -> bool:
        return self._running.returncode is None

    async def start(self) -> None:
        self._port = free_port()
        port = str(self._port)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            cwd=ROOT,
            env={**self._environment, "LINHUB_HEALTH_PORT": port, "LINHUB_HTTP_PORT": port},
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent(),
        )
        assert self._process.stderr is not None
        self._reading = asyncio.create_task(self._read(self._process.stderr))

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self.lines.append(line.decode(errors="replace").rstrip())
            sys.stderr.write(f"{self.lines[-1]}\n")

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log lines of this event, over all its lives."""
        lines = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    async def why(self) -> str | None:
        """What its readiness says it waits for; None when it is ready."""
        return await asyncio.to_thread(health, self._port)

    async def ready(self, within_s: float = 120.0) -> None:
        async def none_missing() -> bool:
            assert self.alive, f"{self._module} ended with {self._running.returncode}"
            return await self.why() is None

        await until(none_missing, within_s)

    async def waits_for(self, what: str, within_s: float = 90.0) -> str:
        """Its own words, once they are about `what`."""

        async def waiting() -> str | None:
            assert self.alive, f"{self._module} ended with {self._running.returncode}"
            why = await self.why()
            return why if why is not None and what in why and "no answer at" not in why else None

        return str(await until(waiting, within_s))

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._running.send_signal(number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.exit_code()

    async def stop(self) -> int:
        self.signal(signal.SIGTERM)
        self.thaw()
        return await self.exit_code()

    async def exit_code(self) -> int:
        code = await asyncio.wait_for(self._running.wait(), 60)
        if self._reading is not None:
            await self._reading
        return code

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        await self.start()
        try:
            yield self
        finally:
            try:
                await self.stop()
            except TimeoutError:
                await self.kill()
                raise


class IngestProcess(ServiceProcess):
    """Of one worker name in all its lives."""

    def __init__(self, database_url: str, mqtt_url: str, worker: str, **more: object) -> None:
        prefix = client_prefix(database_url)
        super().__init__(
            "ingest", database_url, mqtt_url=mqtt_url, worker=worker, **{"mqtt_client_prefix": prefix, **more}
        )


class Watched:
    """The watch that runs beside every broker of ours, and what it shows."""

    def __init__(self, servers: Servers, data: Path | None = None, **limits: float) -> None:
        self._registry = CollectorRegistry()
        address = Address(servers.mqtt.host, servers.mqtt.port, None, None)
        secret = servers.mqtt.accounts["svc-health"]
        self.watch = BrokerWatch(address, secret, BrokerLimits.model_validate(limits), data, self._registry)

    def metric(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(f"linhub_broker_{name}", labels) or 0.0

    @property
    def dropped(self) -> int:
        return int(self.metric("dropped_messages_total"))

    async def has_dropped(self, least: int) -> bool:
        return self.dropped >= least


async def quit_at_once(postgres: Part) -> None:
    """What `pg_ctl stop -m immediate` does: no checkpoint. Gone with its last child, which may take seconds."""
    postgres.signal(signal.SIGQUIT)

    async def gone() -> bool:
        return not postgres.alive

    await until(gone)


async def revive(part: Part) -> None:
    """Starts a killed server again and waits until it answers. From the main thread: the server dies with its own."""
    assert not part.alive, f"{part.name} is still there, and would be gone a moment later"
    part.start()
    await asyncio.to_thread(part.wait_ready)


class Stubborn:
    """Devices that keep each message and send it again until its application ack."""

    def __init__(
        self, wire: Wire, community: str, devices: list[str], sos: str, *, first_ts_ms: int | None = None
    ) -> None:
        self._wire = wire
        self._community = community
        self._devices = devices
        self._sos = sos
        self._start = now_ms() - 3_600_000 if first_ts_ms is None else first_ts_ms
        self.sent: dict[str, tuple[str, int]] = {}
        """message id → (device, ts)."""
        self._waiting: dict[str, tuple[str, dict[str, object]]] = {}

    @property
    def devices(self) -> set[str]:
        return {device for device, _ in self.sent.values()}

    def say(self, count: int) -> None:
        """So many new messages, one in twenty of them an event."""
        for _ in range(count):
            n = len(self.sent)
            ts = self._start + n
            if n % 20:
                device = self._devices[n % len(self._devices)]
                values = {"temperature": n % 60, "humidity": n % 100, "noise": n % 90}
                self._say(device, "telemetry", ts, {"values": values})
            else:
                self._say(self._sos, "event", ts, {"event": "pressed"})

    def press(self, button: str) -> None:
        """An SOS button, now."""
        self._say(button, "event", now_ms(), {"event": "pressed"})

    def _say(self, device: str, channel: str, ts: int, more: dict[str, object]) -> None:
        id, topic = f"m{len(self.sent)}", f"sc/{self._community}/{device}/up/{channel}"
        message: dict[str, object] = {"id": id, "ts": ts, **more}
        self.sent[id] = device, ts
        self._waiting[id] = topic, message
        self._wire.send(topic, message)

    async def keep_saying(self, seconds: float, more: Callable[[], None] = lambda: None) -> None:
        """A stream of about 4,000 messages a second; `more` adds to it at each turn."""
        end = asyncio.create_task(asyncio.sleep(seconds))
        while not end.done():
            self.say(40)
            more()
            await asyncio.sleep(0.01)

    def forget_acknowledged(self) -> int:
        """How many are still waiting."""
        for device in {self.sent[id][0] for id in self._waiting}:
            for id in self._wire.acked(self._community, device):
                self._waiting.pop(id, None)
        return len(self._waiting)

    def acknowledged(self) -> set[tuple[str, int]]:
        """(device, ts) of each message that has its application ack."""
        self.forget_acknowledged()
        return {what for id, what in self.sent.items() if id not in self._waiting}

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


async def well(port: int) -> bool:
    """Its readiness says that nothing is missing."""
    return await asyncio.to_thread(health, port) is None


async def all_acknowledged(said: Stubborn) -> bool:
    """Without anything being sent again."""
    return not said.forget_acknowledged()


async def all_stored(db: Database, said: Stubborn) -> bool:
    return (await db.ledger())["stored"] >= len(said.sent)


async def assert_each_once(db: Database, said: Stubborn) -> None:
    """Everything said is stored once, stands in the log once, and the ledger balances."""
    wanted, found = set(said.sent.values()), await db.stored()
    lost, doubled = wanted - set(found), len(found) - len(set(found))
    readings = await db.log_readings()
    events = [(item["device_no"], item["ts_ms"]) for item in await db.log_bodies() if item["type"] == "event"]
    logged = len(readings) + len(events)
    ledger = await db.ledger()
    note(sent=len(wanted), lost=len(lost), doubled=doubled, logged=logged, duplicates_heard=ledger["duplicate"])
    assert not lost and not doubled and len(found) == len(said.sent)
    assert len(events) == len(set(events)) == await db.count("device_event")
    assert len(readings) == len(set(readings)) == await db.count("reading")
    assert ledger["stored"] == len(said.sent) and ledger["rejected"] == 0
    assert ledger["received"] == ledger["stored"] + ledger["duplicate"]
    await assert_ledger_whole(db)


async def assert_ledger_whole(db: Database) -> None:
    """received = stored + duplicate + rejected in each row, stored is what the log holds, rejected what was set aside.

    Ingest writes the three sides of this apart from each other: counts, log and quarantine.
    """
    rows = await db.connection.fetch("SELECT * FROM ingest_ledger")
    odd = [dict(row) for row in rows if row["received"] != row["stored"] + row["duplicate"] + row["rejected"]]
    assert not odd, odd
    ledger = await db.ledger()
    told = [item for item in await db.log_bodies() if item["type"] not in ("clock", "flood")]
    logged = len(await db.log_readings()) + len(told)
    assert ledger["stored"] == logged, f"the ledger counts {ledger['stored']} stored, the log holds {logged}"
    kept = await db.connection.fetch(
        "SELECT reason, sum(times)::int AS times FROM quarantine WHERE scope = 'message' GROUP BY reason"
    )
    # Equal ones are kept once and counted.
    aside = {row["reason"]: row["times"] for row in kept}
    set_aside = sum(aside.values())
    # Of a flood the first are kept and the rest is counted.
    assert ledger["rejected"] == set_aside or ("flood" in aside and ledger["rejected"] > set_aside), (ledger, aside)
    for (partition, lane), numbers in (await db.log_numbers()).items():
        assert numbers == list(range(1, len(numbers) + 1)), f"log of partition {partition} lane {lane} has gaps"


async def many_buttons(database_url: str, community: str, count: int) -> list[str]:
    """Imports a small community with so many more SOS buttons; their ids."""
    small = small_community(community, prefix=f"{community}-")
    pattern = next(device for device in small.devices if device.kind == "sos_button")
    more = tuple(
        replace(pattern, id=DeviceId(f"{community}-button-{n}"), name=f"button {n}", person_id=None)
        for n in range(1, count + 1)
    )
    await put_community(database_url, replace(small, devices=(*small.devices, *more)))
    return [device.id for device in more]


async def assert_one_order_each(db: Database, devices: list[str], within_s: float = 90.0) -> None:
    """Each of these devices, having called once, has one alert and one order, and that order is open and was sent."""

    async def found() -> list[asyncpg.Record]:
        return list(
            await db.connection.fetch(
                "SELECT d.id, count(DISTINCT a.id) AS alerts, count(o.id) AS orders, "
                "count(o.id) FILTER (WHERE o.state = 'dispatched') AS open, "
                "(SELECT count(*) FROM alert_occurrence c JOIN alert a ON a.id = c.alert_id "
                "WHERE a.device_no = d.device_no AND c.what IN ('raised', 'repeated')) AS calls, "
                "(SELECT count(*) FROM outbox x WHERE x.type = 'order.create' "
                "AND x.data ->> 'order_id' IN (SELECT id::text FROM work_order w WHERE w.device_no = d.device_no)) "
                "AS announced "
                "FROM device d LEFT JOIN alert a USING (device_no) LEFT JOIN work_order o ON o.alert_id = a.id "
                "WHERE d.id = ANY($1) GROUP BY d.id, d.device_no",
                devices,
            )
        )

    async def all_there() -> bool:
        return all(row["orders"] for row in await found())

    try:
        await until(all_there, within_s)
    except AssertionError:
        missed = [row["id"] for row in await found() if not row["orders"]]
        raise AssertionError(f"{len(missed)} alarms without an order: {missed[:5]}") from None
    rows = await found()
    odd = [dict(row) for row in rows if set(tuple(row)[1:]) != {1}]
    tell(f"alarms {len(rows)}, missed 0, doubled {len(odd)}")
    assert len(rows) == len(devices) and not odd, odd[:5]


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

    async def drop(self) -> int:
        """How many connections were cut; they are gone on return, so that whoever is here then came anew."""
        cut = list(self._tasks)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        return len(cut)

    @property
    def connections(self) -> int:
        return len(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._target)
        except (OSError, asyncio.CancelledError):
            # Refused, or cut while the far side was being opened.
            self._tasks.discard(task)
            writer.transport.abort()
            return
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
