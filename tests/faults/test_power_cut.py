"""Fault 25: the power goes in several communities at once, thousands of last wills come, and everybody is back at once.

A campaign takes 10,000 devices; the short form 480. LINHUB_FAULT_SEED as in `tests.fault_kit`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from multiprocessing.sharedctypes import Synchronized
from typing import Any
from uuid import uuid4

from bench import storm
from bench.publish import Metric
from services.domain.ids import CommunityId, DeviceId
from services.domain.registry import GATEWAY_KIND, Building, Community, Device, Place
from tests.conftest import Mqtt
from tests.factory import put_community
from tests.fault_kit import SEED, IngestProcess, ServiceProcess
from tests.fault_rows import CAMPAIGN, note, row
from tests.ingest_kit import Database, Wire, database, now_ms, until

COMMUNITIES = 3
GATEWAYS = 667 if CAMPAIGN else 32
"""A community."""
BEHIND = 4
BUTTONS = 60 if CAMPAIGN else 12
"""On batteries of their own, pressed while it happens."""
DARK_S = 25.0 if CAMPAIGN else 11.5
"""Longer than the grace of a last will, and than the patience with any device behind a gateway."""
CHILD_INTERVAL_S = 3
METRICS = (Metric("temperature", 18, 22), Metric("noise", 30, 40))


def quarter(name: str) -> Community:
    """Environment sensors behind gateways on the mains, and SOS buttons on a battery."""
    gateways = [
        Device(DeviceId(f"{name}-g{n}"), GATEWAY_KIND, f"g{n}", "", 0, 0, building_id=f"{name}-b{n % 8}")
        for n in range(GATEWAYS)
    ]
    behind = [
        Device(DeviceId(f"{g.id}-{n}"), "environment", f"{n}", "", 0, 0, gateway_id=g.id, interval_s=CHILD_INTERVAL_S)
        for g in gateways
        for n in range(BEHIND)
    ]
    buttons = [Device(DeviceId(f"{name}-sos{n}"), "sos_button", f"{n}", "", 0, 0) for n in range(BUTTONS)]
    return Community(
        id=CommunityId(name),
        name=name,
        city="c",
        district="d",
        street="s",
        latitude=30.0,
        longitude=120.0,
        plan={},
        compounds=(Place(f"{name}-c", "小区"),),
        grids=(Place(f"{name}-gr", "网格"),),
        buildings=tuple(
            Building(f"{name}-b{n}", f"{name}-c", f"{name}-gr", f"{n}号楼", 6, 0.0, 0.0, 9.0, 9.0) for n in range(8)
        ),
        units=(),
        households=(),
        people=(),
        devices=(*gateways, *behind, *buttons),
    )


@contextmanager
def crowd(plan: storm.Plan) -> Iterator[Synchronized[int]]:
    phase = multiprocessing.Value("i", storm.CONNECT)
    process = multiprocessing.Process(target=storm.run, args=(plan, phase), daemon=True)
    process.start()
    try:
        yield phase
    finally:
        process.terminate()
        process.join()


async def reached(phase: Synchronized[int], wanted: int) -> bool:
    return phase.value == wanted


class Callers:
    """Buttons pressed one by one through it all; each call has its moment."""

    def __init__(self, wire: Wire, buttons: list[tuple[str, str]]) -> None:
        self._wire, self._left = wire, buttons
        self.pressed: dict[str, int] = {}

    async def press(self, seconds: float, share: float) -> None:
        """This share of all, over so long."""
        count = round(share * (len(self._left) + len(self.pressed)))
        some, self._left = self._left[:count], self._left[count:]
        for home, button in some:
            self.pressed[button] = now_ms()
            message = {"id": uuid4().hex, "ts": self.pressed[button], "event": "pressed"}
            self._wire.send(f"sc/{home}/{button}/up/event", message)
            await asyncio.sleep(seconds / len(some))


@row(25)
async def test_power_cut_raises_its_causes_only_and_calls_for_help_pass_through(database_url: str, mqtt: Mqtt) -> None:
    chance = random.Random(SEED)
    homes = tuple(quarter(f"f{uuid4().hex[:8]}") for _ in range(COMMUNITIES))
    buttons = [(home.id, device.id) for home in homes for device in home.devices if device.kind == "sos_button"]
    chance.shuffle(buttons)
    for home in homes:
        await put_community(database_url, home)
    mains = tuple(
        Community(**{**_values(home), "devices": tuple(d for d in home.devices if d.kind != "sos_button")})
        for home in homes
    )
    plan = storm.plan(mqtt.url, "storm", mains, METRICS)
    wire = Wire(mqtt.url)
    try:
        async with AsyncExitStack() as stack:
            db = await stack.enter_async_context(database(database_url))
            ingest = IngestProcess(database_url, mqtt.url, f"t-{homes[0].id}")
            engine = ServiceProcess("alerts", database_url, alerts_settle_s=0, alerts_settling_s=0, alerts_tick_s=0.2)
            for service in (ingest, engine):
                await stack.enter_async_context(service.running())
            await asyncio.gather(ingest.ready(), engine.ready())
            callers = Callers(wire, [(str(home), str(button)) for home, button in buttons])
            with crowd(plan) as phase:
                await until(lambda: reached(phase, storm.CONNECTED))
                await until(lambda: all_seen(db, len(plan.members)))
                phase.value = storm.CUT
                dark = time.monotonic()
                await callers.press(2.0, 0.5)
                await asyncio.sleep(max(0.0, dark + DARK_S - time.monotonic()))
                causes = await until(lambda: gateways_off(db, len(plan.members)))
                phase.value = storm.RETURN
                began = time.monotonic()
                await callers.press(2.0, 0.5)
                await until(lambda: reached(phase, storm.BACK), 120)
                await until(lambda: all_back(db), 120)
                back_s = time.monotonic() - began
                await assert_causes_only(db, homes, causes)
                await assert_helped(db, callers.pressed)
                note(sent=len(callers.pressed), devices=len(homes) * GATEWAYS * (1 + BEHIND), back_s=back_s)
    finally:
        wire.close()


def _values(home: Community) -> dict[str, Any]:
    return {name: getattr(home, name) for name in home.__dataclass_fields__}


async def all_seen(db: Database, connections: int) -> bool:
    """Every gateway is known to be online, and every device behind one has been heard."""
    row = await db.connection.fetchrow(
        "SELECT count(*) FILTER (WHERE d.kind = 'gateway' AND s.online) AS gateways, "
        "count(*) FILTER (WHERE d.kind = 'environment') AS others FROM device_state s JOIN device d USING (device_no)"
    )
    assert row is not None
    return bool(row["gateways"] == connections and row["others"] == connections * BEHIND)


_OFF = "SELECT count(*) FROM alert WHERE rule_id = 'gateway.offline' AND state <> 'cleared'"


async def gateways_off(db: Database, gateways: int) -> int:
    """How many alerts say it, once all gateways are known to be off."""
    off = await db.connection.fetchval(
        "SELECT count(*) FROM device_state s JOIN device d USING (device_no) WHERE d.kind = 'gateway' AND NOT s.online"
    )
    return int(await db.connection.fetchval(_OFF)) if off == gateways else 0


async def all_back(db: Database) -> bool:
    """No device of the mains is off, no alert of the cut is open."""
    off = await db.connection.fetchval(
        "SELECT count(*) FROM device_state s JOIN device d USING (device_no) WHERE d.kind = 'gateway' AND NOT s.online"
    )
    return bool(off == 0 and await db.connection.fetchval(_OFF) == 0)


async def assert_causes_only(db: Database, homes: tuple[Community, ...], causes: int) -> None:
    """At most one alert a gateway, none of what is behind it, and no order twice."""
    rows = await db.connection.fetch(
        "SELECT a.rule_id, a.device_no, d.kind FROM alert a LEFT JOIN device d USING (device_no) "
        "WHERE d.kind IS DISTINCT FROM 'sos_button'"
    )
    children = [r["rule_id"] for r in rows if r["kind"] == "environment"]
    per_gateway = Counter(r["device_no"] for r in rows if r["kind"] == "gateway")
    held = await db.connection.fetchval("SELECT count(*) FROM device d JOIN alert a ON a.device_no = d.gateway_no")
    doubled = sum(count - 1 for count in per_gateway.values())
    note(causes=causes, other_alerts=len(rows) - len(per_gateway), held_children=held)
    note(lost=0, doubled=doubled + len(children))
    assert not children, Counter(children)
    assert doubled == 0 and causes >= 1
    assert len(rows) <= len(homes) * GATEWAYS


async def assert_helped(db: Database, pressed: dict[str, int]) -> None:
    """Each call has one order; how long it took from the press to the order's commit, by the database's clock."""

    async def orders() -> list[Any]:
        found = await db.connection.fetch(
            "SELECT d.id, x.at FROM work_order o JOIN device d USING (device_no) "
            "JOIN outbox x ON x.subject = o.id::text AND x.type = 'order.create' WHERE d.id = ANY ($1)",
            list(pressed),
        )
        return list(found) if len({r["id"] for r in found}) == len(pressed) else []

    rows = await until(orders)
    took = sorted(row["at"].timestamp() * 1000 - pressed[row["id"]] for row in rows)
    note(lost=len(pressed) - len({r["id"] for r in rows}), doubled=len(rows) - len(pressed))
    note(call_to_order_p50_ms=statistics.median(took), call_to_order_worst_ms=took[-1])
    assert len(rows) == len(pressed)
