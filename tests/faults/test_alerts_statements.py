"""Faults 28 and 29: the alert engine stopped dead at each single statement, with rules of every kind under way.

What must stand in the database is worked out by the pure engine, which replays the same log once and undisturbed.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import asyncpg

from deploy.embedded.postgres import DATABASE
from services.adapters.postgres import open_pool
from services.alerts.loading import load_roster, read_log
from services.domain.devices import BY_NAME
from services.domain.engine.core import Engine
from services.domain.engine.decisions import Clear, Ease, Raise, Recover, Release, Repeat
from services.domain.engine.entries import Unreadable, items_of
from services.domain.engine.replay import replay
from services.domain.ids import DeviceId
from services.domain.registry import Device
from tests.conftest import Servers, with_database
from tests.factory import put_community, small_community
from tests.fault_kit import KILLS, SEED, ServiceProcess, revive, tell
from tests.fault_rows import CAMPAIGN, note, row
from tests.fault_statements import Statements
from tests.integration.alerts_support import COMMUNITY, PARTITION, World, now_ms, until

KINDS = ("sos_button", "smoke_detector", "bin", "gas_alarm", "wristband", "environment", "parking_sensor", "manhole")
MINUTE_MS = 60_000
CLOCKS_RUN_S = 6.5
"""After its last message every duration of a round has run out within this: 5 s of gas, 5 s more of a last will."""
MOST_ROUNDS = max(120, 2 * KILLS + 2) if CAMPAIGN else 2 * KILLS + 2


EDITED = """\
kind: gas_alarm
rules:
  - id: gas_alarm.lel_high
    version: {version}
    title: {{zh: 燃气浓度超限{version}, en: Gas {version}}}
    severity: critical
    team: patrol
    family: gas_alarm.leak
    when:
      threshold: {{metric: lel, compare: ">=", limit: 10, for: 5s, clear_limit: 5, clear_for: 1m}}
    life_safety: true
"""


class Street(World):
    """Rounds of one story, each with devices of its own: alarms, durations, repeats, a fire, a device that dies."""

    last = 0.0
    """When the last round was said, by time.monotonic."""

    async def prepare(self) -> None:
        small = small_community(COMMUNITY)
        first = small.buildings[0]
        buildings = [replace(first, id=f"{COMMUNITY}-b-r{n}", name=f"{n}号楼") for n in range(MOST_ROUNDS)]
        patterns = {device.kind: device for device in small.devices}

        def one(kind: str, n: int, more: str = "") -> Device:
            id, building = (
                DeviceId(f"{COMMUNITY}-{kind}-r{n}{more}"),
                buildings[n].id if kind == "smoke_detector" else None,
            )
            return replace(
                patterns[kind], id=id, name=id, person_id=None, unit_id=None, household_id=None, building_id=building
            )

        devices = [one(kind, n) for n in range(MOST_ROUNDS) for kind in KINDS]
        devices += [one("smoke_detector", n, "b") for n in range(MOST_ROUNDS)]
        await put_community(
            self.url,
            replace(small, buildings=(first, *buildings), devices=(*small.devices, *devices)),
        )
        # More troubles in minutes than a community has orders in an hour: here every one of them is to send somebody.
        caps = json.dumps({"device": 100_000, "community": 100_000})
        await self.pool.execute("UPDATE community SET alert_caps = $1::text::jsonb", caps)
        rows = await self.pool.fetch("SELECT id, device_no FROM device")
        self.numbers = {r["id"]: r["device_no"] for r in rows}

    async def round(self, n: int) -> None:
        """Some log rows of both lanes; nothing in one lane concerns a device of the other."""
        now = now_ms()
        numbers, ts, rows = [], [], []
        for device, kind, at, values in (
            ("bin", "bin", now - 11 * MINUTE_MS, {"fill": 90.0}),
            ("wristband", "wristband", now - 9 * MINUTE_MS, {"heart_rate": 135.0}),
            ("bin", "bin", now - MINUTE_MS, {"fill": 85.0}),
            ("wristband", "wristband", now - 5 * MINUTE_MS, {"heart_rate": 136.0}),
            ("gas_alarm", "gas_alarm", now, {"lel": 15.0}),
            ("wristband", "wristband", now, {"heart_rate": 120.0}),
            ("bin", "bin", now, {"fill": 10.0}),
        ):
            numbers.append(self.number(f"{device}-r{n}"))
            ts.append(at)
            rows.append([values.get(metric.name) for metric in BY_NAME[kind].metrics])
        await self._append(1, numbers=numbers, ts=ts, rows=rows)
        # It was five seconds on the way to us, so that the grace of its last will runs for as long as the gas does.
        heard = {"device_no": self.number(f"manhole-r{n}"), "ts_ms": now - 5_000, "received_ms": now - 5_000}
        gone = {"type": "status", **heard, "session": 1}
        await self.seen(f"manhole-r{n}", now - 5_000, False)
        await self.events({**gone, "online": True})
        await self.events(
            self.entry(f"sos_button-r{n}", "pressed", now), self.entry(f"smoke_detector-r{n}", "alarm", now)
        )
        clock = {"type": "clock", "device_no": self.number(f"environment-r{n}"), "offset_ms": 600_000}
        await self.events(
            self.entry(f"sos_button-r{n}", "pressed", now + 1),
            self.entry(f"smoke_detector-r{n}b", "alarm", now + 2),
            {**clock, "ts_ms": now, "received_ms": now},
        )
        await self.events({**gone, "online": False})
        await self.edit(n + 2)
        self.last = time.monotonic()

    async def edit(self, version: int) -> None:
        """Another title for the rule whose duration is running: the engine takes it up in mid-flight."""
        await self.pool.execute(
            "INSERT INTO rule_version "
            "(community_id, rule_id, version, kind, mode, document, created_by, default_version) "
            "VALUES ($1, 'gas_alarm.lel_high', $2, 'gas_alarm', 'live', $3, 'test', 1)",
            COMMUNITY,
            version,
            EDITED.format(version=version),
        )

    async def deadline(self, n: int) -> None:
        """The first of this round's call for help runs out now."""
        await self.pool.execute(
            "UPDATE work_order SET accept_due = now(), attention_at = now() "
            "WHERE device_no = $1 AND accept_due > now()",
            self.number(f"sos_button-r{n}"),
        )


@asynccontextmanager
async def street(url: str) -> AsyncIterator[Street]:
    pool = await open_pool(url, name="test", max_size=4)
    try:
        world = Street(url, pool)
        await world.prepare()
        yield world
    finally:
        await pool.close()


@dataclass
class Truth:
    """What the log comes to: alerts, and how often each was raised, repeated, worsened, recovering, cleared."""

    alerts: dict[Any, Raise] = field(default_factory=dict)
    occurred: Counter[tuple[Any, str]] = field(default_factory=Counter)
    sent: set[Any] = field(default_factory=set)
    """Alerts that somebody was sent for, now or after they were held back."""


async def truth(world: Street) -> Truth:
    found = Truth()
    async with world.pool.acquire() as connection:
        roster = await load_roster(connection, PARTITION, BY_NAME)
        rows = [one for lane in (0, 1) for one in await read_log(connection, PARTITION, lane, 0, 1_000_000)]
    items = [item for one in rows for item in items_of(one, roster)]
    assert not [item for item in items if isinstance(item, Unreadable)]
    known = sorted((item for item in items if not isinstance(item, Unreadable)), key=lambda item: item.received_ms)
    engine = Engine(roster)
    engine.listen(0, 0)
    for decided in replay(engine, known, now_ms()):
        for decision in decided.decisions:
            match decision:
                case Raise():
                    found.alerts[decision.id] = decision
                    found.occurred[decision.id, "raised"] += 1
                    if decision.sends:
                        found.sent.add(decision.id)
                case Repeat() if decision.counts:
                    found.occurred[decision.alert.id, "severity" if decision.worse else "repeated"] += 1
                case Recover():
                    found.occurred[decision.id, "recovering"] += 1
                case Clear() if not decision.active_rules:
                    found.occurred[decision.id, "cleared"] += 1
                case Ease():
                    found.occurred[decision.id, "severity"] += 1
                case Release():
                    found.sent.add(decision.alert.id)
    return found


async def assert_true(world: Street) -> None:
    """The database holds what the undisturbed replay says, each once: alerts, occurrences, orders, announcements."""
    wanted = await truth(world)
    # How late the engine was is a matter of this machine and of the kills, not of the log.
    rows = await world.pool.fetch("SELECT id, rule_id, order_id FROM alert WHERE kind <> 'platform'")
    edited = await world.pool.fetchval("SELECT count(*) FROM alert WHERE rule_version > 1")
    assert edited, "no edit of a rule was taken up"
    occurred = Counter(
        {
            (r["alert_id"], r["what"]): r["times"]
            for r in await world.pool.fetch(
                # An engine that catches up holds back until it has read everything: whether it did is its own affair.
                "SELECT alert_id, what, count(*) AS times FROM alert_occurrence WHERE what NOT IN ('held', 'released') "
                "AND alert_id NOT IN (SELECT id FROM alert WHERE kind = 'platform') GROUP BY alert_id, what"
            )
        }
    )
    missed = [one.rule_id for id, one in wanted.alerts.items() if id not in {r["id"] for r in rows}]
    false = [r["rule_id"] for r in rows if r["id"] not in wanted.alerts]
    fewer, more = wanted.occurred - occurred, occurred - wanted.occurred
    note(sent=len(wanted.alerts), alerts=len(rows), occurrences=occurred.total(), false=len(false))
    note(lost=len(missed) + fewer.total(), doubled=len(false) + more.total())
    assert not missed and not false, (Counter(missed), Counter(false))
    for id, what in fewer + more:
        tell(f"{'fewer' if (id, what) in fewer else 'more'} {what}: {await _story(world, id)}")
    assert not fewer and not more
    # What is not of life safety and was over before the engine that was killed came back sends nobody.
    over = {id for id, what in wanted.occurred if what == "cleared" and not wanted.alerts[id].life_safety}
    opening = {id for id in wanted.sent - over if wanted.alerts[id].opens_order}
    helpless = [r["rule_id"] for r in rows if r["order_id"] is None and r["id"] in opening]
    orders = await world.orders()
    twice = len(orders) - len({order["alert_id"] for order in orders})
    note(orders=len(orders), lost=len(helpless), doubled=twice)
    assert not helpless and not twice, Counter(helpless)
    await _assert_announced_once(world.pool, len(orders))


async def _story(world: Street, id: Any) -> str:
    rows = await world.pool.fetch(
        "SELECT a.rule_id, o.what, o.trigger FROM alert a JOIN alert_occurrence o ON o.alert_id = a.id "
        "WHERE a.id = $1 ORDER BY o.id",
        id,
    )
    return f"{rows[0]['rule_id']}: " + ", ".join(f"{r['what']} {str(r['trigger'])[:120]}" for r in rows)


async def _assert_announced_once(pool: asyncpg.Pool[Any], orders: int) -> None:
    """Every change of an order stands once in its history and once in the outbox; every alert was announced once."""
    # One moment of all of it: the engine goes on, and a clock may move an order between two looks.
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        told = await connection.fetch("SELECT type, subject, data ->> 'version' AS version FROM outbox")
        history = await connection.fetch(
            "SELECT order_id::text, version::text, idempotency_key FROM work_order_history"
        )
        raised = {str(row["id"]) for row in await connection.fetch("SELECT id FROM alert")}
    moves = [(t["subject"], t["version"]) for t in told if t["type"].startswith("order.")]
    assert sorted(moves) == sorted((h["order_id"], h["version"]) for h in history)
    announced = [t["subject"] for t in told if t["type"] == "alert.raised"]
    assert len(announced) == len(raised) and set(announced) == raised
    assert len([t for t in told if t["type"] == "order.create"]) == orders
    keys = [(h["order_id"], h["idempotency_key"]) for h in history if h["idempotency_key"] is not None]
    assert len(keys) == len(set(keys))


async def run_out(world: Street) -> None:
    """Until the log is read and every duration in it has run out."""
    await world.caught_up()
    await asyncio.sleep(max(0.0, world.last + CLOCKS_RUN_S - time.monotonic()))
    wanted = len((await truth(world)).alerts)
    await until(lambda: _at_least(world, wanted))


async def comes(event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(CLOCKS_RUN_S + 2):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _at_least(world: Street, alerts: int) -> bool:
    return int(await world.pool.fetchval("SELECT count(*) FROM alert")) >= alerts


AT_ONCE = {"alerts_settle_s": 0, "alerts_settling_s": 0, "alerts_slack_s": 0}
"""Nothing waits because the engine has just started: it starts over and over here."""


def engine_process(url: str) -> ServiceProcess:
    return ServiceProcess("alerts", url, alerts_lease_s=1, alerts_tick_s=0.2, alerts_poll_s=0.2, **AT_ONCE)


def plan(seen: Counter[str], chance: random.Random, all_of_them: bool = CAMPAIGN) -> list[tuple[str, bool]]:
    """(statement, after it?): in a campaign each of them both ways, and as many as asked for; else a few."""
    points = [(statement, after) for statement in sorted(seen) for after in (False, True)]
    chance.shuffle(points)
    if not all_of_them:
        return points[:KILLS]
    return (points * KILLS)[: max(len(points), KILLS)]


@row(28)
async def test_engine_killed_at_each_statement_misses_and_doubles_nothing(database_url: str) -> None:
    """A story goes on in every round; the engine is killed -9 before a statement, or before its answer."""
    chance = random.Random(SEED)
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(street(database_url))
        victims: list[ServiceProcess] = []
        between = Statements(database_url, lambda: victims[0].signal(signal.SIGKILL))
        await stack.enter_async_context(between.running())
        victims.append(await stack.enter_async_context(engine_process(between.url).running()))
        victim = victims[0]
        await victim.ready()
        await world.round(0)
        await world.caught_up()
        await world.deadline(0)
        await asyncio.sleep(1.0)
        points = plan(between.seen, chance)
        planned, spared = set(points), set[tuple[str, bool]]()
        kills = n = 0
        while points:
            n, (statement, after) = n + 1, points.pop(0)
            between.stop_at(statement, after)
            await world.round(n)
            await asyncio.sleep(0.05)
            await world.deadline(n)
            await world.deadline(n - 1)
            if await comes(between.reached):
                kills += 1
                spared.discard((statement, after))
                await victim.exit_code()
                await victim.start()
                await victim.ready()
            else:
                # Which turn an item falls into decides whether some statements are needed: it has a second chance.
                between.disarm()
                if (statement, after) not in spared:
                    points.append((statement, after))
                spared.add((statement, after))
            if CAMPAIGN and not points:
                # What only a later round needed.
                points = [point for point in plan(between.seen, chance) if point not in planned]
                planned.update(points)
        await run_out(world)
        await assert_true(world)
        left = sorted(f"{'after' if after else 'before'} {statement}" for statement, after in spared)
        note(kills=kills, statements=len(between.seen), points=f"{kills} of {2 * len(between.seen)}")
        note(spared=" / ".join(left) or "none")
        assert not CAMPAIGN or len(left) <= 2, left


@row(29)
async def test_two_engines_of_which_one_is_killed_or_robbed_at_a_statement_do_no_harm(database_url: str) -> None:
    """Both are at work from the start. The lease is taken by a third who never comes, or its owner is killed."""
    chance = random.Random(SEED)
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(street(database_url))
        robberies: set[asyncio.Task[Any]] = set()

        def rob() -> None:
            # Waits for the transaction that holds the lease, as another engine would.
            robberies.add(asyncio.create_task(world.pool.execute(ROB, PARTITION)))

        engines: list[ServiceProcess] = []
        dying: set[int] = set()

        def kill(place: int) -> None:
            engines[place].signal(signal.SIGKILL)
            dying.add(place)

        ways: list[tuple[Statements, Statements]] = []
        for place in range(2):
            deadly = Statements(database_url, partial(kill, place))
            await stack.enter_async_context(deadly.running())
            robbing = Statements(deadly.url, rob, goes_on=True)
            await stack.enter_async_context(robbing.running())
            ways.append((deadly, robbing))
            engines.append(await stack.enter_async_context(engine_process(robbing.url).running()))
        await asyncio.gather(*(engine.ready() for engine in engines))
        await world.round(0)
        await world.caught_up()
        await world.deadline(0)
        await asyncio.sleep(1.0)
        seen = ways[0][0].seen + ways[1][0].seen
        points = [point for point in plan(seen, chance, all_of_them=True) if point[0].startswith(EVERY_TURN)][:KILLS]
        points = (points * KILLS)[:KILLS]
        struck_at = 0
        for n, (statement, after) in enumerate(points, start=1):
            killing = n % 2 == 1
            struck = [way[0 if killing else 1] for way in ways]
            for one in struck:
                one.stop_at(statement, after)
            await world.round(n)
            await asyncio.sleep(0.05)
            await world.deadline(n)
            await world.deadline(n - 1)
            came = await first_of(struck)
            for one in struck:
                one.disarm()
            struck_at += came
            for place in sorted(dying):
                await engines[place].exit_code()
                await engines[place].start()
            dying.clear()
        await asyncio.gather(*(engine.ready() for engine in engines), *robberies)
        await run_out(world)
        await assert_true(world)
        note(kills=struck_at, robbed=len(robberies))


EVERY_TURN = (
    "COMMIT",
    "INSERT INTO alert",
    "INSERT INTO work_order",
    "SELECT true FROM worker_lease",
    "UPDATE checkpoint",
)
"""How statements begin that each round needs at once, however its items fall into turns."""
ROB = (
    "UPDATE worker_lease SET owner = 'thief', epoch = epoch + 1, expires_at = now() + interval '0.5 s' "
    "WHERE consumer = 'alerts' AND partition = $1"
)


async def first_of(struck: list[Statements]) -> bool:
    waits = [asyncio.create_task(one.reached.wait()) for one in struck]
    done, rest = await asyncio.wait(waits, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    for one in rest:
        one.cancel()
    return bool(done)


@row(28)
async def test_database_killed_at_a_statement_loses_and_doubles_nothing(breakable: Servers) -> None:
    """The turn in hand is gone with it; the engine starts over from what is committed."""
    chance = random.Random(SEED)
    assert breakable.stack is not None
    postgres = breakable.stack.postgres
    url = with_database(breakable.database_url, DATABASE)
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(street(url))
        between = Statements(url, postgres.kill)
        await stack.enter_async_context(between.running())
        engine = await stack.enter_async_context(engine_process(between.url).running())
        await engine.ready()
        await world.round(0)
        await world.caught_up()
        await asyncio.sleep(0.5)
        rounds = KILLS if CAMPAIGN else 1
        points = [point for point in plan(between.seen, chance, all_of_them=True) if point[0].startswith(EVERY_TURN)]
        for n, (statement, after) in enumerate((points * rounds)[:rounds], start=1):
            engine.freeze()
            await world.round(n)
            between.stop_at(statement, after)
            engine.thaw()
            async with asyncio.timeout(90):
                await between.reached.wait()
            between.drop()
            await revive(postgres)
        await engine.ready()
        await run_out(world)
        await assert_true(world)
        note(kills=rounds)
