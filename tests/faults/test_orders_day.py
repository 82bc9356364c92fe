"""Fault 41: a day of orders while ingest, engine, API, broker and database are killed at random moments.

Alarms come over MQTT, staff make their moves on phones that send until they are answered (they also give back, pause
and take photos; the desk transfers, merges, opens again), deadlines run out where nobody hurries. LINHUB_FAULT_KILLS
and LINHUB_FAULT_SEED as in `tests.fault_kit`; LINHUB_ORDERS is how many orders the day has (a campaign: 2,000).
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from PIL import Image

from deploy.embedded.part import Part
from deploy.embedded.postgres import DATABASE
from services.domain.ids import CommunityId, DeviceId, partition_of
from services.domain.registry import Account
from services.domain.vocabulary import Role, Team
from tests.api_server import KEY
from tests.conftest import Servers, with_database
from tests.factory import put_community, small_community
from tests.fault_kit import (
    KILLS,
    SEED,
    IngestProcess,
    ServiceProcess,
    Stubborn,
    assert_each_once,
    revive,
)
from tests.fault_rows import CAMPAIGN, note, row
from tests.ingest_kit import Database, Wire, database, until
from tests.orders_kit import Books, Outage, Phone, judge, moves_told

ORDERS = int(os.environ.get("LINHUB_ORDERS", "2000" if CAMPAIGN else "30"))
VICTIMS = ("alerts", "postgres", "api", "ingest", "broker")
KILLED = max(len(VICTIMS), KILLS) if CAMPAIGN else len(VICTIMS)
A_SECOND = float(os.environ.get("LINHUB_ORDERS_A_SECOND", "8"))
"""Orders that arise."""
SCALE = 0.04
"""Of the drill: an emergency is accepted within 2.4 s, and the ladder's top is reached after 12 s."""
WITHIN_S = 30.0
"""Whatever time has made due is done by then, from the restart where it fell into an outage."""
MEMBERS = 4
"""Phones of 网格 members."""
UNHURRIED = 0.25
"""Of the orders so many are left alone for a while, so that deadlines run out."""
BY_HAND = ORDERS // 5
"""Orders that staff open themselves; the others are of alarms."""
ALARMS = ORDERS - BY_HAND
A_LOOK = 5 if CAMPAIGN else 2
"""So many orders are moved after one look at them; somebody else may have moved them meanwhile."""
SETTLED_S = 900.0 + 1.2 * ORDERS if CAMPAIGN else 240.0


@dataclass
class Day:
    """Everything that runs, and what it has come to."""

    home: str
    url: str
    services: dict[str, ServiceProcess]
    parts: dict[str, Part]
    said: Stubborn
    buttons: list[str]
    phones: list[Phone]
    desk: Phone
    patrol: Phone
    books: Books = field(default_factory=Books)
    outages: list[Outage] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    unhurried: dict[str, float] = field(default_factory=dict)
    """Order → the time, on the loop's clock, before which nobody takes it."""

    async def kill(self, victim: str, chance: random.Random) -> None:
        """Kills it, starts it again after a moment, and waits until it works again, whatever else is away by then."""
        self.kills[victim] += 1
        began = datetime.now(UTC)
        if victim in self.parts:
            self.parts[victim].kill()
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            await revive(self.parts[victim])
        else:
            await self.services[victim].kill()
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            await self.services[victim].start()
        if victim in ("alerts", "postgres"):
            await until(self.evaluated)
            self.outages.append(Outage(began, datetime.now(UTC)))
        else:
            await until(lambda: self.works("ingest" if victim in self.parts else victim))

    async def works(self, name: str) -> bool:
        """Ready; it may itself be killed meanwhile."""
        service = self.services[name]
        return service.alive and await service.why() is None

    async def evaluated(self) -> bool:
        """Whether an engine that runs now holds the partition, and has said so since the database came back."""
        engine = self.services["alerts"]
        if not engine.alive:
            return False
        try:
            async with database(self.url) as db:
                owner = await db.connection.fetchval(
                    "SELECT owner FROM worker_lease "
                    "WHERE consumer = 'alerts' AND partition = $1 AND expires_at > now() + interval '0.5 s'",
                    partition_of(CommunityId(self.home)),
                )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            # The driver makes many things of a server that dies under it.
            return False
        return owner is not None and int(owner.split(":")[1]) == engine.pid


def town(home: str, buttons: int) -> Any:
    """One building, so many buttons in it, several members of its 网格."""
    small = small_community(home, prefix=f"{home}-")
    pattern = next(device for device in small.devices if device.kind == "sos_button")
    more = tuple(
        replace(pattern, id=DeviceId(f"{home}-button-{n}"), name=f"button {n}", person_id=None) for n in range(buttons)
    )
    people = tuple(
        Account(f"{home}-member{n}", f"member {n}", Role.GRID, Team.GRID, grid_id=pattern.grid_id)
        for n in range(MEMBERS)
    )
    return replace(small, devices=(*small.devices, *more), accounts=(*small.accounts, *people))


@asynccontextmanager
async def day(servers: Servers, chance: random.Random, folder: Path) -> AsyncIterator[Day]:
    assert servers.stack is not None
    url, home = with_database(servers.database_url, DATABASE), "home"
    await put_community(url, town(home, ALARMS))
    async with database(url) as db:
        await drill(db, home)
    quick = {"commit_timeout_s": 1, "retry_max_s": 0.5}
    services = {
        "ingest": IngestProcess(url, servers.mqtt.account_url("svc-ingest"), "t-home", **quick),
        "alerts": ServiceProcess(
            "alerts", url, alerts_lease_s=1, alerts_poll_s=0.2, alerts_tick_s=0.2, alerts_settling_s=0
        ),
        "api": ServiceProcess(
            "api", url, secret_key=KEY, evidence_url=(folder / "evidence").as_uri(), evidence_reserve_bytes=0
        ),
    }
    books = Books()
    wire = Wire(servers.mqtt.url)

    def base() -> str:
        return f"http://127.0.0.1:{services['api'].port}"

    try:
        async with AsyncExitStack() as stack:
            for service in services.values():
                await stack.enter_async_context(service.running())
            await asyncio.gather(*(service.ready() for service in services.values()))
            said = Stubborn(wire, home, [f"{home}-environment-1"], f"{home}-sos_button-1")
            phones = [Phone(base, f"{home}-member{n}", books, chance) for n in range(MEMBERS)]
            desk = Phone(base, f"{home}-desk", books, chance)
            patrol = Phone(base, f"{home}-patrol1", books, chance)
            for phone in (*phones, desk, patrol):
                stack.push_async_callback(phone.close)
            parts: dict[str, Part] = {"postgres": servers.stack.postgres, "broker": servers.stack.mosquitto}
            buttons = [f"{home}-button-{n}" for n in range(ALARMS)]
            yield Day(home, url, services, parts, said, buttons, phones, desk, patrol, books)
    finally:
        wire.close()


async def drill(db: Database, home: str) -> None:
    """The classes that come with LinHub, every clock of them so much faster."""
    await db.connection.execute(
        "INSERT INTO order_class_version (community_id, version, document, scale, until, created_by) "
        "VALUES ($1, 1, '', $2, now() + interval '1 day', 'test')",
        CommunityId(home),
        SCALE,
    )


async def staff(it: Day, phone: Phone, chance: random.Random) -> None:
    """One look at the open orders, and the next move on some of them, as somebody of their team makes it."""
    loop = asyncio.get_running_loop()
    orders = await phone.orders(it.home)
    chance.shuffle(orders)
    made = 0
    for order in orders:
        wait = chance.uniform(1.0, 7.0) if chance.random() < UNHURRIED else 0.0
        if loop.time() < it.unhurried.setdefault(order["id"], loop.time() + wait):
            continue
        if move := next((one for one in ("accept", "arrive", "resume", "resolve") if one in order["moves"]), None):
            await next_move(phone, order, move, chance)
            made += 1
            if made == A_LOOK:
                return


async def next_move(phone: Phone, order: dict[str, Any], move: str, chance: random.Random) -> None:
    """As a rule what comes next; now and then what happens beside it."""
    aside = chance.random()
    if aside < 0.05 and move == "accept" and "return" in order["moves"]:
        await phone.make(order, "return", reason="不在我的网格")
    elif aside < 0.1 and "note" in order["moves"]:
        await phone.make(order, "note", note="在路上")
    elif aside < 0.2 and "pause" in order["moves"]:
        # Some of these pauses end by themselves, and some of those while engine or database are away.
        until = datetime.now(UTC) + timedelta(seconds=chance.uniform(1.0, 6.0)) if chance.random() < 0.5 else None
        more = {"pause_until": until.isoformat()} if until else {}
        await phone.make(order, "pause", pause_reason="waiting_parts", **more)
    elif aside < 0.25 and move == "resolve":
        await phone.show(order, picture(chance))
    else:
        await phone.make(order, move, note="处理中")


def picture(chance: random.Random) -> bytes:
    """No two alike."""
    out = io.BytesIO()
    Image.frombytes("RGB", (16, 16), chance.randbytes(16 * 16 * 3)).save(out, "PNG")
    return out.getvalue()


async def desk(it: Day, chance: random.Random) -> None:
    """The desk checks what was done; some is not good enough and opened again, some another team's, some told twice."""
    orders = await it.desk.orders(it.home)
    chance.shuffle(orders)
    aside = next((one for one, share in (("transfer", 0.05), ("merge", 0.05)) if chance.random() < share), None)
    made = 0
    for order in orders:
        if order["state"] == "returned":
            await it.desk.make(order, "dispatch", team=order["team"])
        elif aside == "transfer" and aside in order["moves"]:
            await it.desk.make(order, aside, team="patrol" if order["team"] == "grid" else "grid")
            aside = None
        elif aside == "merge" and aside in order["moves"]:
            await it.desk.make(order, aside, merge_into=chance.choice(orders)["id"])
            aside = None
        elif "verify" in order["moves"] and chance.random() < 0.05:
            await it.desk.make(order, "reopen", reason="没有处理好")
        elif move := next((one for one in ("close", "verify") if one in order["moves"]), None):
            await it.desk.make(order, move, note="已核实")
        else:
            continue
        made += 1
        if made == 2 * A_LOOK:
            return


async def press(it: Day) -> None:
    for button in it.buttons:
        it.said.press(button)
        await asyncio.sleep(1 / A_SECOND)


async def seen(it: Day) -> None:
    """Staff open orders of their own, through whatever is away."""
    for number in range(BY_HAND):
        await it.patrol.open(
            it.home, source="patrol", title=f"巡查发现 {number}", severity="critical", team="grid", place="1号楼"
        )
        await asyncio.sleep(ALARMS / A_SECOND / BY_HAND)


async def killer(it: Day, chance: random.Random) -> None:
    """Each victim in turn, in an order of chance, at moments of chance over the whole day."""
    pause = 1.5 * ALARMS / A_SECOND / KILLED
    victims: list[str] = []
    while len(victims) < KILLED:
        victims += chance.sample(VICTIMS, len(VICTIMS))
    coming: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as tasks:
        for victim in victims[:KILLED]:
            await asyncio.sleep(chance.uniform(0.2, 1.8) * pause)
            if victim in coming:
                await coming[victim]
            coming[victim] = tasks.create_task(it.kill(victim, chance))


@row(41)
async def test_day_of_orders_with_everything_killed_loses_and_doubles_no_move(
    breakable: Servers, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    began = time.monotonic()
    async with day(breakable, chance, tmp_path) as it:
        stop = asyncio.Event()

        async def busy(work: Any, *more: Any) -> None:
            while not stop.is_set():
                await work(it, *more, chance)
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as tasks:
            for phone in (*it.phones, it.patrol):
                tasks.create_task(busy(staff, phone))
            tasks.create_task(busy(desk))
            pressing = tasks.create_task(press(it))
            killing = tasks.create_task(killer(it, chance))
            opening = tasks.create_task(seen(it))
            await asyncio.gather(pressing, killing, opening)
            await asyncio.gather(*(service.ready() for service in it.services.values()))
            again = await it.said.until_acknowledged()
            await until(lambda: all_ended(it.url), SETTLED_S)
            stop.set()
        async with database(it.url) as db:
            await assert_day(it, db)
            await assert_each_once(db, it.said)
        note(kills=sum(it.kills.values()), sent_again=again, seconds=time.monotonic() - began)


async def all_ended(url: str) -> bool:
    """Everything has its order, and every order was closed by people, or is part of another."""
    async with database(url) as db:
        counts = await db.connection.fetchrow(
            "SELECT count(*) AS orders, count(*) FILTER (WHERE state IN ('closed', 'merged')) AS ended FROM work_order"
        )
        assert counts is not None
        return bool(counts["orders"] >= ORDERS and counts["ended"] == counts["orders"])


async def assert_day(it: Day, db: Database) -> None:
    lost, doubled = await moves_told(db.connection, it.books)
    rows = await db.connection.fetch(
        "SELECT d.id, count(o.id) AS orders FROM device d LEFT JOIN work_order o USING (device_no) "
        "WHERE d.id = ANY ($1) GROUP BY d.id",
        it.buttons,
    )
    by_hand = {str(r["id"]) for r in await db.connection.fetch("SELECT id FROM work_order WHERE source = 'patrol'")}
    told = set(it.books.opened.values())
    without = [*(r["id"] for r in rows if r["orders"] == 0), *(told - by_hand)]
    several = [*(r["id"] for r in rows if r["orders"] > 1), *(by_hand - told)]
    verdict = await judge(db.connection, datetime.now(UTC), it.outages, WITHIN_S)
    note(orders=verdict.orders, moves=verdict.moves, told=len(it.books.moves), moves_sent_again=it.books.again)
    note(by_time=verdict.by_time, wrong_clocks=verdict.wrong_clocks, latest_s=verdict.latest_s)
    note(latest_after_restart_s=verdict.latest_after_restart_s, victims=str(dict(it.kills)))
    pieces = await db.connection.fetch(
        "SELECT split_part(idempotency_key, ':', 2) AS key, count(*) FROM evidence GROUP BY 1"
    )
    shown = {key for key, made in it.books.acknowledged().items() if made.move == "evidence"}
    kept = Counter({row["key"]: row["count"] for row in pieces})
    lost += [key for key in shown if not kept[key]]
    doubled += [key for key, copies in kept.items() if copies > 1]
    sorts = Counter(made.move for made in it.books.acknowledged().values())
    note(sorts_of_moves=", ".join(f"{count} {sort}" for sort, count in sorts.most_common()))
    note(lost=len(lost) + len(without), doubled=len(doubled) + len(several))
    assert not lost and not without, (lost[:3], without[:3])
    assert not doubled and not several, (doubled[:3], several[:3])
    assert not verdict.torn, verdict.torn[:5]
    assert not verdict.wrong_clocks, (verdict.early[:3], verdict.late[:3], verdict.missed[:3], verdict.unasked[:3])
    assert len(told) == BY_HAND
    assert verdict.by_time > 0, "no deadline came near: nothing was shown"
    assert set(it.kills) == set(VICTIMS)
    if CAMPAIGN:
        assert {"return", "pause", "resume", "transfer", "merge", "evidence", "reopen"} <= set(sorts), sorts
