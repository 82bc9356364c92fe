"""P3 under load and in a reconnect storm: calls for help through a system that is busy with something else.

Each call comes from a button of its own, at times fixed beforehand, whether or not the one before has arrived. What
every stretch of the way takes is told apart by the notifications that the database sends at each commit.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import asyncpg
import httpx
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from bench import storm
from bench.ingest import AHEAD, KIND, METRICS, publishers
from bench.publish import Load, generate, mqtt_connect, mqtt_packet, mqtt_string
from bench.servers import BenchServers
from bench.system import community, database, free_port, put, service
from device_sim.bearer import Bearer
from services.adapters.mqtt import Address
from services.adapters.registry import import_community
from services.domain.ids import DeviceId
from services.domain.registry import Account, Community, Device
from services.domain.vocabulary import Role, Team

RATE = 5_000
"""Messages of telemetry a second."""
COMMUNITIES = 8
DEVICES = 5_000
_WARM_S = 3.0
_PATIENCE_S = 20.0
STRETCHES = (
    ("received", "publish → received by ingest"),
    ("stored", "→ event committed by ingest"),
    ("begun", "→ alert engine decided, its transaction writes"),
    ("committed", "→ order committed"),
    ("seen", "→ on the cockpit's stream"),
)


@dataclass(slots=True)
class Call:
    """One call for help; moments by this process's wall clock, ms. None: not reached."""

    device: str
    ts_ms: int = 0
    published: float = 0.0
    received: float | None = None
    stored: float | None = None
    begun: float | None = None
    committed: float | None = None
    seen: float | None = None


@dataclass
class Listening:
    """Everything that tells how far a call has come."""

    calls: dict[str, Call] = field(default_factory=dict)
    logged: dict[tuple[int, int], float] = field(default_factory=dict)
    """(partition, seq) of the events' lane → when its commit was told."""
    left: dict[int, float] = field(default_factory=dict)
    """Outbox seq → when its commit was told."""


def wall() -> float:
    return time.time() * 1000


def button_homes(name: str, calls: int) -> Community:
    """A community of SOS buttons, with a desk that watches."""
    home = community(name, "sos_button", 0, gateways=0)
    buttons = tuple(Device(DeviceId(f"{name}-b{n}"), "sos_button", f"button {n}", "", 1.0, 1.0) for n in range(calls))
    values: dict[str, Any] = {f: getattr(home, f) for f in home.__dataclass_fields__}
    return Community(
        **{**values, "devices": buttons, "accounts": (Account(f"{name}-desk", "desk", Role.DESK, Team.DESK),)}
    )


@asynccontextmanager
async def system(servers: BenchServers, calls: int, homes: tuple[Community, ...]) -> AsyncIterator[_System]:
    """Database, ingest, alert engine and API of its own; a desk is logged in."""
    name = f"p3{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(servers.database_url, name))
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        home, password = button_homes(name, calls), secrets.token_urlsafe(16)
        await put(connection, homes)
        hashed = PasswordHash((Argon2Hasher(),)).hash(password)
        await import_community(connection, home, secret_hashes={}, password_hashes={home.accounts[0].username: hashed})
        port = free_port()
        common = {
            "LINHUB_DATABASE_URL": url,
            "LINHUB_MQTT_URL": servers.ingest_url,
            "LINHUB_MQTT_CLIENT_PREFIX": name,
            "LINHUB_HTTP_PORT": str(port),
            "LINHUB_SECRET_KEY": secrets.token_hex(32),
        }
        for one in ("ingest", "alerts"):
            await stack.enter_context(service(one, common)).ready()
        api = stack.enter_context(service("api", common))
        base = f"http://127.0.0.1:{port}/api/v1"
        login = Bearer(f"{base}/auth/token", home.accounts[0].username, password)
        async with httpx.AsyncClient(base_url=base, auth=login, trust_env=False, timeout=10) as http:
            while not await _let_in(http):
                api.check()
                await asyncio.sleep(0.05)
            yield _System(servers, connection, url, http, home)


async def _let_in(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/auth/me")).is_success
    except httpx.HTTPError:
        return False


@dataclass
class _System:
    servers: BenchServers
    connection: asyncpg.Connection[Any]
    url: str
    http: httpx.AsyncClient
    home: Community


async def under_load(
    servers: BenchServers, *, calls: int, every_s: float = 0.1, rate: int = RATE, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """So many calls while `rate` messages of telemetry a second come from other communities."""
    name = f"load{secrets.token_hex(3)}"
    homes = tuple(community(f"{name}-{n}", KIND, DEVICES // COMMUNITIES, gateways=2) for n in range(COMMUNITIES))
    async with system(servers, calls, homes) as it:
        seconds = calls * every_s + 2 * _WARM_S
        messages = round(rate * seconds)
        load = Load(servers.load_url, name, publishers(homes, 1), METRICS, messages, 1, AHEAD, rate=rate)
        stored, sent = multiprocessing.Value("q", 0), multiprocessing.Value("q", 0)
        generator = multiprocessing.Process(target=generate, args=(load, stored, sent), daemon=True)
        generator.start()
        try:
            say(f"{rate:,} messages a second, {calls} calls")
            counting = asyncio.create_task(_count(it.url, stored))
            await asyncio.sleep(_WARM_S)
            before, began = sent.value, time.perf_counter()
            found = await _calls(it, calls, every_s)
            told = round((sent.value - before) / (time.perf_counter() - began))
            counting.cancel()
        finally:
            generator.terminate()
            generator.join()
        return {"telemetry_per_s": told, **found}


async def in_storm(
    servers: BenchServers,
    *,
    calls: int,
    every_s: float = 0.05,
    devices: int = 10_000,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """So many calls while `devices` devices, direct and behind gateways, have lost the power and come back at once."""
    name = f"storm{secrets.token_hex(3)}"
    direct, gateways = devices // 10, devices // 10
    homes = tuple(
        community(f"{name}-{n}", KIND, (devices - direct - gateways) // COMMUNITIES, gateways=gateways // COMMUNITIES)
        for n in range(COMMUNITIES)
    )
    alone = community(f"{name}-d", KIND, 0, gateways=0)
    values: dict[str, Any] = {f: getattr(alone, f) for f in alone.__dataclass_fields__}
    own = tuple(Device(DeviceId(f"{name}-d-{n}"), KIND, str(n), "", 0, 0) for n in range(direct))
    homes = (*homes, Community(**{**values, "devices": own}))
    async with system(servers, calls, homes) as it:
        plan = storm.plan(servers.load_url, name, homes, METRICS)
        phase = multiprocessing.Value("i", storm.CONNECT)
        crowd = multiprocessing.Process(target=storm.run, args=(plan, phase), daemon=True)
        crowd.start()
        try:
            await _phase(phase, storm.CONNECTED, say, f"{len(plan.members):,} connections")
            await _settled(it)
            phase.value = storm.CUT
            await _phase(phase, storm.GONE, say, "power cut")
            await asyncio.sleep(1.0)
            say(f"{devices:,} devices come back")
            phase.value = storm.RETURN
            began = time.perf_counter()
            found = await _calls(it, calls, every_s)
            if phase.value != storm.BACK:
                await _phase(phase, storm.BACK, say, "not all are back yet")
            await _settled(it)
            drained = time.perf_counter() - began
        finally:
            crowd.terminate()
            crowd.join()
        alerts = await it.connection.fetch(
            "SELECT rule_id, count(*) AS n FROM alert a WHERE community_id <> $1 GROUP BY 1", it.home.id
        )
        lost = await it.connection.fetchval("SELECT count(*) FROM quarantine")
        return {
            "connections": len(plan.members),
            "devices": devices,
            "messages": plan.messages,
            "drained_s": round(drained, 1),
            "quarantined": lost,
            "other_alerts": sum(row["n"] for row in alerts),
            **found,
        }


async def _phase(phase: Synchronized[int], wanted: int, say: Callable[[str], None], words: str) -> None:
    say(words)
    async with asyncio.timeout(120):
        while phase.value != wanted:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.05)


async def _settled(it: _System) -> None:
    """Until nothing new was received for half a second and the alert engine has read it all."""
    before = -1
    while True:
        now = await it.connection.fetchval("SELECT coalesce(sum(received), 0)::bigint FROM ingest_ledger")
        if now == before and not await it.connection.fetchval(_BEHIND):
            return
        before = now
        await asyncio.sleep(0.5)


_BEHIND = """
SELECT coalesce(sum(l.last - coalesce(c.seq, 0)), 0)::bigint
FROM (SELECT partition, lane, max(seq) AS last FROM ingest_log GROUP BY partition, lane) AS l
LEFT JOIN checkpoint c ON c.consumer = 'alerts' AND c.partition = l.partition AND c.lane = l.lane
"""


async def _count(url: str, stored: Synchronized[int]) -> None:
    """Tells the generator how far the database is, so that it does not run ahead of it for ever."""
    connection = await asyncpg.connect(url)
    try:
        while True:
            stored.value = await connection.fetchval("SELECT coalesce(sum(received), 0)::bigint FROM ingest_ledger")
            await asyncio.sleep(0.2)
    finally:
        connection.terminate()


async def _calls(it: _System, count: int, every_s: float) -> dict[str, Any]:
    heard = Listening()
    ear = await asyncpg.connect(it.url)
    address = Address.parse(it.servers.load_url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(mqtt_connect(address, f"calls-{it.home.id}"))
    await reader.readexactly(4)
    opened = asyncio.Event()
    watching = asyncio.create_task(_watch(it.http, it.home.id, heard, opened))
    try:
        await ear.add_listener("ingest_log", lambda *told: _on_log(heard, told[3]))
        await ear.add_listener("outbox", lambda *told: heard.left.setdefault(int(told[3]), wall()))
        async with asyncio.timeout(_PATIENCE_S):
            await opened.wait()
        began = time.perf_counter()
        for n, device in enumerate(it.home.devices):
            await asyncio.sleep(max(0.0, began + n * every_s - time.perf_counter()))
            call = heard.calls[device.id] = Call(device.id, published=wall())
            call.ts_ms = int(call.published)
            body = json.dumps({"id": f"c{n}", "ts": call.ts_ms, "event": "pressed"}).encode()
            topic = mqtt_string(f"sc/{it.home.id}/{device.id}/up/event")
            writer.write(mqtt_packet(0x32, topic + (n % 65535 + 1).to_bytes(2, "big") + body))
            await writer.drain()
        deadline = time.perf_counter() + _PATIENCE_S
        while time.perf_counter() < deadline:
            if all(call.seen is not None for call in heard.calls.values()):
                break
            await asyncio.sleep(0.05)
        await _fill(it, heard)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        writer.close()
        await ear.close()
    return figures(list(heard.calls.values()))


def _on_log(heard: Listening, payload: str) -> None:
    partition, lane, seq = payload.split(":")
    if lane == "0":
        heard.logged.setdefault((int(partition), int(seq)), wall())


async def _watch(http: httpx.AsyncClient, home: str, heard: Listening, opened: asyncio.Event) -> None:
    name = ""
    async with http.stream("GET", f"/communities/{home}/stream", timeout=None) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            at = wall()
            kind, _, value = line.partition(": ")
            if kind == "event":
                name = value
            elif kind == "data" and name == "hello":
                opened.set()
            elif kind == "data" and name == "order":
                call = heard.calls.get(json.loads(value)["device_id"])
                if call is not None and call.seen is None:
                    call.seen = at


async def _fill(it: _System, heard: Listening) -> None:
    """The stretches in between, from what the database wrote down. Its clock is this machine's."""
    rows = await it.connection.fetch(
        "SELECT d.id, extract(epoch FROM e.received_at)::float8 * 1000 AS received FROM device_event e "
        "JOIN device d USING (device_no) WHERE d.community_id = $1",
        it.home.id,
    )
    for row in rows:
        heard.calls[row["id"]].received = row["received"]
    rows = await it.connection.fetch(
        "SELECT g.partition, g.seq, d.id FROM ingest_log g, jsonb_array_elements(g.body) AS item "
        "JOIN device d ON d.device_no = (item ->> 'device_no')::int "
        "WHERE g.lane = 0 AND d.community_id = $1 AND item ->> 'type' = 'event'",
        it.home.id,
    )
    for row in rows:
        heard.calls[row["id"]].stored = heard.logged.get((row["partition"], row["seq"]))
    rows = await it.connection.fetch(
        "SELECT x.seq, d.id, extract(epoch FROM a.created)::float8 * 1000 AS begun FROM outbox x "
        "JOIN work_order o ON o.id::text = x.subject JOIN device d USING (device_no), "
        "LATERAL (SELECT min(h.at) AS created FROM work_order_history h WHERE h.order_id = o.id) AS a "
        "WHERE x.type = 'order.create' AND x.community_id = $1",
        it.home.id,
    )
    for row in rows:
        call = heard.calls[row["id"]]
        call.begun, call.committed = row["begun"], heard.left.get(row["seq"])


def figures(calls: Sequence[Call]) -> dict[str, Any]:
    """Of the whole way and of each stretch, ms."""
    whole = [call for call in calls if call.seen is not None and call.committed is not None]
    found: dict[str, Any] = {"calls": len(calls), "lost": sum(call.seen is None for call in calls)}
    for name, key in (("committed", "committed"), ("seen", "seen")):
        taken = [getattr(call, key) - call.published for call in whole]
        found |= {f"{name}_p50_ms": percentile(taken, 50), f"{name}_p99_ms": percentile(taken, 99)}
    before = "published"
    for key, _ in STRETCHES:
        some = [
            getattr(call, key) - getattr(call, before)
            for call in whole
            if getattr(call, key) is not None and getattr(call, before) is not None
        ]
        found[f"stretch_{key}_p50_ms"], found[f"stretch_{key}_p99_ms"] = percentile(some, 50), percentile(some, 99)
        before = key
    return found


def percentile(values: Sequence[float], percent: int) -> float | None:
    if len(values) < 2:
        return round(values[0], 1) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 1)
