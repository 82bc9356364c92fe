"""Who may say and hear what at the broker, tried with real logins."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from services.adapters.broker_identity import SERVICE_PREFIX, secret_hash, write_password_file
from tests.conftest import Mqtt, Servers, own_servers

PATIENCE_S = 60.0


@dataclass(slots=True)
class Client:
    """A connected client; `publish` gives the broker's verdict, `heard` what arrived."""

    link: paho.Client
    verdicts: queue.Queue[str] = field(default_factory=queue.Queue)
    heard: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)
    connected: queue.Queue[str] = field(default_factory=queue.Queue)
    subscribed: queue.Queue[None] = field(default_factory=queue.Queue)
    lost: queue.Queue[str] = field(default_factory=queue.Queue)

    def publish(self, topic: str, payload: bytes = b"{}") -> str:
        self.link.publish(topic, payload, qos=1)
        return self.verdicts.get(timeout=PATIENCE_S)

    def subscribe(self, topic: str) -> None:
        self.link.subscribe(topic, qos=1)
        self.subscribed.get(timeout=PATIENCE_S)


Open = Callable[..., Client]


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers of this module's own: an access list means nothing at a broker that admits everybody."""
    with own_servers(tmp_path_factory.mktemp("access") / "home") as own:
        own.mqtt.admit({"sos-1": "one", "sos-2": "two"})
        yield own


@pytest.fixture
def connected(access: Servers) -> Iterator[Open]:
    opened: list[Client] = []

    def connect(user: str, password: str, *, port: int | None = None, client_id: str = "") -> Client:
        link = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        client = Client(link)
        link.username_pw_set(user, password)
        link.on_connect = lambda c, u, f, reason, p: client.connected.put(str(reason))
        link.on_publish = lambda c, u, mid, reason, p: client.verdicts.put(str(reason))
        link.on_subscribe = lambda c, u, mid, reasons, p: client.subscribed.put(None)
        link.on_message = lambda c, u, message: client.heard.put((message.topic, bytes(message.payload)))
        link.on_disconnect = lambda c, u, f, reason, p: client.lost.put(str(reason))
        opened.append(client)
        link.connect(access.mqtt.host, port or access.mqtt.device_port)
        link.loop_start()
        return client

    yield connect
    for client in opened:
        client.link.disconnect()
        client.link.loop_stop()


def service(connected: Open, mqtt: Mqtt, account: str, client_id: str = "") -> Client:
    client = connected(account, mqtt.accounts[account], port=mqtt.port, client_id=client_id)
    assert client.connected.get(timeout=PATIENCE_S) == "Success"
    return client


def device(connected: Open, name: str, secret: str, client_id: str = "") -> Client:
    client = connected(name, secret, client_id=client_id)
    assert client.connected.get(timeout=PATIENCE_S) == "Success"
    return client


@pytest.mark.parametrize(("user", "password"), [("sos-1", "two"), ("nobody", "one"), ("", "")])
def test_wrong_credentials_are_refused(connected: Open, user: str, password: str) -> None:
    assert connected(user, password).connected.get(timeout=PATIENCE_S) == "Not authorized"


def test_device_publishes_under_its_own_id_only(connected: Open, access: Servers) -> None:
    ingest = service(connected, access.mqtt, "svc-ingest")
    ingest.subscribe("sc/+/+/up/#")
    one = device(connected, "sos-1", "one")
    assert one.publish("sc/c1/sos-2/up/event") == "Not authorized"
    assert one.publish("sc/c1/sos-1/down/command") == "Not authorized"
    assert one.publish("sc/c1/sos-1/up/event", b"mine") in ("Success", "No matching subscribers")
    assert ingest.heard.get(timeout=PATIENCE_S) == ("sc/c1/sos-1/up/event", b"mine")
    assert ingest.heard.empty()


def test_device_hears_only_what_is_meant_for_it(connected: Open, access: Servers) -> None:
    one, two = device(connected, "sos-1", "one"), device(connected, "sos-2", "two")
    for client in (one, two):
        client.subscribe("sc/+/+/down/#")
        client.subscribe("sc/+/+/up/#")
    ingest = service(connected, access.mqtt, "svc-ingest")
    assert two.publish("sc/c1/sos-2/up/telemetry") in ("Success", "No matching subscribers")
    assert ingest.publish("sc/c1/sos-2/down/ack", b"two") == "Success"
    assert ingest.publish("sc/c1/sos-1/down/ack", b"one") == "Success"
    assert one.heard.get(timeout=PATIENCE_S) == ("sc/c1/sos-1/down/ack", b"one")
    assert two.heard.get(timeout=PATIENCE_S) == ("sc/c1/sos-2/down/ack", b"two")
    assert one.heard.empty()
    assert two.heard.empty()


@pytest.mark.parametrize(
    ("account", "topic", "allowed"),
    [
        ("svc-ingest", "sc/c1/sos-1/down/ack", True),
        ("svc-ingest", "sc/c1/sos-1/down/command", False),
        ("svc-ingest", "sc/c1/sos-1/up/event", False),
        ("svc-alerts", "sc/c1/sos-1/down/command", True),
        ("svc-alerts", "sc/c1/sos-1/down/ack", False),
        ("svc-api", "sc/c1/sos-1/down/command", True),
        ("svc-api", "sc/c1/sos-1/down/config", True),
        ("svc-api", "sc/c1/sos-1/up/event", False),
        ("svc-health", "sc/c1/sos-1/down/command", False),
    ],
)
def test_service_account_writes_what_its_work_needs(
    connected: Open, access: Servers, account: str, topic: str, allowed: bool
) -> None:
    verdict = service(connected, access.mqtt, account).publish(topic)
    assert (verdict != "Not authorized") == allowed


def test_device_cannot_take_the_client_id_of_a_service(connected: Open, access: Servers) -> None:
    ingest = service(connected, access.mqtt, "svc-ingest", client_id="ingest-0")
    ingest.subscribe("sc/+/+/up/#")
    impostor = device(connected, "sos-1", "one", client_id="ingest-0")
    impostor.publish("sc/c1/sos-1/up/event", b"still heard")
    assert ingest.heard.get(timeout=PATIENCE_S) == ("sc/c1/sos-1/up/event", b"still heard")
    assert ingest.lost.empty()


def test_packet_beyond_the_limit_ends_the_connection(connected: Open) -> None:
    one = device(connected, "sos-1", "one")
    one.link.publish("sc/c1/sos-1/up/event", b"x" * 1_100_000, qos=1)
    # The reason may be lost with the connection; that it ends is what the sender must notice.
    assert one.lost.get(timeout=PATIENCE_S) in ("Packet too large", "Unspecified error")


def test_last_will_counts_under_the_own_id_only(connected: Open, access: Servers) -> None:
    ingest = service(connected, access.mqtt, "svc-ingest")
    ingest.subscribe("sc/+/+/up/status")
    for topic in ("sc/c1/sos-2/up/status", "sc/c1/sos-1/up/status"):
        link = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        link.username_pw_set("sos-1", "one")
        link.will_set(topic, b"gone", qos=1)
        link.connect(access.mqtt.host, access.mqtt.device_port)
        while not link.is_connected():
            assert link.loop(timeout=PATIENCE_S) == paho.MQTT_ERR_SUCCESS
        open_socket = link.socket()
        assert open_socket is not None
        open_socket.close()
    assert ingest.heard.get(timeout=PATIENCE_S) == ("sc/c1/sos-1/up/status", b"gone")
    assert ingest.heard.empty()


async def test_password_file_holds_devices_that_may_log_in(database_url: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            """
            INSERT INTO street VALUES ('s', 'c', 'd', 'n');
            INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents)
            VALUES ('c1', 's', 'n', 0, 0, 0, 0, 0);
            INSERT INTO device (id, community_id, kind, name, interval_s, retired_at)
            SELECT id, 'c1', 'sos', id, 60, CASE WHEN id = 'retired' THEN now() END
            FROM unnest(ARRAY['good', 'revoked', 'retired', 'svc-ingest', 'bare']) AS id;
            """
        )
        for name in ("good", "revoked", "retired", "svc-ingest"):
            await connection.execute(
                "INSERT INTO device_credential (device_no, secret_hash, revoked_at) "
                "SELECT device_no, $2, CASE WHEN id = 'revoked' THEN now() END FROM device WHERE id = $1",
                name,
                secret_hash(name),
            )
        path = tmp_path / "identity" / "passwords"
        assert await write_password_file(connection, path, {"svc-ingest": "$7$1$a$b"}) == 2
        names = [line.partition(":")[0] for line in path.read_text().splitlines()]
        assert names == ["svc-ingest", "good"]
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ValueError, match=SERVICE_PREFIX):
            await write_password_file(connection, path, {"good": "$7$1$a$b"})
        assert [line.partition(":")[0] for line in path.read_text().splitlines()] == names
    finally:
        await connection.close()


def test_broker_learns_of_new_devices_without_a_restart(access: Servers, connected: Open) -> None:
    one = device(connected, "sos-1", "one")
    assert connected("late-1", "late").connected.get(timeout=PATIENCE_S) == "Not authorized"
    access.mqtt.admit({"late-1": "late"})
    device(connected, "late-1", "late")
    one.publish("sc/c1/sos-1/up/event")
    assert one.lost.empty()
    access.mqtt.admit({"late-2": "late"})
