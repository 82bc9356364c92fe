"""Every account × every kind of topic × read and write, at the real broker against what each may."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from services.adapters.broker_identity import SERVICE_ACCOUNTS
from tests.conftest import Servers, own_servers

COMMUNITIES = ("c1", "c2")
DEVICES = ("mx-1", "mx-2", "mx-10", "mx", "c1", "up", "down")
"""Ids that are beginnings of one another, or words of the topic itself."""
WILD_NAMES = ("#", "+", "mx-+", "mx/1", "mx-1/#", "$SYS")
UP = ("telemetry", "event", "status", "reply", "telemetry/tele/SENSOR", "made-up")
DOWN = ("ack", "command", "config", "reply/x")
OTHERS = ("$SYS/broker/x", "sc", "sc/c1", "sc/c1/mx-1", "sc/c1/mx-1/up", "sc/c1/mx-1/side/event", "x/c1/mx-1/up/event")
TRICKS = (
    "sc/c1/mx-1/up/event/../../mx-2",
    "sc//mx-1/up/event",
    "sc/c1/mx-1 /up/event",
    "sc/c1/MX-1/up/event",
    "/sc/c1/mx-1/up/event",
    "linhub/identity/x/y",
)
WILD = (
    "#",
    "+/#",
    "sc/#",
    "sc/+/+/up/#",
    "sc/+/+/down/#",
    "sc/c1/mx-2/#",
    "sc/+/mx-2/down/#",
    "$SYS/#",
    "+/+/+/+/+",
    "sc/c1/+/down/ack",
)


def topics() -> list[str]:
    return [
        *(f"sc/{c}/{d}/up/{channel}" for c in COMMUNITIES for d in DEVICES for channel in UP),
        *(f"sc/{c}/{d}/down/{channel}" for c in COMMUNITIES for d in DEVICES for channel in DOWN),
        *OTHERS,
        *TRICKS,
    ]


def may(account: str, access: str, topic: str) -> bool:
    """What each may, said once more, apart from the access list."""
    levels = topic.split("/")
    sc = levels[0] == "sc" and len(levels) >= 5
    tail = "/".join(levels[3:])
    match account, access:
        case "svc-ingest", "read":
            return len(levels) >= 4 and levels[0] == "sc" and levels[3] == "up"
        case "svc-ingest", "write":
            return sc and (tail == "down/ack" or tail.startswith("down/reply/"))
        case "svc-alerts", "write":
            return sc and tail == "down/command"
        case "svc-api", "write":
            return sc and tail in ("down/command", "down/config")
        case "svc-health", "read":
            return topic.startswith("$SYS/broker/")
        case device, _ if not device.startswith("svc-"):
            wanted = "up" if access == "write" else "down"
            return len(levels) >= 4 and levels[0] == "sc" and levels[2] == device and levels[3] == wanted
    return False


@dataclass
class Link:
    account: str
    client: paho.Client
    verdicts: dict[int, str] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    done: queue.Queue[str] = field(default_factory=queue.Queue)
    lost: list[str] = field(default_factory=list)

    def write(self, names: list[str]) -> dict[str, bool]:
        """topic → whether the broker took it. Retained, which must change nothing of what is allowed."""
        sent = {name: self.client.publish(name, b"matrix", qos=1, retain=True).mid for name in names}
        deadline = time.monotonic() + 90
        while any(mid not in self.verdicts for mid in sent.values()):
            assert time.monotonic() < deadline and not self.lost, f"{self.account}: {self.lost}"
            time.sleep(0.005)
        return {name: self.verdicts[mid] != "Not authorized" for name, mid in sent.items()}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with own_servers(tmp_path_factory.mktemp("matrix") / "home") as own:
        own.mqtt.admit({name: f"secret-{name}" for name in (*DEVICES, *WILD_NAMES)})
        yield own


def connect(servers: Servers, account: str) -> Link:
    service = account.startswith("svc-")
    link = Link(account, paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, reconnect_on_failure=False))

    def published(client: paho.Client, data: Any, mid: int, reason: Any, properties: Any) -> None:
        link.verdicts[mid] = str(reason)

    def heard(client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        link.heard.add(message.topic)

    link.client.on_publish = published
    link.client.on_message = heard
    link.client.on_subscribe = lambda *_: link.done.put("subscribed")
    link.client.on_connect = lambda c, u, f, reason, p: link.done.put(str(reason))
    link.client.on_disconnect = lambda c, u, f, reason, p: link.lost.append(str(reason))
    password = servers.mqtt.accounts[account] if service else f"secret-{account}"
    if account == servers.mqtt.username:
        password = servers.mqtt.password
    link.client.max_inflight_messages_set(2000)
    link.client.username_pw_set(account, password)
    link.client.connect(servers.mqtt.host, servers.mqtt.port if service else servers.mqtt.device_port)
    link.client.loop_start()
    assert link.done.get(timeout=90) == "Success"
    return link


def close(*links: Link) -> None:
    for link in links:
        link.client.disconnect()
        link.client.loop_stop()


ACCOUNTS = (*SERVICE_ACCOUNTS, *DEVICES)


def test_writes_are_as_granted_in_every_cell(servers: Servers) -> None:
    names, wrong, cells = topics(), [], 0
    for account in ACCOUNTS:
        link = connect(servers, account)
        for name, taken in link.write([name for name in names if not name.startswith("$")]).items():
            cells += 1
            if taken != may(account, "write", name):
                wrong.append((account, "write", name, taken))
        close(link)
    servers.mqtt.forget()
    print(f"\nwrite cells: {cells}, leaks or refusals that are wrong: {len(wrong)}")  # noqa: T201
    assert wrong == []
    assert cells >= 1_500


def test_reads_are_as_granted_in_every_cell(servers: Servers) -> None:
    """Each subscribes to everything, by wildcards and by name; then everything is published, and retained."""
    names = [name for name in topics() if name.startswith("sc/") and not any(level == "" for level in name.split("/"))]
    readers = [connect(servers, account) for account in ACCOUNTS]
    for link in readers:
        link.client.subscribe([(name, 1) for name in (*WILD, *names)])
        assert link.done.get(timeout=90) == "subscribed"
    speaker = connect(servers, servers.mqtt.username)
    taken = speaker.write(names)
    assert all(taken.values())
    time.sleep(0.2)
    late = [connect(servers, account) for account in ACCOUNTS]
    for link in late:
        link.client.subscribe([(name, 1) for name in WILD])
        assert link.done.get(timeout=90) == "subscribed"
    wanted = {account: {name for name in names if may(account, "read", name)} for account in ACCOUNTS}
    deadline = time.monotonic() + 90
    while any(not wanted[link.account] <= link.heard for link in (*readers, *late)) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    wrong = [
        (link.account, "read", name, name in link.heard)
        for link in (*readers, *late)
        for name in names
        if (name in link.heard) != (name in wanted[link.account])
    ]
    strange = [
        (link.account, name)
        for link in (*readers, *late)
        for name in link.heard
        if name not in names and not may(link.account, "read", name)
    ]
    cells = 2 * len(ACCOUNTS) * len(names)
    close(speaker, *readers, *late)
    servers.mqtt.forget()
    print(f"\nread cells: {cells} (half of them retained), wrong: {len(wrong)}, other topics heard: {len(strange)}")  # noqa: T201
    assert wrong == []
    assert strange == []
    assert cells >= 3_000


@pytest.mark.parametrize("name", WILD_NAMES)
def test_name_that_would_be_a_wildcard_in_the_access_list_gets_nowhere(servers: Servers, name: str) -> None:
    """The registry admits no such id. Were it in the password file, the pattern must still open nothing."""
    link = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, reconnect_on_failure=False)
    verdicts: queue.Queue[str] = queue.Queue()
    link.username_pw_set(name, f"secret-{name}")
    link.on_connect = lambda c, u, f, reason, p: verdicts.put(str(reason))
    link.on_publish = lambda c, u, mid, reason, p: verdicts.put(str(reason))
    link.on_disconnect = lambda c, u, f, reason, p: verdicts.put("lost")
    link.connect(servers.mqtt.host, servers.mqtt.device_port)
    link.loop_start()
    try:
        if verdicts.get(timeout=90) == "Success":
            link.publish("sc/c1/mx-1/up/event", b"{}", qos=1)
            assert verdicts.get(timeout=90) in ("Not authorized", "lost")
    finally:
        link.disconnect()
        link.loop_stop()
