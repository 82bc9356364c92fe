"""A device that is revoked or given a new secret: cut at the real broker within seconds, and no ghost left online."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from deploy.embedded.broker import connect
from services.adapters.broker_identity import IDENTITY_ACCOUNT
from services.adapters.mqtt import Address
from services.adapters.registry import provision
from services.adapters.registry.provision import Secret
from services.cli import identity
from tests.conftest import Servers, own_servers
from tests.factory import put_community, secret_of, small_community
from tests.fault_kit import revive
from tests.ingest_kit import Database, database, ingest, now_ms


@dataclass
class Device:
    """Says that it is online, retained, and leaves a last will; as the simulator's devices do."""

    id: str
    secret: str
    servers: Servers
    session: int
    lost_at: float = 0.0
    verdicts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topic = f"sc/shut/{self.id}/up/status"
        self.link = paho.Client(CallbackAPIVersion.VERSION2, self.id, protocol=paho.MQTTv5, reconnect_on_failure=False)
        self.link.username_pw_set(self.id, self.secret)
        self.link.will_set(self.topic, self._status(False), qos=1, retain=True)
        self.link.on_connect = self._on_connect
        self.link.on_disconnect = self._on_disconnect
        self.link.connect(self.servers.mqtt.host, self.servers.mqtt.device_port)
        self.link.loop_start()

    def _status(self, online: bool) -> str:
        return json.dumps({"ts": now_ms(), "online": online, "session": self.session})

    def _on_connect(self, client: paho.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.verdicts.append(str(reason))
        if str(reason) == "Success":
            client.publish(self.topic, self._status(True), qos=1, retain=True)

    def _on_disconnect(self, *_: Any) -> None:
        self.lost_at = self.lost_at or time.monotonic()

    def close(self) -> None:
        self.link.disconnect()
        self.link.loop_stop()


async def until(true: Callable[[], Any], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


async def state_is(db: Database, device: str, online: bool) -> None:
    deadline = time.monotonic() + 90
    while (row := await db.state(device)) is None or row["online"] is not online:
        assert time.monotonic() < deadline, f"{device} is not {'online' if online else 'offline'} in time: {row}"
        await asyncio.sleep(0.02)


def retained(servers: Servers, topic: str) -> bytes | None:
    """What whoever subscribes next is told."""
    heard: dict[str, bytes] = {}
    mark = f"sc/{uuid4().hex}"
    link = paho.Client(CallbackAPIVersion.VERSION2)
    link.username_pw_set(servers.mqtt.username, servers.mqtt.password)
    link.on_message = lambda c, u, message: heard.update({message.topic: bytes(message.payload)})

    def connected(*_: Any) -> None:
        link.subscribe([(topic, 1), (mark, 1)])

    def subscribed(*_: Any) -> None:
        # What is retained comes before what is published after the subscription.
        link.publish(mark, b"", qos=1)

    link.on_connect, link.on_subscribe = connected, subscribed
    link.connect(servers.mqtt.host, servers.mqtt.port)
    deadline = time.monotonic() + 90
    while mark not in heard:
        assert time.monotonic() < deadline, "the broker does not say what it retains"
        link.loop(0.05)
    link.disconnect()
    return heard.get(topic)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with own_servers(tmp_path_factory.mktemp("shut") / "home") as own:
        yield own


@dataclass
class Place:
    url: str
    servers: Servers
    db: Database

    @property
    def file(self) -> Path:
        assert self.servers.mqtt.broker is not None
        return self.servers.mqtt.broker.password_file

    async def connection(self) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(self.url)


async def _supervise(servers: Servers) -> None:
    """As `linhub up` does."""
    assert servers.mqtt.broker is not None
    while True:
        servers.mqtt.broker.reload_if_changed()
        await asyncio.sleep(0.1)


def watching(url: str, servers: Servers) -> asyncio.Task[None]:
    assert servers.mqtt.broker is not None
    broker = servers.mqtt.broker
    hashes = {name: hashed for name, hashed in broker.hashes.items() if name != IDENTITY_ACCOUNT}
    address = Address(servers.mqtt.host, servers.mqtt.port, None, None)
    return asyncio.create_task(identity.watch(url, broker.password_file, hashes, address))


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def place(home: Servers, database_url: str) -> AsyncIterator[Place]:
    await put_community(database_url, small_community("shut"))
    supervise, watcher = asyncio.create_task(_supervise(home)), watching(database_url, home)
    async with ingest(database_url, home.mqtt.url), database(database_url) as db:
        place = Place(database_url, home, db)
        await admitted(place, "shut-sos_button-1")
        yield place
    await ended(watcher)
    await ended(supervise)
    home.mqtt.forget()


async def admitted(place: Place, name: str) -> None:
    """The file is written and the broker has read it."""
    port = place.servers.mqtt.device_port
    await until(lambda: connect(port, name, secret_of(name)) == 0)


async def online(place: Place, name: str, secret: str, session: int) -> Device:
    device = Device(name, secret, place.servers, session)
    await until(lambda: device.verdicts)
    assert device.verdicts == ["Success"]
    await state_is(place.db, name, True)
    return device


async def revoke(place: Place, *ids: str, retire: bool = False) -> float:
    connection = await place.connection()
    try:
        assert await provision.revoke(connection, ids, actor="test", retire=retire) == len(ids)
    finally:
        await connection.close()
    return time.monotonic()


async def test_revoked_device_is_cut_and_shown_offline(place: Place) -> None:
    device = await online(place, "shut-sos_button-1", secret_of("shut-sos_button-1"), 7)
    neighbour = await online(place, "shut-wristband-1", secret_of("shut-wristband-1"), 3)
    began = await revoke(place, device.id)
    await until(lambda: device.lost_at)
    await state_is(place.db, device.id, False)
    cut_s, offline_s = device.lost_at - began, time.monotonic() - began
    print(f"\nrevoked: cut after {cut_s:.2f} s, offline after {offline_s:.2f} s")  # noqa: T201
    said = json.loads(retained(place.servers, device.topic) or b"null")
    assert (said["online"], said["session"]) == (False, 7)
    again = Device(device.id, secret_of(device.id), place.servers, 8)
    await until(lambda: again.verdicts)
    assert again.verdicts == ["Not authorized"]
    assert not neighbour.lost_at
    assert json.loads(retained(place.servers, neighbour.topic) or b"null")["online"] is True
    for one in (device, neighbour, again):
        one.close()


async def test_rotated_device_comes_back_with_its_new_secret_only_and_stays_online(place: Place) -> None:
    name = "shut-wristband-1"
    device = await online(place, name, secret_of(name), 10)
    told: list[Secret] = []
    connection = await place.connection()
    await provision.rotate(connection, [name], told.extend, actor="test")
    await connection.close()
    await until(lambda: device.lost_at)
    device.close()
    renewed = await online(place, name, told[0].secret, 11)
    stale = Device(name, secret_of(name), place.servers, 12)
    await until(lambda: stale.verdicts)
    assert stale.verdicts == ["Not authorized"]
    # The watcher has said its word by then: its next file is written after it.
    await revoke(place, "shut-bin-1")
    await until(lambda: b"shut-bin-1:" not in place.file.read_bytes())
    assert json.loads(retained(place.servers, device.topic) or b"null") | {"ts": 0} == {
        "ts": 0,
        "online": True,
        "session": 11,
    }
    await state_is(place.db, name, True)
    for one in (renewed, stale):
        one.close()


async def test_retired_device_leaves_nothing_retained(place: Place) -> None:
    name = "shut-sos_button-1"
    device = await online(place, name, secret_of(name), 5)
    await revoke(place, name, retire=True)
    await until(lambda: device.lost_at)
    deadline = time.monotonic() + 90
    while retained(place.servers, device.topic):
        assert time.monotonic() < deadline, "its status is still retained"
    device.close()


async def test_what_was_shut_out_while_nobody_watched_is_ended_at_the_next_start(
    home: Servers, database_url: str
) -> None:
    await put_community(database_url, small_community("shut"))
    name = "shut-sos_button-1"
    supervise, watcher = asyncio.create_task(_supervise(home)), watching(database_url, home)
    try:
        async with database(database_url) as db:
            place = Place(database_url, home, db)
            await admitted(place, name)
            async with ingest(database_url, home.mqtt.url):
                device = await online(place, name, secret_of(name), 20)
            await ended(watcher)
            await revoke(place, name)
            assert json.loads(retained(home, device.topic) or b"null")["online"] is True
            watcher = watching(database_url, home)
            await until(lambda: device.lost_at)
            async with ingest(database_url, home.mqtt.url):
                await state_is(db, name, False)
            device.close()
    finally:
        await ended(watcher)
        await ended(supervise)
        home.mqtt.forget()


async def test_device_revoked_while_the_broker_is_away_is_shown_offline_once_it_has_started_anew(place: Place) -> None:
    """A broker that starts begins with the accounts that its launcher knows: ours has to be told it again."""
    device = await online(place, "shut-sos_button-1", secret_of("shut-sos_button-1"), 30)
    broker = place.servers.mqtt.broker
    assert broker is not None
    saved = broker.folder / "data" / "mosquitto.db"
    saved.unlink(missing_ok=True)
    broker.signal(signal.SIGUSR1)  # it saves what it retains
    await until(saved.exists)
    broker.kill()
    await revoke(place, device.id)
    await until(lambda: f"{device.id}:".encode() not in place.file.read_bytes())
    await revive(broker)
    deadline = time.monotonic() + 90
    while json.loads(retained(place.servers, device.topic) or b"null")["online"]:
        assert time.monotonic() < deadline, "its status is still that of before"
        await asyncio.sleep(0.1)
    await state_is(place.db, device.id, False)
    device.close()


async def test_file_that_says_the_same_is_not_written_again(place: Place) -> None:
    # The first write comes with the first secret of the identity account; nothing changes afterwards.
    await until(lambda: f"{IDENTITY_ACCOUNT}:".encode() in place.file.read_bytes())
    before = place.file.stat()
    async with database(place.url) as db:
        for _ in range(3):
            await db.connection.execute("UPDATE person SET name = name")
            await asyncio.sleep(2 * identity.SETTLE_S)
    after = place.file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
