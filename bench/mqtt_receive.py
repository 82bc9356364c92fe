"""What receiving costs: CPU a message of each MQTT client, on one broker, one load, in one run.

`python -m bench.mqtt_receive`. A client that is not installed is left out of the table.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import paho.mqtt.client as paho
import typer
import uvloop
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench.publish import Load, Metric, Publisher, generate
from deploy.embedded.stack import Stack
from services.adapters.broker_identity import secret_hash
from services.adapters.mqtt import Address, StatusCallback, Subscriber, SubscriberOptions
from services.adapters.mqtt_direct import DirectSubscriber
from services.adapters.mqtt_paho import PahoSubscriber

ROOT = Path(__file__).resolve().parents[1] / ".linhub" / "root"
_ACCOUNT = "svc-bench"
_ACL = f"""
user {_ACCOUNT}
topic readwrite sc/#
"""
WINDOW, LIMIT, LINGER_S, SLICE = 20_000, 4_000, 0.05, 200
"""As the telemetry lane of ingest receives and acknowledges."""
METRICS = (Metric("temperature", 10, 30), Metric("humidity", 30, 70), Metric("noise", 35, 60))


class Meter:
    """CPU seconds from the first message to the last; tells the generator how far it is."""

    def __init__(self, count: int, stored: Synchronized[int]) -> None:
        self._left = count
        self._stored = stored
        self._began = 0.0
        self.cpu_s = 0.0

    def begin(self) -> None:
        if not self._began:
            self._began = time.process_time()

    def took(self, count: int) -> bool:
        """Whether that was all."""
        self._left -= count
        self._stored.value += count
        self.cpu_s = time.process_time() - self._began
        return self._left <= 0


Client = Callable[[Address, str, str, Meter, Callable[[], None]], Awaitable[None]]
"""(broker, client id, filter, meter, what to call once subscribed): returns when the meter has had enough."""


def _through_port(make: Callable[[SubscriberOptions, StatusCallback], Subscriber]) -> Client:
    async def client(address: Address, name: str, wanted: str, meter: Meter, ready: Callable[[], None]) -> None:
        def told(connected: bool, why: str) -> None:
            if connected:
                ready()

        subscriber = make(SubscriberOptions(address, name, WINDOW), told)
        subscriber.set_filters([wanted])
        running = asyncio.create_task(subscriber.run())
        done = False
        while not done:
            messages = await subscriber.receive(LIMIT, LINGER_S)
            meter.begin()
            for start in range(0, len(messages), SLICE):
                subscriber.ack(messages[start : start + SLICE])
            done = meter.took(len(messages))
        await subscriber.close()
        await running

    return client


async def _mqttium(address: Address, name: str, wanted: str, meter: Meter, ready: Callable[[], None]) -> None:
    client = import_module("mqttium.api").AsyncClient(
        name,
        protocol=import_module("mqttium.enums").MQTTProtocolVersion.MQTTv5,
        username=address.username,
        password=address.password,
        manual_ack=True,
        max_inbound_inflight=WINDOW,
        max_iterator_messages=WINDOW,
        max_write_queue_messages=2 * WINDOW,
    )
    await client.connect(address.host, address.port)
    await client.subscribe(wanted, qos=1)
    ready()
    batch: list[Any] = []
    async for message in client.messages():
        meter.begin()
        batch.append(message)
        if len(batch) == SLICE:
            for one in batch:
                await client.ack(one)
            batch.clear()
            if meter.took(SLICE):
                break
    await client.disconnect()


async def _gmqtt(address: Address, name: str, wanted: str, meter: Meter, ready: Callable[[], None]) -> None:
    gmqtt = import_module("gmqtt")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    client = gmqtt.Client(name, receive_maximum=WINDOW)
    batch: list[Any] = []

    def on_message(_: Any, topic: str, payload: bytes, __: int, ___: Any) -> int:
        meter.begin()
        batch.append((topic, payload))
        if len(batch) == SLICE:
            batch.clear()
            if meter.took(SLICE) and not done.done():
                done.set_result(None)
        return 0

    client.on_message = on_message
    client.on_subscribe = lambda *_: ready()
    client.set_auth_credentials(address.username, address.password)
    await client.connect(address.host, address.port, version=gmqtt.constants.MQTTv50)
    client.subscribe(wanted, qos=1)
    await done
    await client.disconnect()


async def _paho_alone(address: Address, name: str, wanted: str, meter: Meter, ready: Callable[[], None]) -> None:
    done = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    client.username_pw_set(str(address.username), address.password)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.ReceiveMaximum = WINDOW
    batch: list[paho.MQTTMessage] = []

    def on_message(_: Any, __: Any, message: paho.MQTTMessage) -> None:
        meter.begin()
        batch.append(message)
        if len(batch) == SLICE:
            for one in batch:
                client.ack(one.mid, one.qos)
            batch.clear()
            if meter.took(SLICE):
                done.set()

    client.on_subscribe = lambda *_: ready()
    client.on_message = on_message
    client.connect(address.host, address.port, properties=properties)
    client.loop_start()
    client.subscribe(wanted, qos=1)
    await asyncio.to_thread(done.wait, 110)
    client.disconnect()
    client.loop_stop()


@dataclass(frozen=True, slots=True)
class Candidate:
    package: str | None
    client: Client
    note: str = ""
    loops: tuple[str, ...] = ("uvloop", "asyncio")

    @property
    def version(self) -> str | None:
        return "" if self.package is None else version(self.package)


CANDIDATES = {
    "direct": Candidate(None, _through_port(DirectSubscriber)),
    "mqttium": Candidate(
        "mqttium",
        _mqttium,
        "an await a message and an await an acknowledgement; cannot connect on uvloop",
        ("asyncio",),
    ),
    "gmqtt": Candidate("gmqtt", _gmqtt, "acknowledges at once: it cannot wait for a commit without a task a message"),
    "paho": Candidate("paho-mqtt", _through_port(PahoSubscriber), "behind the port: own socket reader and short cut"),
    "paho alone": Candidate("paho-mqtt", _paho_alone, "as its documentation uses it, in a thread", ("asyncio",)),
}
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


@dataclass(frozen=True, slots=True)
class Figure:
    client: str
    version: str
    loop: str
    cpu_us: float
    """Of the client's process, a message."""
    spread_us: tuple[float, float]
    broker_us: float
    note: str


def _receive(
    candidate: str, loop: str, url: str, name: str, wanted: str, count: int, stored: Synchronized[int], to: Any
) -> None:
    """Runs in a process of its own; sends "ready" and then its CPU seconds."""
    meter = Meter(count, stored)
    work = CANDIDATES[candidate].client(Address.parse(url), name, wanted, meter, lambda: to.send("ready"))
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(_all(work), 120))
    to.send(meter.cpu_s)


async def _all(work: Awaitable[None]) -> None:
    await work


def _broker_cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _once(candidate: str, loop: str, url: str, broker: int, count: int, seed: int) -> tuple[float, float]:
    """(µs of the client, µs of the broker) a message."""
    spawn = multiprocessing.get_context("spawn")
    stored, sent = spawn.Value("q", 0), spawn.Value("q", 0)
    community = f"{candidate}-{loop}-{seed}"
    ours, theirs = spawn.Pipe()
    receiver = spawn.Process(
        target=_receive,
        args=(candidate, loop, url, f"bench-{community}", f"sc/{community}/#", count, stored, theirs),
        daemon=True,
    )
    receiver.start()
    assert ours.poll(30), f"{candidate} does not subscribe"
    while ours.recv() != "ready":
        pass
    publishers = tuple(Publisher(f"sc/{community}/environment-{n}/up/telemetry") for n in range(1, 501))
    load = Load(url, community, publishers, METRICS, count, 1, WINDOW, seed=seed)
    generator = spawn.Process(target=generate, args=(load, stored, sent), daemon=True)
    before = _broker_cpu_s(broker)
    generator.start()
    cpu_s: Any = "ready"
    while cpu_s == "ready":
        assert ours.poll(120), f"{candidate} received {stored.value} of {count}"
        cpu_s = ours.recv()
    spent = _broker_cpu_s(broker) - before
    for process in (receiver, generator):
        process.join(10)
        with suppress(ProcessLookupError):
            process.kill()
    return cpu_s / count * 1e6, spent / count * 1e6


def measure(messages: int, runs: int, only: list[str] | None = None) -> list[Figure]:
    """Runs the candidates in turn, `runs` times; figures are medians."""
    wanted = []
    for name, candidate in CANDIDATES.items():
        with suppress(PackageNotFoundError):
            wanted += [(name, candidate.version or "", loop) for loop in candidate.loops if not only or name in only]
    took: dict[tuple[str, str, str], list[tuple[float, float]]] = {one: [] for one in wanted}
    with (
        tempfile.TemporaryDirectory(prefix="linhub-bench-") as home,
        Stack(Path(home), secret_hash, root=ROOT, extra_acl=_ACL) as stack,
    ):
        stack.ensure_root()
        url = stack.start_servers(with_postgres=False).mqtt_url(_ACCOUNT)
        broker = stack.mosquitto.processes[0].pid
        for seed in range(runs):
            for one in wanted:
                took[one].append(_once(one[0], one[2], url, broker, messages, seed))
    figures = []
    for (name, released, loop), pairs in took.items():
        cpu = sorted(ours for ours, _ in pairs)
        figures.append(
            Figure(
                name,
                released,
                loop,
                round(median(cpu), 2),
                (round(cpu[0], 2), round(cpu[-1], 2)),
                round(median([theirs for _, theirs in pairs]), 2),
                CANDIDATES[name].note,
            )
        )
    return figures


def main(
    messages: Annotated[int, typer.Option(help="of about 90 bytes, three metrics each")] = 60_000,
    runs: Annotated[int, typer.Option(help="of each client")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="a client, repeatable")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    figures = measure(messages, runs, only)
    if as_json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return
    print(f"{messages} messages at QoS 1, window {WINDOW}, batches to {LIMIT}; CPU µs a message, median of {runs}")
    print(f"{'client':12}{'version':10}{'loop':9}{'client µs':>10}{'from–to':>16}{'broker µs':>11}  note")
    for one in figures:
        span = f"{one.spread_us[0]:.2f}–{one.spread_us[1]:.2f}"
        print(
            f"{one.client:12}{one.version:10}{one.loop:9}{one.cpu_us:10.2f}{span:>16}{one.broker_us:11.2f}  {one.note}"
        )


if __name__ == "__main__":
    typer.run(main)
