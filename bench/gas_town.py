"""Flats with gas on a whole system (broker, database, ingest, engine, API), and a city platform that listens to it."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.servers import BenchServers
from bench.system import database, free_port, service
from device_sim.bearer import Bearer
from device_sim.broker import Broker
from device_sim.fleet import Fleet
from device_sim.life import Surroundings
from services.adapters.broker_identity import secret_hash
from services.adapters.observe import serve
from services.adapters.plans.files import load_defaults
from services.adapters.plans.store import approve, write_version
from services.adapters.registry import import_community
from services.domain.ids import CommunityId, DeviceId, PersonId
from services.domain.registry import GATEWAY_KIND, Account, Building, Community, Device, Household, Person, Place
from services.domain.vocabulary import Role, Team

FLATS_A_HOUSE = 10
PATIENCE_S = 60.0
WHO = {"admin": Role.ADMIN, "desk": Role.DESK, "patrol1": Role.STAFF, "patrol2": Role.STAFF}


@dataclass(frozen=True, slots=True)
class Told:
    """An event as the city has it: its signature verified, and parsed, by packages that are not ours.

    `at`: when that was done, by this machine's clock, in seconds.
    """

    seq: int
    type: str
    data: Mapping[str, Any]
    at: float


@dataclass(slots=True)
class City:
    """The receiver of a city platform. What `standardwebhooks` does not verify is refused and kept in `refused`."""

    secret: str = ""
    events: list[Told] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/hook", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body, headers = await request.body(), dict(request.headers)
        try:
            Webhook(self.secret).verify(body, headers)
            event = from_http(HTTPMessage(headers, body), JSONFormat())
        except Exception as error:
            self.refused.append(repr(error))
            return Response(status_code=400)
        data = event.get_data()
        told = Told(int(event.get_id()), event.get_type(), data if isinstance(data, dict) else {}, time.time())
        async with self.came:
            self.events.append(told)
            self.came.notify_all()
        return Response(status_code=204)

    async def heard(self, what: str, **data: object) -> Told:
        """The first event of this type (without what stands around it) with these data."""
        name = f"cn.linhub.{what}.v1"

        def found() -> Told | None:
            fits = (one for one in self.events if one.type == name)
            return next((one for one in fits if data.items() <= one.data.items()), None)

        try:
            async with asyncio.timeout(PATIENCE_S), self.came:
                await self.came.wait_for(lambda: found() is not None)
        except TimeoutError:
            raise AssertionError(f"the city never heard of {what} with {data}; refused: {self.refused}") from None
        one = found()
        assert one is not None
        return one


@dataclass
class Town:
    """`committed`: number in the outbox → when its commit was told, by this machine's clock, in seconds."""

    community: Community
    database: asyncpg.Pool[Any]
    people: Mapping[str, httpx.AsyncClient]
    city: City
    fleet: Fleet
    committed: dict[int, float]
    subscription: str

    @property
    def flats(self) -> tuple[str, ...]:
        return tuple(one.id for one in self.community.households)

    def device(self, kind: str, flat: str | None = None) -> str:
        """Of the flat; without one, of the open space."""
        return next(d.id for d in self.community.devices if d.kind == kind and d.household_id == flat
                    and (flat is not None or d.building_id is None))  # fmt: skip

    async def commit_of(self, seq: int) -> float:
        """Numbers are given out in the order of commits, and each transaction tells of its last."""
        async with asyncio.timeout(PATIENCE_S):
            # What is told by the database may come after what the commit set off.
            while not (later := [one for one in self.committed if one >= seq]):  # noqa: ASYNC110 - filled by a callback
                await asyncio.sleep(0.01)
        return self.committed[min(later)]

    async def post(self, who: str, path: str, body: Mapping[str, Any]) -> httpx.Response:
        return await self.people[who].post(path, json=dict(body), headers={"Idempotency-Key": uuid4().hex})

    async def said(self, who: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self.post(who, path, body)
        if answer.is_error:
            raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
        found: dict[str, Any] = answer.json()
        return found


def gas_town(name: str, flats: int) -> Community:
    """Houses of ten flats, each with a detector and, behind the house's gateway, a meter; a siren and a loudspeaker to
    a house, and a siren in the open."""
    houses = tuple(
        Building(f"{name}-b{n}", f"{name}-c1", f"{name}-g1", f"{n + 1}号楼", 6, 40.0 * n, 20.0, 30.0, 12.0)
        for n in range(-(-flats // FLATS_A_HOUSE))
    )
    units = tuple(Place(f"{house.id}-u1", "1单元", house.id) for house in houses)
    homes = tuple(
        Household(
            f"{name}-h{n}", units[n // FLATS_A_HOUSE].id, 1 + n % FLATS_A_HOUSE // 2, f"{101 + n % FLATS_A_HOUSE}"
        )
        for n in range(flats)
    )

    def device(kind: str, n: int, house: Building | None, home: Household | None = None, **more: Any) -> Device:
        place = (house.name if house else "广场") + (f"{home.room}室" if home else "")
        where: dict[str, Any] = {"building_id": house.id, "unit_id": f"{house.id}-u1"} if house else {}
        at: dict[str, Any] = {"household_id": home.id, "floor": home.floor} if home else {}
        return Device(DeviceId(f"{name}-{kind}-{n}"), kind, f"{kind} {n}", place, 1.0, 1.0, **where, **at, **more)

    devices = [device("siren", 999, None, grid_id=f"{name}-g1")]
    for n, house in enumerate(houses):
        devices += [device(kind, n, house) for kind in (GATEWAY_KIND, "siren", "loudspeaker")]
    for n, home in enumerate(homes):
        house = houses[n // FLATS_A_HOUSE]
        devices.append(device("gas_alarm", n, house, home))
        devices.append(device("gas_meter", n, house, home, gateway_id=DeviceId(f"{name}-gateway-{n // FLATS_A_HOUSE}")))
    return Community(
        id=CommunityId(name), name="气站里", city="测试市", district="测试区", street=f"{name}街道",
        latitude=29.7, longitude=116.0, plan={}, compounds=(Place(f"{name}-c1", "小区"),),
        grids=(Place(f"{name}-g1", "第一网格"),), buildings=houses, units=units, households=homes,
        people=tuple(Person(PersonId(f"{home.id}-p"), home.id, "住户", 1980) for home in homes),
        devices=tuple(devices),
        accounts=tuple(
            Account(f"{name}-{who}", who, role, Team.PATROL if role is Role.STAFF else None)
            for who, role in WHO.items()
        ),
    )  # fmt: skip


@asynccontextmanager
async def town(
    servers: BenchServers, flats: int, *, plan: Callable[[str], str] = str, alerts: Mapping[str, str] | None = None
) -> AsyncIterator[Town]:
    """All of it, ready: every device online, the plan in force, the city subscribed. `plan` changes its text."""
    name = f"gas{secrets.token_hex(4)}"
    home, password = gas_town(name, flats), secrets.token_urlsafe(16)
    direct: dict[str, str] = {one.id: secrets.token_urlsafe(12) for one in home.devices if one.gateway_id is None}
    hashed = PasswordHash((Argon2Hasher(),)).hash(password)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(servers.database_url, name))
        pool = await asyncpg.create_pool(url, min_size=1, max_size=3)
        stack.push_async_callback(pool.close)
        async with pool.acquire() as connection, connection.transaction():
            await import_community(
                connection, home, secret_hashes={DeviceId(one): secret_hash(secret) for one, secret in direct.items()},
                password_hashes={one.username: hashed for one in home.accounts},
            )  # fmt: skip
            text = plan(load_defaults()["gas_leak"].document)
            number = await write_version(connection, home.id, "gas_leak", "live", text, f"{name}-admin")
            await approve(connection, home.id, "gas_leak", number, f"{name}-desk")
        if servers.admit is not None:
            await asyncio.to_thread(servers.admit, direct)
        port = free_port()
        common = {
            "LINHUB_DATABASE_URL": url,
            "LINHUB_MQTT_URL": servers.ingest_url,
            "LINHUB_MQTT_CLIENT_PREFIX": name,
            "LINHUB_HTTP_PORT": str(port),
            "LINHUB_SECRET_KEY": secrets.token_hex(32),
            "LINHUB_CITY_NETWORKS": "127.0.0.1/32",
        }
        engine = {"LINHUB_MQTT_URL": servers.alerts_url or servers.load_url, **(alerts or {})}
        running = [
            stack.enter_context(service(one, common | more))
            for one, more in (("ingest", {}), ("alerts", engine), ("api", {}))
        ]
        for one in running:
            # The API answers for its health where it answers for everything.
            await (replace(one, health_port=port) if one.name == "api" else one).ready()
        people = {
            who: await stack.enter_async_context(_person(f"http://127.0.0.1:{port}/api/v1", f"{name}-{who}", password))
            for who in WHO
        }
        city = City()
        hook = await stack.enter_async_context(serve(city.app(), "127.0.0.1", 0))
        committed = await stack.enter_async_context(_commits(url))
        fleet = await stack.enter_async_context(_alive(home, servers.device_url or servers.load_url, direct))
        it = Town(home, pool, people, city, fleet, committed, "")
        it.subscription = await _joined(it, f"http://127.0.0.1:{hook}/hook")
        yield it


async def _joined(it: Town, hook: str) -> str:
    """As an administrator lets a platform in: an account, and a webhook that hears of everything."""
    account = await it.said("admin", "/service-accounts", {
        "name": "城运中心", "role": "platform", "community_id": it.community.id})  # fmt: skip
    made = await it.said("admin", "/city/subscriptions", {
        "account_id": account["id"], "name": "城运中心", "way": "webhook", "url": hook, "types": ["*"],
        "classes": ["device"], "classes_reason": "联动处置需要知道是哪台设备"})  # fmt: skip
    it.city.secret = made["secret"]
    return str(made["subscription"]["id"])


@asynccontextmanager
async def _person(base: str, name: str, password: str) -> AsyncIterator[httpx.AsyncClient]:
    login = Bearer(f"{base}/auth/token", name, password)
    async with httpx.AsyncClient(base_url=base, auth=login, trust_env=False, timeout=30) as http:
        yield http


@asynccontextmanager
async def _commits(url: str) -> AsyncIterator[dict[int, float]]:
    told: dict[int, float] = {}
    ear = await asyncpg.connect(url)
    try:
        await ear.add_listener("outbox", lambda *heard: told.setdefault(int(heard[3]), time.time()) and None)
        yield told
    finally:
        await ear.close()


@asynccontextmanager
async def _alive(home: Community, url: str, credentials: dict[str, str]) -> AsyncIterator[Fleet]:
    """Every device connected."""
    stop = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="linhub-gas-") as folder:
        fleet = Fleet(home, Broker.at(url), credentials, Surroundings(home), home=Path(folder), with_backfill=False)
        life = asyncio.create_task(fleet.run(stop))
        try:
            async with asyncio.timeout(PATIENCE_S):
                while fleet.progress.traffic.connected < fleet.progress.stations:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            yield fleet
        finally:
            stop.set()
            await asyncio.wait_for(life, 30)
