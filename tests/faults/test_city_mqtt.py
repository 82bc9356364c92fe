"""Faults 34 and 42: city events at the broker: who may read and say what, and broker and engine killed meanwhile."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from deploy.embedded.postgres import DATABASE
from services.adapters.broker_identity import SERVICE_ACCOUNTS
from services.alerts.city.mqtt import MARK
from tests.access_kit import key, service, with_key
from tests.api_server import api_server, client, connect
from tests.city_kit import append, many, order_data, subscribe
from tests.city_mqtt_kit import Login, admitted, identity_kept, put_login, put_mqtt, reading, until
from tests.conftest import Servers, with_database
from tests.factory import put_community, secret_of, small_community
from tests.fault_kit import KILLS, SEED, ServiceProcess, revive
from tests.fault_rows import note, row
from tests.integration.test_access_matrix import Link
from tests.integration.test_access_matrix import connect as log_in

DEVICES = ("test-sos_button-1", "test-wristband-1")
WILD = ("#", "+/#", "city/#", "city/+/#", "city/+/+/+/+", "sc/#", "linhub/#", "+/+/+/+/+")


@dataclass(frozen=True, slots=True)
class World:
    servers: Servers
    logins: dict[str, Login]
    """a and b of two subscriptions, and a2, another one of the first."""

    def topics(self) -> list[str]:
        folders = [f"city/{self.logins[name].subscription}" for name in ("a", "b")]
        names = [*(login.name for login in self.logins.values()), *DEVICES]
        return [
            *(f"{folder}/{tail}" for folder in folders for tail in ("test/alert/raised", "-/test", "x")),
            *folders,
            *(f"city/{name}/test/alert/raised" for name in names),
            "city", "city/", "city/x", "city/+", MARK, f"{MARK}/x", "linhub/identity/x",
            *(f"sc/test/{name}/{tail}" for name in names for tail in ("up/telemetry", "up/status", "down/command")),
        ]  # fmt: skip

    def may(self, account: str, access: str, topic: str) -> bool:
        """What each may of these, said once more, apart from the access list."""
        levels = topic.split("/")
        if account in self.logins:
            mine = str(self.logins[account].subscription)
            return access == "read" and levels[:2] == ["city", mine]
        if account in DEVICES:
            return levels[0] == "sc" and levels[2:4] == [account, {"write": "up", "read": "down"}[access]]
        match account, access:
            case "svc-alerts", "write":
                return levels[0] == "city" or topic.startswith("linhub/city") or topic.endswith("/down/command")
            case "svc-alerts", "read":
                return topic.startswith("linhub/city")
            case "svc-ingest", "read":
                return levels[0] == "sc" and levels[3] == "up"
            case "svc-api", "write":
                return topic.endswith("/down/command")
        return False

    def link(self, account: str) -> Link:
        if account.startswith("svc-"):
            return log_in(self.servers, account)
        login = self.logins.get(account)
        mqtt = self.servers.mqtt
        name, secret = (login.name, login.secret) if login else (account, secret_of(account))
        link = Link(account, paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, reconnect_on_failure=False))
        link.client.on_publish = lambda c, u, mid, reason, p: link.verdicts.__setitem__(mid, str(reason))
        link.client.on_message = lambda c, u, message: link.heard.add(message.topic)
        link.client.on_subscribe = lambda *_: link.done.put("subscribed")
        link.client.on_connect = lambda c, u, f, reason, p: link.done.put(str(reason))
        link.client.on_disconnect = lambda c, u, f, reason, p: link.lost.append(str(reason))
        link.client.max_inflight_messages_set(2000)
        link.client.username_pw_set(name, secret)
        link.client.connect(mqtt.host, mqtt.device_port)
        link.client.loop_start()
        assert link.done.get(timeout=90) == "Success"
        return link


@pytest.fixture
async def world(breakable: Servers) -> AsyncIterator[World]:
    url = with_database(breakable.database_url, DATABASE)
    await put_community(url, small_community("test"))
    connection = await connect(url)
    a, b = await put_mqtt(connection), await put_mqtt(connection)
    a2 = await put_login(connection, a.subscription)
    async with identity_kept(url, breakable.mqtt):
        for login in (a, b, a2):
            await admitted(breakable.mqtt, login)
        yield World(breakable, {"a": a, "b": b, "a2": a2})
    await connection.close()


@row(34)
async def test_nobody_reads_or_says_what_is_another_platforms_or_a_devices(world: World) -> None:
    """Every account × every topic, by name and by wildcard, written, read and retained."""
    accounts = (*world.logins, *DEVICES, *SERVICE_ACCOUNTS)
    await asyncio.to_thread(_matrix, world, accounts)


def _matrix(world: World, accounts: tuple[str, ...]) -> None:
    names = [name for name in world.topics() if "+" not in name]
    leaks: list[tuple[str, str, str]] = []
    missing: list[tuple[str, str, str]] = []
    cells, said = 0, set()
    for account in accounts:  # each says everything, retained; what it may not say is refused
        link = world.link(account)
        for name, taken in link.write(names).items():
            cells += 1
            if taken:
                said.add(name)
            if taken != world.may(account, "write", name):
                (leaks if taken else missing).append((account, "write", name))
        _end(link)
    speakers = [world.link("svc-alerts"), log_in(world.servers, world.servers.mqtt.username)]
    for speaker in speakers:
        said |= {name for name, taken in speaker.write(names).items() if taken}
    readers = [world.link(account) for account in accounts]
    wanted = {account: {name for name in said if world.may(account, "read", name)} for account in accounts}
    for sort in ("retained", "live"):
        for link in readers:
            link.heard.clear()
        if sort == "retained":
            for link in readers:
                link.client.subscribe([(name, 1) for name in (*WILD, *names)])
                assert link.done.get(timeout=90) == "subscribed"
        else:
            for speaker in speakers:
                speaker.write(names)
        deadline = time.monotonic() + 60
        while any(not wanted[link.account] <= link.heard for link in readers) and time.monotonic() < deadline:
            time.sleep(0.02)
        for link in readers:  # whatever was on its way to it is there before the answer to this
            link.write([f"fence/{uuid4().hex}"])
            cells += len(names)
            leaks += [(link.account, sort, name) for name in link.heard if not world.may(link.account, "read", name)]
            missing += [(link.account, sort, name) for name in wanted[link.account] - link.heard]
    _end(*speakers, *readers)
    note(sent=cells, lost=len(missing), doubled=0, cells=cells, leaks=len(leaks), accounts=len(accounts))
    assert leaks == [] and missing == []
    assert cells >= 900 and len(said) > 20


def _end(*links: Link) -> None:
    for link in links:
        link.client.disconnect()
        link.client.loop_stop()


@row(34)
async def test_nobody_asks_the_api_for_another_platforms_subscription(database_url: str) -> None:
    """Every operation of a subscription × (its own key, another platform's, an administrator of elsewhere)."""
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", prefix="other-"))
    async with api_server(database_url) as url, client(url, "admin") as admin:
        platforms: dict[str, tuple[str, str, str]] = {}
        for name, community in (("a", "test"), ("b", "test"), ("c", "other")):
            account = await service(admin, community_id=community)
            made = await subscribe(admin, account, way="mqtt", name=f"platform-{name}")
            secret = (await key(admin, account, scopes=["city_events"]))["secret"]
            platforms[name] = (made["subscription"]["id"], made["broker"]["login"]["name"], secret)
        marks = {name: (id, login) for name, (id, login, _) in platforms.items()}
        leaks, refused, cells = [], [], 0
        for asker, (_, _, secret) in platforms.items():
            async with with_key(url, secret) as http:
                for owner, (id, login) in marks.items():
                    for method, path, body in _operations(id, login):
                        cells += 1
                        answer = await http.request(method, path, **body)
                        others = [one for name, pair in marks.items() if name != asker for one in pair]
                        told = any(one in answer.text for one in others) and answer.is_success
                        if told or (asker != owner and answer.status_code not in (403, 404)):
                            leaks.append((asker, owner, method, path, answer.status_code))
                        if asker == owner and method == "GET" and answer.status_code != 200:
                            refused.append((asker, path, answer.status_code))
    note(sent=cells, lost=len(refused), doubled=0, api_cells=cells, leaks=len(leaks))
    assert leaks == [] and refused == [] and cells >= 90


def _operations(id: str, login: str) -> list[tuple[str, str, dict[str, Any]]]:
    one = f"/city/subscriptions/{id}"
    match, once = {"If-Match": '"1"'}, {"Idempotency-Key": uuid4().hex}
    return [
        ("GET", one, {}),
        ("GET", f"{one}/keys", {}),
        ("GET", f"{one}/logins", {}),
        ("GET", f"{one}/attempts", {}),
        ("GET", f"{one}/dead-letters", {}),
        ("GET", "/city/events", {"params": {"subscription": id, "cursor": 0}}),
        ("POST", f"{one}/logins", {"json": {}, "headers": once}),
        ("POST", f"{one}/logins/{login}/end", {}),
        ("PUT", one, {"json": {"name": "x"}, "headers": match}),
        ("DELETE", one, {"headers": {"If-Match": '"999"'}}),
    ]


@row(42)
async def test_broker_and_engine_killed_in_turn_lose_nothing_and_keep_the_order(breakable: Servers) -> None:
    """The broker forgets what it held since it last saved, or everything; the engine what it was waiting for. One
    reader is there, one comes and goes with a session that lasts."""
    assert breakable.stack is not None
    chance, broker, mqtt = random.Random(SEED), breakable.stack.mosquitto, breakable.mqtt
    url = with_database(breakable.database_url, DATABASE)
    await put_community(url, small_community("test"))
    db = await connect(url)
    there, visits = await put_mqtt(db), await put_mqtt(db)
    engine = ServiceProcess(
        "alerts", url, mqtt_url=mqtt.account_url("svc-alerts"), city_pace=0.01, city_mqtt_mark_s=0.2
    )
    first = await append(db, "order.note", order_data())
    heard: list[int] = []
    last = first
    async with identity_kept(url, mqtt), engine.running():
        await engine.ready()
        for login in (there, visits):
            await admitted(mqtt, login)
        async with reading(mqtt, there, again=True) as stays:
            for turn in range(KILLS):
                # Comes, and leaves before the kill: what is sent then waits in the broker's memory alone.
                async with reading(mqtt, visits) as comes:
                    _, last = await many(db, 60)
                    await until(lambda comes=comes: len(comes.heard) > 0, 120)  # type: ignore[misc]
                    await asyncio.sleep(chance.uniform(0, 0.5))
                heard += comes.seqs
                if turn % 2 == 0:
                    broker.signal(signal.SIGUSR1)  # it saves: what comes after this it forgets
                _, last = await many(db, 60)
                await asyncio.sleep(chance.uniform(0, 1.0))
                if chance.random() < 0.5:
                    await engine.kill()
                    broker.kill()
                    await engine.start()
                else:
                    broker.kill()
                    await asyncio.sleep(chance.uniform(0, 0.5))
                    await engine.kill()
                    await engine.start()
                await revive(broker)
                await engine.ready()
                note(kills=2)
            async with reading(mqtt, visits) as comes:
                await until(lambda: last in comes.seqs and last in stays.seqs, 120)
                heard += comes.seqs
            wanted = list(range(first, last + 1))
            came = {"stays": stays.first_seqs, "visits": list(dict.fromkeys(heard))}
            again = len(stays.seqs) + len(heard) - 2 * len(wanted)
    forgot = sum(len(line) > 0 for line in engine.said("city_broker_forgot"))
    await db.close()
    lost = {name: sorted(set(wanted) - set(seqs)) for name, seqs in came.items()}
    note(
        sent=2 * len(wanted),
        lost=sum(map(len, lost.values())),
        doubled=0,
        came_again_under_the_same_id=again,
        times_the_broker_had_forgotten=forgot,
    )
    assert lost == {"stays": [], "visits": []}
    assert came == {"stays": wanted, "visits": wanted}, "in order, by when each came first"
