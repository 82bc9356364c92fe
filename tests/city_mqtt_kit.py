"""For tests of city events by MQTT: subscriptions with logins, readers at the real broker, and what makes its files."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.embedded.broker import connect
from services.adapters.broker_identity import IDENTITY_ACCOUNT, new_login, new_secret, secret_hash
from services.adapters.mqtt import NEVER_EXPIRES, Address
from services.cli import identity
from tests.conftest import Mqtt


@dataclass(frozen=True, slots=True)
class Login:
    name: str
    secret: str
    subscription: UUID

    @property
    def topics(self) -> str:
        return f"city/{self.subscription}/#"


async def put_login(connection: Any, subscription: UUID, name: str | None = None) -> Login:
    login = Login(name or new_login(), new_secret(), subscription)
    await connection.execute(
        "INSERT INTO city_broker_login (name, subscription_id, secret_hash, created_by) VALUES ($1, $2, $3, 'test')",
        login.name, subscription, secret_hash(login.secret),
    )  # fmt: skip
    return login


async def put_mqtt(
    connection: Any, *, types: tuple[str, ...] = ("*",), format: str = "structured", community: str = "test"
) -> Login:
    """A subscription by MQTT of a new account of the community, from here on."""
    id, account = uuid4(), f"service-{uuid4().hex[:12]}"
    await connection.execute(
        "INSERT INTO app_user (id, username, password_hash, display_name, role, community_id, service) "
        "VALUES ($1, $1, '!', '平台', 'platform', $2, true)",
        account, community,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO city_subscription (id, account_id, community_id, name, way, format, types, created_by, "
        "idempotency_key) VALUES ($1, $2, $3, '城运中心', 'mqtt', $4, $5, 'test', $2)",
        id, account, community, format, list(types),
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO city_delivery (subscription_id, seq) VALUES ($1, (SELECT coalesce(max(seq), 0) FROM outbox))", id
    )
    return await put_login(connection, id)


@asynccontextmanager
async def identity_kept(database_url: str, mqtt: Mqtt) -> AsyncIterator[None]:
    """The watcher over the broker's files, and who has the broker read them, as `linhub up` does."""
    broker = mqtt.broker
    assert broker is not None

    async def supervise() -> None:
        while True:
            if broker.alive:
                broker.reload_if_changed()
            await asyncio.sleep(0.05)

    hashes = {name: hashed for name, hashed in broker.hashes.items() if name != IDENTITY_ACCOUNT}
    address = Address(mqtt.host, mqtt.port, None, None)
    tasks = [
        asyncio.create_task(supervise()),
        asyncio.create_task(identity.watch(database_url, broker.password_file, hashes, address)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def admitted(mqtt: Mqtt, login: Login, let_in: bool = True) -> None:
    await until(lambda: (connect(mqtt.device_port, login.name, login.secret) == 0) is let_in)


async def until(done: Callable[[], bool], within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while True:
            if done():
                return
            await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    payload: bytes
    retained: bool
    content_type: str
    expires_s: int | None
    user: dict[str, str]

    @property
    def previous(self) -> int | None:
        return int(self.user["previous"]) if "previous" in self.user else None


@dataclass
class Reader:
    """A receiver of a city platform: connects with its login and subscribes at each connection. `durable`: its session
    outlives the connection."""

    port: int
    login: Login
    topics: tuple[str, ...] = ()
    durable: bool = True
    qos: int = 1
    heard: list[Message] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    ready: bool = False
    again: bool = False
    """Whether it comes back by itself."""

    def __post_init__(self) -> None:
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, self.login.name, protocol=paho.MQTTv5, reconnect_on_failure=self.again
        )
        self.client.reconnect_delay_set(1, 1)
        self.client.username_pw_set(self.login.name, self.login.secret)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.on_subscribe = self._on_subscribe
        self.client.on_disconnect = self._on_disconnect
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = NEVER_EXPIRES if self.durable else 0
        self.client.connect("127.0.0.1", self.port, clean_start=not self.durable, properties=properties)
        self.client.loop_start()

    def _on_connect(self, client: paho.Client, _u: Any, flags: Any, reason: Any, _p: Any) -> None:
        self.verdicts.append(str(reason))
        if not reason.is_failure:
            client.subscribe([(topic, self.qos) for topic in self.topics or (self.login.topics,)])

    def _on_subscribe(self, *_: Any) -> None:
        self.ready = True

    def _on_disconnect(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        self.ready = False
        self.lost.append(str(reason))

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        said = message.properties
        self.heard.append(
            Message(
                message.topic, bytes(message.payload), message.retain, getattr(said, "ContentType", ""),
                getattr(said, "MessageExpiryInterval", None), dict(getattr(said, "UserProperty", [])),
            )
        )  # fmt: skip

    @property
    def seqs(self) -> list[int]:
        """Of what came, structured or binary, tests left out."""
        found = []
        for one in self.heard:
            id = one.user.get("id") or _id(one.payload)
            if id.isdigit():
                found.append(int(id))
        return found

    @property
    def first_seqs(self) -> list[int]:
        """In the order in which each came first."""
        return list(dict.fromkeys(self.seqs))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def _id(payload: bytes) -> str:
    return str(json.loads(payload)["id"])


@asynccontextmanager
async def reading(mqtt: Mqtt, login: Login, port: int | None = None, **more: Any) -> AsyncIterator[Reader]:
    reader = Reader(port or mqtt.device_port, login, **more)
    try:
        await until(lambda: reader.ready)
        yield reader
    finally:
        with contextlib.suppress(Exception):
            await asyncio.to_thread(reader.close)
