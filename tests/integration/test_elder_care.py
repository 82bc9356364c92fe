"""Elder care (智慧养老) from the registry to whoever is sent: real engine, database and API, days told by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from services.adapters.postgres import open_pool
from services.adapters.steady_clock import SteadyClock
from tests.api_server import api_server, client
from tests.integration.alerts_support import COMMUNITY, World, engine, until
from tests.integration.plans_support import put_default
from tests.said import lasting

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
SHANGHAI = ZoneInfo("Asia/Shanghai")
ELDER, HOME = f"{COMMUNITY}-p1", f"{COMMUNITY}-h1"
"""The elder of the small community lives alone; meter, door and band number 1 are hers."""


class HandClock(SteadyClock):
    """Stands still until it is put on."""

    def __init__(self, at_ms: int) -> None:
        super().__init__()
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms


def local_ms(hour: float, days_ago: int = 4) -> int:
    """That hour of a day that is over, on the community's clocks."""
    midnight = datetime.now(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)
    return round(midnight.timestamp() * 1000) + round(hour * HOUR)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    pool = await open_pool(database_url, name="test", max_size=4)
    world = World(database_url, pool)
    await world.prepare()
    await pool.execute("UPDATE app_user SET household_id = $1 WHERE username = 'resident1'", HOME)
    try:
        yield world
    finally:
        await pool.close()


@asynccontextmanager
async def at_home(world: World, username: str = "resident1") -> AsyncIterator[httpx.AsyncClient]:
    async with api_server(world.url) as url, client(url, username) as http:
        yield http


async def alert_of(world: World, rule: str, where: str = "true") -> asyncpg.Record:
    row: asyncpg.Record = (await until(lambda: world.alerts(f"active_rules @> '{{{rule}}}' AND {where}")))[0]
    return row


async def order_of(world: World, alert: asyncpg.Record) -> asyncpg.Record:
    """The order of the alert, once there is one: with whom, how grave, and that it was handed to them."""
    row: asyncpg.Record = (await until(lambda: world.orders(f"alert_id = '{alert['id']}'")))[0]
    assert (await world.history(row["id"]))[:2] == ["create", "dispatch"]
    return row


async def told(world: World, kind: str) -> list[dict[str, Any]]:
    rows = await world.pool.fetch("SELECT data FROM outbox WHERE type = $1 ORDER BY seq", kind)
    return [json.loads(row["data"]) if isinstance(row["data"], str) else row["data"] for row in rows]


async def water(world: World, begin_ms: int, hours: float, per_h: float = 0.0, total: float = 100.0) -> int:
    """The meter says every quarter of an hour what it shows; water runs in every other hour. When it spoke last."""
    points = []
    for step in range(1, round(hours * 4) + 1):
        at = begin_ms + step * 15 * MINUTE
        total += per_h / 4 if (step - 1) // 4 % 2 else 0.0
        points.append((at, {"total_m3": total, "flow": 0.0, "battery": 3.6, "valve": 0.0}))
    await world.series("water_meter-1", "water_meter", points)
    await world.caught_up()
    return points[-1][0]


async def asked_at_home(world: World, rule: str) -> asyncpg.Record:
    """The alert is there, nobody was sent, and those at home were asked and have half an hour."""
    alert = await alert_of(world, rule)
    assert (alert["held"], alert["order_id"], alert["severity"], alert["team"]) == (["asking"], None, "minor", "grid")
    assert not await world.orders()
    (ask,) = await told(world, "alert.ask")
    assert (ask["id"], ask["household_id"], ask["to"]) == (str(alert["id"]), HOME, ["resident", "family"])
    assert datetime.fromisoformat(ask["until"]) == alert["fired_at"] + timedelta(minutes=30)
    assert "网格员" in ask["question"]["zh"]
    return alert


async def test_water_silence_asks_first_and_without_an_answer_the_grid_goes(world: World) -> None:
    clock = HandClock(local_ms(6))
    async with engine(world, clock=clock):
        clock.at_ms = await water(world, clock.at_ms, 12)
        assert not await world.alerts()
        clock.at_ms = await water(world, clock.at_ms, 0.25)
        alert = await asked_at_home(world, "water_meter.elder_silence")
        clock.at_ms += 29 * MINUTE
        await water(world, clock.at_ms - 15 * MINUTE, 0.25)
        assert not await world.orders()
        clock.at_ms += 2 * MINUTE
        order = await order_of(world, alert)
    assert (order["team"], order["severity"], order["place"]) == ("grid", "minor", "1号楼101室")
    assert (await alert_of(world, "water_meter.elder_silence"))["held"] == []
    assert await world.outbox() == ["alert.raised", "alert.ask", "order.create", "order.dispatch", "alert.released"]


async def test_water_silence_that_was_answered_sends_nobody_until_it_worsens(world: World) -> None:
    clock = HandClock(local_ms(6))
    async with engine(world, clock=clock), at_home(world) as home:
        clock.at_ms = await water(world, clock.at_ms, 12.25)
        alert = await asked_at_home(world, "water_meter.elder_silence")
        answer = await home.post(f"/alerts/{alert['id']}/answer", json={"ok": True, "note": "在家，没事"})
        assert answer.status_code == 200, answer.text
        await alert_of(world, "water_meter.elder_silence", "held = '{answered}' AND acknowledged_by = 'user-resident1'")
        clock.at_ms = await water(world, clock.at_ms, 11.75)
        assert not await world.orders()
        clock.at_ms = await water(world, clock.at_ms, 0.25)
        worse = await alert_of(world, "water_meter.elder_silence_day")
        order = await order_of(world, worse)
    assert (worse["id"], worse["held"], worse["severity"]) == (alert["id"], [], "major")
    assert (order["team"], order["severity"]) == ("grid", "major")
    assert len(await told(world, "alert.ask")) == 1, "nobody is asked a second time"


async def test_water_silence_of_who_is_away_says_nothing_until_they_are_back(world: World) -> None:
    clock = HandClock(local_ms(6))
    async with at_home(world) as home:
        path = f"/people/{ELDER}/away"
        until_at = (datetime.now(UTC) + timedelta(days=3)).isoformat()
        assert (await home.put(path, json={"until": until_at})).status_code == 200
        async with engine(world, clock=clock):
            clock.at_ms = await water(world, clock.at_ms, 26)
        assert not await world.alerts()
        assert (await home.put(path, json={"until": None})).status_code == 200
    async with engine(world, "two", clock=clock):
        clock.at_ms = await water(world, clock.at_ms, 12)
        assert not await world.alerts(), "the twelve hours begin when they are back"
        clock.at_ms = await water(world, clock.at_ms, 0.25)
        await asked_at_home(world, "water_meter.elder_silence")


async def test_water_overuse_asks_first_and_a_no_sends_the_grid_at_once(world: World) -> None:
    clock = HandClock(local_ms(6))
    async with engine(world, clock=clock), at_home(world) as home:
        clock.at_ms = await water(world, clock.at_ms, 24.25, per_h=0.3)
        alert = await asked_at_home(world, "water_meter.elder_overuse")
        answer = await home.post(f"/alerts/{alert['id']}/answer", json={"ok": False, "note": "水管漏了"})
        assert answer.status_code == 200, answer.text
        order = await order_of(world, alert)
    assert (order["team"], order["severity"]) == ("grid", "minor")
    assert [row["rule_id"] for row in await world.alerts()] == ["water_meter.elder_overuse"]


async def test_door_not_opened_by_evening_asks_first_then_the_grid_goes(world: World) -> None:
    start = local_ms(6)
    clock = HandClock(start)

    def at(hour: float) -> int:
        """Of that same day, whenever this runs."""
        return start + round((hour - 6) * HOUR)

    async def door(hour: float, event: str) -> None:
        await world.events(world.entry("door_magnet-1", event, at(hour), at(hour)))

    async def speaks(*hours: float) -> None:
        points = [(at(hour), {"open": 0.0, "battery": 90.0}) for hour in hours]
        await world.series("door_magnet-1", "door_magnet", points)
        await world.caught_up()

    async with engine(world, clock=clock):
        await door(6.2, "opened")
        await door(6.25, "closed")
        await speaks(11)
        await door(18.9, "opened")
        await door(18.95, "closed")
        await world.caught_up()
        clock.at_ms = at(19.02)
        await speaks(19.1)
        clock.at_ms = at(23)
        await speaks(23)
        assert not await world.alerts(), "it was opened just in time"
        await speaks(29, 35, 41)
        clock.at_ms = at(24 + 18.99)
        assert not await world.alerts()
        clock.at_ms = at(24 + 19.01)
        alert = await asked_at_home(world, "door_magnet.elder_indoors")
        clock.at_ms = at(24 + 19.51)
        order = await order_of(world, alert)
    assert alert["fired_at"] == datetime.fromtimestamp(at(24 + 19) / 1000, UTC)
    assert (order["team"], order["severity"]) == ("grid", "minor")


@pytest.mark.parametrize("personal", [False, True], ids=["by default", "by her own limits"])
async def test_vitals_two_of_three_and_what_is_set_for_this_person(world: World, personal: bool) -> None:
    """Her doctor knows her lungs and worries about her pressure: the one limit is lower, the other one too."""
    if personal:
        async with at_home(world, "desk") as desk:
            for rule, limit in (("spo2_very_low", 85), ("spo2_low", 87), ("systolic_very_high", 180)):
                parameters = {"limit": limit, **({"and_limit": 86} if rule == "spo2_low" else {})}
                done = await desk.put(
                    f"/people/{ELDER}/rules/wristband.{rule}/override",
                    json={"parameters": parameters, "note": "医嘱"},
                    headers={"If-Match": '"0"'},
                )
                assert done.status_code == 200, done.text
    clock = HandClock(local_ms(9))
    fires, rests = ("systolic_very_high", "spo2_very_low") if personal else ("spo2_very_low", "systolic_very_high")
    steady = {"heart_rate": 70.0, "systolic": 130.0, "spo2": 97.0, "battery": 80.0}
    out = {**steady, "systolic": 190.0, "spo2": 90.0}

    async def measured(*values: dict[str, float]) -> None:
        points = [(clock.at_ms + n * 5 * MINUTE, one) for n, one in enumerate(values, 1)]
        await world.series("wristband-1", "wristband", points)
        await world.caught_up()
        clock.at_ms = points[-1][0]

    async with engine(world, clock=clock):
        await measured(steady, out, steady, steady)
        assert not await world.alerts(), "once is no reason to go"
        await measured(out, steady, out)
        alert = await alert_of(world, f"wristband.{fires}")
        order = await order_of(world, alert)
        assert (alert["held"], alert["severity"]) == ([], "major")
        assert (order["team"], order["severity"]) == ("grid", "major")
        assert not await world.alerts(f"rule_id LIKE 'wristband.{rests.removesuffix('_very_low')}%'")
        assert len(await world.alerts()) == 1
        await measured(steady, steady)
        await until(lambda: world.alerts("state = 'cleared'"))
    assert "alert.ask" not in await world.outbox()
    assert len(await world.orders("state = 'dispatched'")) == 1, "an alert that clears closes no order"


async def test_call_for_help_goes_out_at_once_whatever_is_silenced_or_settling(world: World) -> None:
    await put_default(world.pool, "elder_sos")
    now = datetime.now(UTC)
    silence = {
        "matcher": {"rules": ["*"]},
        "starts_at": (now - timedelta(minutes=1)).isoformat(),
        "ends_at": (now + timedelta(hours=1)).isoformat(),
        "why": "演练",
    }
    async with at_home(world, "desk") as desk:
        made = await desk.post(f"/communities/{COMMUNITY}/silences", json=silence)
        assert made.status_code == 200, made.text
    async with engine(world, alerts_settling_s=600):
        await world.event("wristband-1", "removed")
        assert (await alert_of(world, "wristband.removed"))["held"] != []
        for number, (device, event) in enumerate(
            (("wristband", "sos"), ("wristband", "fall"), ("sos_button", "pressed"))
        ):
            await world.event(f"{device}-1", event)
            alert = await alert_of(world, f"{device}.{event}")
            order = await order_of(world, alert)
            assert (alert["held"], alert["life_safety"], alert["severity"]) == ([], True, "critical")
            assert (order["team"], order["severity"], order["place"]) == ("grid", "critical", "1号楼101室")
            assert len(await world.orders()) == number + 1
            people = {
                person["id"]
                for notice in await told(world, "notice.requested")
                if notice["alert_id"] == str(alert["id"])
                for person in notice["recipients"]
            }
            assert {"user-grid1", "user-resident1"} <= people, "the 网格员 and who is at home there"
            assert "user-patrol1" not in people
    assert "alert.ask" not in await world.outbox()


async def test_band_taken_off_sends_the_grid_without_asking(world: World) -> None:
    async with engine(world):
        await world.event("wristband-1", "removed")
        alert = await alert_of(world, "wristband.removed")
        order = await order_of(world, alert)
        assert (alert["held"], alert["severity"], alert["life_safety"]) == ([], "minor", False)
        assert (order["team"], order["severity"]) == ("grid", "minor")
        await world.event("wristband-1", "removed")
        await alert_of(world, "wristband.removed", "occurrences = 2")
    assert len(await world.orders()) == 1


@pytest.mark.parametrize("tagged", [False, True], ids=["without the tag", "with the tag"])
async def test_wandering_off_matters_only_where_the_family_asked_for_it(world: World, tagged: bool) -> None:
    if tagged:
        await world.pool.execute("UPDATE person SET tags = tags || '{dementia}' WHERE id = $1", ELDER)
    clock = HandClock(local_ms(9))
    place = {"heart_rate": 75.0, "battery": 80.0, "longitude": 116.0}
    away_m = [0, 400, 900, 1040, 1500, 2000, 2300]
    points = [
        (clock.at_ms + n * 5 * MINUTE, {**place, "latitude": 29.7 + metres / 111_195})
        for n, metres in enumerate(away_m, 1)
    ]
    async with engine(world, clock=clock):
        await world.series("wristband-1", "wristband", points[:-2])
        await world.caught_up()
        assert not await world.alerts(), "just outside the margin, and not for five minutes"
        await world.series("wristband-1", "wristband", points[-2:])
        await world.caught_up()
        if not tagged:
            assert not await world.alerts()
            return
        alert = await alert_of(world, "wristband.wandered")
        order = await order_of(world, alert)
    assert (alert["held"], alert["severity"], order["team"], order["severity"]) == ([], "major", "grid", "major")
    assert "29.7" not in lasting(json.dumps([alert["trigger"], alert["why_zh"]])), "where she is, is her own affair"
