"""Fault 23: the wall clock of the server jumps by an hour and back, or for good, while everything has a deadline.

LINHUB_FAULT_KILLS jumps at random moments; LINHUB_FAULT_SEED repeats them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

import asyncpg

from services.domain.ids import CommunityId, DeviceId, partition_of
from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.fault_kit import KILLS, SEED, IngestProcess, ServiceProcess
from tests.fault_rows import CAMPAIGN, note, row
from tests.fault_wall import Wall
from tests.ingest_kit import Database, Wire, database, now_ms, until

HOUR_S = 3600
CALLS = 4
"""SOS buttons pressed in each round, half of them while the clock is wrong."""
LADDER_S = {1: 0, 2: 60, 3: 120, 4: 240}
"""Rung → seconds after the first deadline of an emergency."""
ROUNDS = KILLS if CAMPAIGN else 2


@dataclass
class Town:
    """A community in which something of every kind is open, and the truth about what has to come of it."""

    home: str
    wire: Wire
    db: Database
    wall: Wall
    ingest: IngestProcess
    alerts: ServiceProcess
    pressed: list[str]
    gas: list[str]

    def say(self, device: str, **values: float) -> None:
        self.wire.send(f"sc/{self.home}/{device}/up/telemetry", {"ts": now_ms(), "values": values})

    def press(self, button: str) -> None:
        """The device's own clock is right."""
        self.pressed.append(button)
        message = {"id": uuid4().hex, "ts": now_ms(), "event": "pressed"}
        self.wire.send(f"sc/{self.home}/{button}/up/event", message)

    def leak(self, alarm: str) -> None:
        """Above the limit for less than its duration so far: the server's clock has to run the rest."""
        self.gas.append(alarm)
        self.say(alarm, lel=15.0, battery=90.0)

    async def order_of(self, device: str) -> asyncpg.Record | None:
        found: asyncpg.Record | None = await self.db.connection.fetchrow(
            "SELECT o.* FROM work_order o JOIN device d USING (device_no) WHERE d.id = $1", device
        )
        return found

    async def opened(self, device: str, within_s: float = 90.0) -> asyncpg.Record:
        order = await until(lambda: self.order_of(device), within_s)
        assert order is not None
        return order

    async def due_in(self, device: str, seconds: float) -> None:
        """Moves the first deadline of its order."""
        order = await self.opened(device)
        await self.db.connection.execute(
            "UPDATE work_order SET accept_due = now() + make_interval(secs => $2), attention_at = now() WHERE id = $1",
            order["id"],
            seconds,
        )


@asynccontextmanager
async def town(url: str, mqtt: Mqtt, folder: Path, count: int, hold_s: float) -> AsyncIterator[Town]:
    home, wall = f"f{uuid4().hex[:10]}", Wall(folder)
    small = small_community(home, prefix=f"{home}-")
    more = tuple(
        replace(pattern, id=DeviceId(f"{home}-{kind}-x{n}"), name=f"{kind} {n}", person_id=None)
        for kind in ("sos_button", "gas_alarm")
        for pattern in [next(device for device in small.devices if device.kind == kind)]
        for n in range(count)
    )
    await put_community(url, replace(small, devices=(*small.devices, *more)))
    shared = {"clock_hold_s": hold_s, "clock_file": folder / "clock"}
    wire = Wire(mqtt.url)
    try:
        async with AsyncExitStack() as stack:
            db = await stack.enter_async_context(database(url))
            await _door_watched_since_yesterday(db, home)
            await _somebody_on_every_rung(db, home)
            ingest = IngestProcess(url, mqtt.url, f"t-{home}", **shared).under(wall.environment)
            alerts = ServiceProcess(
                "alerts", url, alerts_lease_s=2, alerts_tick_s=0.2, alerts_poll_s=0.2, **shared
            ).under(wall.environment)
            for service in (ingest, alerts):
                await stack.enter_async_context(service.running())
            await asyncio.gather(ingest.ready(), alerts.ready())
            it = Town(home, wire, db, wall, ingest, alerts, [], [])
            for device in small.devices:
                # All of them are heard once, so that each has a silence that is counted.
                if device.kind in ("environment", "electricity_meter", "bin", "tunnel_sensor", "pv_inverter"):
                    it.say(device.id, **_CALM[device.kind])
            await wire.sent()
            wire.send(f"sc/{home}/{home}-door_magnet-1/up/telemetry", {"ts": now_ms(), "values": {"battery": 80.0}})
            yield it
    finally:
        wire.close()


_CALM: dict[str, dict[str, float]] = {
    "environment": {"temperature": 20.0, "noise": 40.0},
    "electricity_meter": {"voltage": 220.0, "power": 100.0},
    "bin": {"fill": 10.0, "temperature": 20.0},
    "tunnel_sensor": {"ch4": 0.0, "o2": 20.9},
    "pv_inverter": {"power": 1.0},
}


async def _somebody_on_every_rung(db: Database, home: str) -> None:
    await db.connection.execute("UPDATE app_user SET leads = true WHERE role IN ('staff', 'grid')")
    await db.connection.execute(
        "INSERT INTO app_user (id, username, password_hash, display_name, role, team, street_id) "
        "SELECT 'department-' || id, 'department-' || id, '', '', 'street', 'department', street_id "
        "FROM community WHERE id = $1",
        home,
    )


async def _door_watched_since_yesterday(db: Database, home: str) -> None:
    """At the elder's it is between 17:00 and 19:00, no door was opened yet, and the window ends at 19:00."""
    now = datetime.now(UTC)
    hour = 18 if now.minute < 55 else 17
    ahead = (hour - now.hour + 12) % 24 - 12
    zone = f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"
    await db.connection.execute("UPDATE community SET timezone = $2 WHERE id = $1", home, zone)
    number = await db.no(f"{home}-door_magnet-1")
    day_ms = 86_400_000
    state = f'{{"since": {now_ms() - 3 * day_ms}, "done": {now_ms() - 20 * 3_600_000}, "seen": null, "onset": null}}'
    await db.connection.execute(
        "INSERT INTO rule_state (rule_id, subject, partition, state) VALUES ($1, $2, $3, $4::text::jsonb)",
        "door_magnet.elder_indoors",
        f"device:{number}",
        partition_of(CommunityId(home)),
        state,
    )


async def steps_taken(db: Database) -> list[asyncpg.Record]:
    """Every escalation: its order, how late it came after the deadline it names, and that deadline."""
    return list(
        await db.connection.fetch(
            "SELECT order_id, idempotency_key AS key, split_part(idempotency_key, ':', 3)::int AS step, "
            "split_part(idempotency_key, ':', 4)::bigint AS due_ms, "
            "(extract(epoch FROM at) * 1000)::bigint AS at_ms "
            "FROM work_order_history WHERE idempotency_key LIKE 'escalate:accept:%'"
        )
    )


async def assert_escalated(db: Database) -> None:
    """Each order is a step further for each deadline that passed, once, when it passed; nothing else is."""
    passed_ms = now_ms()
    await until(lambda: all_climbed(db, passed_ms))
    taken, owed = await steps_taken(db), await steps_owed(db)
    seen_ms = now_ms()
    found = steps_found(taken, owed)
    missed = [what for what, due_ms in owed.items() if due_ms < passed_ms and what not in found]
    early = [what for what in found if owed[what] > seen_ms]
    doubled = len(found) - len(set(found))
    late = max((r["at_ms"] - r["due_ms"] - LADDER_S[r["step"]] * 1000 for r in taken), default=0)
    note(escalations=len(found), lost=len(missed), doubled=doubled + len(early), latest_escalation_ms=late)
    assert not missed and not doubled and not early, (missed, doubled, early)
    assert found, "no deadline ran out: nothing was shown"


async def steps_owed(db: Database) -> dict[tuple[object, int], int]:
    """(order, rung) → when it is due, ms."""
    rows = await db.connection.fetch(
        "SELECT id, (extract(epoch FROM accept_due) * 1000)::bigint AS ms FROM work_order WHERE severity = 'critical'"
    )
    return {(r["id"], rung): r["ms"] + s * 1000 for r in rows for rung, s in LADDER_S.items()}


def steps_found(taken: list[asyncpg.Record], owed: dict[tuple[object, int], int]) -> list[tuple[object, int]]:
    """Those taken for the deadline that the order has now."""
    return [(r["order_id"], r["step"]) for r in taken if abs(r["due_ms"] - owed[r["order_id"], 1]) <= 1]


async def all_climbed(db: Database, passed_ms: int) -> bool:
    taken, owed = await steps_taken(db), await steps_owed(db)
    return {what for what, due_ms in owed.items() if due_ms < passed_ms} <= set(steps_found(taken, owed))


async def assert_alerts(it: Town) -> None:
    """One for each call and each leak, and none else: nobody was offline, no door was unopened by evening."""
    rows = await it.db.connection.fetch(
        "SELECT a.rule_id, d.id, (SELECT count(*) FROM work_order o WHERE o.alert_id = a.id) AS orders "
        "FROM alert a LEFT JOIN device d USING (device_no)"
    )
    other = sorted(r["rule_id"] for r in rows if r["id"] not in {*it.pressed, *it.gas})
    raised = [r["id"] for r in rows if r["id"] in {*it.pressed, *it.gas}]
    gone = await it.db.connection.fetchval("SELECT count(*) FROM outbox WHERE type = 'device.offline'")
    missed = {*it.pressed, *it.gas} - set(raised)
    note(sent=len(it.pressed) + len(it.gas), false_alerts=len(other), false_offline=gone)
    note(lost=len(missed), doubled=len(raised) - len(set(raised)))
    assert not missed and len(raised) == len(set(raised)) and not other and not gone, (missed, other, gone)
    assert all(r["orders"] == 1 for r in rows)
    early = await it.db.connection.fetchval(
        "SELECT count(*) FROM alert WHERE rule_id LIKE 'gas_alarm%' AND fired_at < onset_at + interval '4.9 s'"
    )
    assert early == 0, "a duration was cut short"
    assert not await it.db.connection.fetchval("SELECT count(*) FROM quarantine")


@row(23)
async def test_clock_jumps_of_an_hour_and_back_move_no_deadline(database_url: str, mqtt: Mqtt, tmp_path: Path) -> None:
    """Calls, leaks and deadlines before, during and after each jump; the new time never stands for long enough.

    In some rounds both services are killed while the clock is wrong: who starts then goes by the time of the former.
    """
    chance = random.Random(SEED)
    async with town(database_url, mqtt, tmp_path, ROUNDS * CALLS, hold_s=600) as it:
        buttons = [f"{it.home}-sos_button-x{n}" for n in range(ROUNDS * CALLS)]
        for number in range(ROUNDS):
            before, during = buttons[number * CALLS :][: CALLS // 2], buttons[number * CALLS :][CALLS // 2 : CALLS]
            it.leak(f"{it.home}-gas_alarm-x{number}")
            for button in before:
                it.press(button)
                await it.due_in(button, chance.uniform(0.3, 2.5))
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            it.wall.set(chance.choice((HOUR_S, -HOUR_S)) if it.wall.off_s == 0 else -it.wall.off_s)
            await asyncio.sleep(chance.uniform(0.0, 1.2))
            if number % 4 == 1:
                await restarted(it)
            for button in during:
                it.press(button)
                await it.due_in(button, chance.uniform(0.3, 1.5))
            await asyncio.sleep(chance.uniform(0.5, 1.5))
            it.say(f"{it.home}-environment-1", **_CALM["environment"])
            if chance.random() < 0.5:
                it.wall.set(0)
            await asyncio.gather(it.ingest.ready(), it.alerts.ready())
        for alarm in it.gas:
            await it.opened(alarm)
        await assert_escalated(it.db)
        await assert_alerts(it)
        assert it.alerts.said("clock_jumped") and it.ingest.said("clock_jumped")
        note(kills=ROUNDS)


@row(23)
async def test_new_time_that_stands_is_taken_over_and_nothing_is_escalated_twice(
    database_url: str, mqtt: Mqtt, tmp_path: Path
) -> None:
    """An hour ahead for good, then back to the truth for good: every deadline is passed twice, and taken once."""
    async with town(database_url, mqtt, tmp_path, CALLS, hold_s=1.5) as it:
        for number in range(CALLS):
            it.press(f"{it.home}-sos_button-x{number}")
            await it.due_in(f"{it.home}-sos_button-x{number}", 1.0 if number else 5_000.0)
        for times, off_s in enumerate((HOUR_S, 0), start=1):
            it.wall.set(off_s)
            await until(partial(_stepped, it, times))
            await until(lambda: _all_at_the_top(it))
            # Long enough for several looks at the clocks, which find nothing more to do.
            await asyncio.sleep(1.0)
        taken = await steps_taken(it.db)
        per_order: dict[object, set[int]] = {}
        for one in taken:
            per_order.setdefault(one["order_id"], set()).add(one["step"])
        doubled = len(taken) - len({(r["order_id"], r["key"]) for r in taken})
        gone = await it.db.connection.fetchval("SELECT count(*) FROM outbox WHERE type = 'device.offline'")
        missed = CALLS - 1 - len(per_order)
        note(escalations=len(taken), false_offline=gone, lost=missed, doubled=doubled, kills=KILLS)
        # By the new time all but the first are late by the whole ladder; its own deadline is still to come.
        assert list(per_order.values()) == [set(LADDER_S)] * (CALLS - 1)
        assert doubled == 0 and gone == 0


async def restarted(it: Town) -> None:
    """They look at the clock once a second; whoever is killed in that second leaves word of the time from before."""
    for service in (it.ingest, it.alerts):
        await service.kill()
        await service.start()
    await asyncio.gather(it.ingest.ready(), it.alerts.ready())


async def _all_at_the_top(it: Town) -> bool:
    taken = await steps_taken(it.db)
    return len({(one["order_id"], one["step"]) for one in taken}) == (CALLS - 1) * len(LADDER_S)


async def _stepped(it: Town, times: int) -> bool:
    return min(len(it.alerts.said("clock_stepped")), len(it.ingest.said("clock_stepped"))) >= times
