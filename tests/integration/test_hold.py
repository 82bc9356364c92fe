"""What is held back, on real engines and a real database: held, released, asked about; one order, never two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from services.adapters.orders import apply_move, fetch_order
from services.adapters.postgres import open_pool
from services.alerts import partition, sendings, store
from services.domain.ids import CommunityId
from services.domain.orders import Actor, Move, MoveRequest
from services.domain.vocabulary import Role, Team
from tests.api_server import api_server, client
from tests.integration.alerts_support import COMMUNITY, World, engine, now_ms, until

DESK = Actor("user-desk", Role.DESK, Team.DESK, CommunityId(COMMUNITY))


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    pool = await open_pool(database_url, name="test", max_size=4)
    world = World(database_url, pool)
    await world.prepare()
    try:
        yield world
    finally:
        await pool.close()


@pytest.fixture
async def desk(database_url: str, world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with api_server(database_url) as url, client(url, "desk") as http:
        yield http


async def make_silence(http: httpx.AsyncClient, *, seconds: float = 3600, **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    body = {
        "matcher": {"kinds": ["bin"]},
        "starts_at": (now - timedelta(minutes=1)).isoformat(),
        "ends_at": (now + timedelta(seconds=seconds)).isoformat(),
        "why": "清运",
    }
    answer = await http.post(f"/communities/{COMMUNITY}/silences", json={**body, **more})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def the_alert(world: World, where: str = "true") -> asyncpg.Record:
    row: asyncpg.Record = (await until(lambda: world.alerts(where)))[0]
    return row


async def occurrences(world: World) -> list[str]:
    return [row["what"] for row in await world.pool.fetch("SELECT what FROM alert_occurrence ORDER BY id")]


async def overflow(world: World, device: str = "bin-1") -> None:
    await world.event(device, "overflow")


@pytest.mark.parametrize("restarted", [False, True], ids=["one engine", "restarted within"])
async def test_silence_that_ends_opens_the_order_then(world: World, desk: httpx.AsyncClient, restarted: bool) -> None:
    made = await make_silence(desk)
    async with engine(world):
        await overflow(world)
        alert = await the_alert(world)
        assert (alert["held"], alert["order_id"], alert["suppressed"]) == ([f"silence:{made['id']}"], None, 1)
        await overflow(world)
        await the_alert(world, "occurrences = 2 AND suppressed = 2")
        assert not await world.orders()
        if not restarted:
            assert (await desk.post(f"/silences/{made['id']}/end")).status_code == 200
            await until(world.orders)
    if restarted:
        assert (await desk.post(f"/silences/{made['id']}/end")).status_code == 200
        async with engine(world, "two"):
            await until(world.orders)
    alert = await the_alert(world)
    order = (await world.orders())[0]
    assert (alert["held"], alert["order_id"], alert["released_at"] is None) == ([], order["id"], False)
    assert await world.history(order["id"]) == ["create", "dispatch"]
    assert await occurrences(world) == ["raised", "repeated", "released"]
    told = await world.outbox()
    assert [kind for kind in told if not kind.startswith("order")] == [
        "silence.created",
        "alert.raised",
        "alert.repeated",
        "silence.ended",
        "alert.released",
    ]
    assert (await desk.post(f"/silences/{made['id']}/end")).status_code == 409


async def test_silence_runs_out_by_itself_and_does_not_touch_life_safety(world: World, desk: httpx.AsyncClient) -> None:
    made = await make_silence(desk, seconds=10, matcher={"rules": ["*"]})
    async with engine(world):
        await overflow(world)
        await world.event("sos_button-1", "pressed")
        sos = await the_alert(world, "life_safety AND order_id IS NOT NULL")
        assert (sos["held"], sos["released_at"]) == ([], None)
        full = await the_alert(world, "kind = 'bin' AND order_id IS NOT NULL")
    assert full["released_at"] >= datetime.fromisoformat(made["ends_at"]) - timedelta(milliseconds=1)
    assert len(await world.orders()) == 2


async def test_silence_cleared_under_it_is_counted_and_opens_nothing(world: World, desk: httpx.AsyncClient) -> None:
    await make_silence(desk, matcher={"kinds": ["gas_alarm", "electricity_meter"]})
    async with engine(world):
        at = now_ms() - 400_000
        for step in range(8):
            await world.reading("electricity_meter-1", "electricity_meter", {"voltage": 250.0}, at + step * 50_000)
        await the_alert(world, "kind = 'electricity_meter' AND held <> '{}'")
        await world.reading("electricity_meter-1", "electricity_meter", {"voltage": 220.0}, at + 400_000)
        await world.reading("electricity_meter-1", "electricity_meter", {"voltage": 220.0}, at + 460_000)
        await the_alert(world, "state = 'cleared'")
    assert not await world.orders()
    counts = (await desk.get(f"/communities/{COMMUNITY}/alerts/summary")).json()
    assert (counts["raised"], counts["suppressed"], counts["suppressed_by"], counts["held"], counts["orders"]) == (
        1,
        1,
        {"silence": 1},
        0,
        0,
    )
    listed = (await desk.get(f"/communities/{COMMUNITY}/alerts", params={"state": "all"})).json()["items"][0]
    assert (listed["suppressed"], listed["held"][0].partition(":")[0], listed["shadow"]) == (1, "silence", False)


async def test_two_engines_release_once(world: World, desk: httpx.AsyncClient) -> None:
    made = await make_silence(desk, matcher={"rules": ["*"]})
    async with engine(world, "one"), engine(world, "two"):
        await overflow(world)
        await world.event("highthrow_camera-1", "thrown")
        await world.caught_up()
        await until(lambda: world.alerts("held <> '{}'"))
        await desk.post(f"/silences/{made['id']}/end")
        await until(lambda: world.alerts("order_id IS NOT NULL"))
        await world.pool.execute("UPDATE worker_lease SET expires_at = now() - interval '1 s'")
        await asyncio.sleep(0.5)
        await world.caught_up()
    assert len(await world.orders()) == len(await world.alerts())
    assert not await world.alerts("order_id IS NULL")


async def test_release_that_fails_to_commit_is_made_again_once(
    world: World, desk: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await make_silence(desk)
    failures = 0
    whole = sendings.release

    async def breaks(*arguments: Any) -> Any:
        nonlocal failures
        row = await whole(*arguments)
        failures += 1
        if failures <= 3:
            raise ConnectionResetError("killed here")
        return row

    monkeypatch.setattr(store, "release", breaks)
    async with engine(world):
        await overflow(world)
        await the_alert(world)
        await desk.post(f"/silences/{made['id']}/end")
        await until(world.orders)
        assert failures == 4
    assert len(await world.orders()) == 1
    assert await occurrences(world) == ["raised", "released"]


async def test_the_very_first_start_has_nothing_to_settle(world: World) -> None:
    async with engine(world, alerts_settling_s=60):
        await overflow(world)
        alert = await the_alert(world, "kind = 'bin' AND order_id IS NOT NULL")
        assert alert["held"] == []


async def test_a_first_start_settles_where_the_log_is_older(world: World) -> None:
    await world.event("sos_button-1", "pressed")
    await world.pool.execute("UPDATE ingest_log SET committed_at = now() - interval '61 s'")
    async with engine(world, alerts_settling_s=60):
        await overflow(world)
        assert (await the_alert(world, "kind = 'bin'"))["held"] == ["settling"]


async def test_settling_waits_after_a_restart_but_not_for_a_call_for_help(world: World) -> None:
    async with engine(world):
        await until(lambda: world.pool.fetch("SELECT FROM checkpoint HAVING count(*) = 32"))
    async with engine(world, alerts_settling_s=6):
        await overflow(world)
        await world.event("sos_button-1", "pressed")
        sos = await the_alert(world, "life_safety AND order_id IS NOT NULL")
        assert sos["released_at"] is None
        await the_alert(world, "kind = 'bin' AND order_id IS NOT NULL")
    assert await world.pool.fetchval("SELECT cause FROM alert_occurrence WHERE what = 'released'") == "settling"


async def test_ask_first_then_an_answer_from_home_decides(
    world: World, desk: httpx.AsyncClient, database_url: str
) -> None:
    meter = world.number("water_meter-1")
    household = await world.pool.fetchval("SELECT household_id FROM device WHERE device_no = $1", meter)
    await world.pool.execute("UPDATE app_user SET household_id = $1 WHERE username = 'resident1'", household)
    at = now_ms() - 86_400_000
    async with engine(world), api_server(database_url) as url:
        for step in range(100):
            values = {"total_m3": 100.0, "flow": 0.0, "battery": 3.6, "valve": 0.0}
            await world.reading("water_meter-1", "water_meter", values, at + 43_200_000 + step * 450_000)
        alert = await the_alert(world, "rule_id = 'water_meter.elder_silence'")
        assert (alert["held"], alert["order_id"]) == (["asking"], None)
        asked = await world.pool.fetchval("SELECT data FROM outbox WHERE type = 'alert.ask'")
        assert household in str(asked)
        async with client(url, "resident1") as home:
            answer = await home.post(f"/alerts/{alert['id']}/answer", json={"ok": True, "note": "在家"})
            assert answer.status_code == 200, answer.text
            alert = await the_alert(world, "acknowledged_at IS NOT NULL AND rule_id = 'water_meter.elder_silence'")
            assert (alert["held"], alert["acknowledged_by"]) == (["answered"], "user-resident1")
            assert not await world.orders()
            await home.post(f"/alerts/{alert['id']}/answer", json={"ok": False})
            order = (await until(world.orders))[0]
        assert (order["team"], order["severity"]) == ("grid", "minor")
        refused = await desk.post(f"/alerts/{alert['id']}/answer", json={"ok": True})
        assert refused.status_code == 409
    assert await occurrences(world) == ["raised", "answered", "held", "answered", "released"]
    assert await world.pool.fetchval("SELECT count(*) FROM alert_answer WHERE taken_at IS NULL") == 0


async def falls_silent(world: World, number: int) -> None:
    """A detector that reports every second speaks once and never again."""
    await world.pool.execute("UPDATE device SET interval_s = 1 WHERE id = $1", f"{COMMUNITY}-gas_alarm-{number}")
    await world.reading(f"gas_alarm-{number}", "gas_alarm", {"battery": 90.0})


async def test_group_of_a_building_is_one_order_until_somebody_has_arrived(world: World) -> None:
    for number in (1, 2, 3):
        await world.seen(f"gas_alarm-{number}", now_ms() - 86_400_000)
    async with engine(world):
        await until(lambda: alerts_of(world, 3))
        grouped = await world.alerts("family = 'gas_alarm.offline'")
        assert len({row["order_id"] for row in grouped}) == 1
        assert len({row["group_key"] for row in grouped}) == 1
        order = (await world.orders())[0]
        lines = await world.pool.fetch(
            "SELECT reason, detail FROM work_order_history WHERE order_id = $1 AND move = 'repeat'", order["id"]
        )
        assert lines
        assert "共 3 处" in lines[-1]["reason"]
        async with world.pool.acquire() as connection, connection.transaction():
            current = await fetch_order(connection, order["id"])
            moves = [MoveRequest(Move.ACCEPT, current.version), MoveRequest(Move.ARRIVE, current.version + 1)]
            for move in moves:
                await apply_move(connection, order["id"], move, DESK, datetime.now(UTC))
        await falls_silent(world, 4)
        await until(lambda: alerts_of(world, 4))
        assert len(await world.orders()) == 2


async def alerts_of(world: World, count: int) -> bool:
    """Somebody else goes on speaking: the line itself is not dead."""
    await asyncio.sleep(0.2)
    await world.reading("environment-1", "environment", {"temperature": 20.0})
    return len(await world.alerts("family = 'gas_alarm.offline' AND order_id IS NOT NULL")) == count


async def test_dedup_two_messages_of_one_millisecond_count_and_one_twice_does_not(world: World) -> None:
    """An event is known by device, name and millisecond, as ingest knows it; what else comes then is another one."""
    at = now_ms() - 60_000
    one = world.entry("charger-1", "overheat", at)
    async with engine(world):
        await world.events(one, one)
        await world.reading("charger-1", "charger", {"temperature": 90.0}, at)
        await the_alert(world, "occurrences = 2")
        await world.events(world.entry("charger-1", "overheat", at + 5), {**one, "id": "another"}, one)
        await the_alert(world, "occurrences = 4")
        await world.events(one)
        await world.events({**one, "id": "another"})
        await world.caught_up()
    assert (await world.alerts())[0]["occurrences"] == 4
    assert await occurrences(world) == ["raised", "repeated", "repeated", "repeated"]


async def test_preview_names_what_it_would_hold_and_what_it_cannot(world: World, desk: httpx.AsyncClient) -> None:
    async with engine(world):
        await overflow(world)
        await world.event("gas_alarm-1", "alarm", lel=18)
        await until(lambda: world.alerts("life_safety"))
        await until(lambda: world.alerts("kind = 'bin'"))
    now = datetime.now(UTC)
    body = {"starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat(), "why": "演练"}
    found = (
        await desk.post(f"/communities/{COMMUNITY}/silences/preview", json={**body, "matcher": {"rules": ["*"]}})
    ).json()
    assert (found["matched"], found["life_safety"], found["items"][0]["rule_id"]) == (1, 1, "bin.overflow")
    for matcher, says in (
        ({"rules": ["sos_button.*", "gas_alarm.alarm"]}, "生命安全"),
        ({}, "rules"),
    ):
        refused = await desk.post(f"/communities/{COMMUNITY}/silences", json={**body, "matcher": matcher})
        assert refused.status_code == 422
        assert says in refused.text


async def test_caps_of_a_community_are_set_and_hold(world: World, desk: httpx.AsyncClient) -> None:
    assert (await desk.get(f"/communities/{COMMUNITY}/alert-caps")).json()["in_force"] == {"device": 6, "community": 30}
    answer = await desk.put(f"/communities/{COMMUNITY}/alert-caps", json={"community": 1})
    assert answer.json()["in_force"] == {"device": 6, "community": 1}
    async with engine(world):
        await overflow(world, "bin-1")
        await until(world.orders)
        await world.event("highthrow_camera-1", "thrown")
        await until(lambda: world.alerts("held <> '{}'"))
        summary = await the_alert(world, "rule_id = 'platform.capped'")
        await world.event("sos_button-1", "pressed")
        await the_alert(world, "life_safety AND order_id IS NOT NULL")
    assert summary["trigger"]["suppressed"] == 1
    counts = (await desk.get(f"/communities/{COMMUNITY}/alerts/summary")).json()
    assert counts["held_by"] == {"cap:community": 1}
    async with engine(world, "two"):
        await desk.put(f"/communities/{COMMUNITY}/alert-caps", json={})
        await until(lambda: world.alerts("rule_id = 'highthrow_camera.thrown' AND order_id IS NOT NULL"))


async def test_away_is_said_by_the_household_and_known_to_the_rules(
    world: World, desk: httpx.AsyncClient, database_url: str
) -> None:
    person = await world.pool.fetchrow("SELECT id, household_id FROM person ORDER BY id LIMIT 1")
    assert person is not None
    await world.pool.execute(
        "UPDATE app_user SET household_id = $1 WHERE username = 'resident1'", person["household_id"]
    )
    until_at = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    async with api_server(database_url) as url, client(url, "resident1") as home:
        assert (await home.put(f"/people/{person['id']}/away", json={"until": until_at})).status_code == 200
        other = await world.pool.fetchval("SELECT id FROM person WHERE household_id <> $1", person["household_id"])
        assert (await home.put(f"/people/{other}/away", json={"until": until_at})).status_code == 404
        gone = (datetime.now(UTC) - timedelta(days=3)).isoformat()
        assert (await home.put(f"/people/{person['id']}/away", json={"until": gone})).status_code == 422
    assert await world.pool.fetchval("SELECT away_until FROM person WHERE id = $1", person["id"]) is not None
    assert (await desk.put(f"/people/{person['id']}/away", json={"until": None})).status_code == 200
    trail = await world.pool.fetch("SELECT actor_id, action FROM audit WHERE action <> 'session.open' ORDER BY id")
    assert [tuple(row) for row in trail] == [("user-resident1", "person.away"), ("user-desk", "person.away")]


class _Dies:
    """A connection that dies before its n-th statement, and stays dead."""

    def __init__(self, connection: Any, at: int) -> None:
        self._connection, self._left = connection, at

    def is_closed(self) -> bool:
        return self._left <= 0 or bool(self._connection.is_closed())

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return found

        async def call(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left <= 0:
                raise ConnectionResetError("died here")
            return await found(*arguments, **options)

        return call


async def test_engine_that_dies_before_any_statement_holds_and_releases_once(
    world: World, desk: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction is tried dying at its first statement, then its second, until it comes through whole."""
    whole, deaths, at = store.commit, 0, 1

    async def dying(connection: Any, *arguments: Any) -> Any:
        nonlocal deaths, at
        try:
            written = await whole(_Dies(connection, at), *arguments)
        except ConnectionResetError:
            deaths, at = deaths + 1, at + 1
            raise
        at = 1
        return written

    monkeypatch.setattr(partition, "commit", dying)
    monkeypatch.setattr(partition, "_RETRY_S", (0.0,))
    made = await make_silence(desk, matcher={"rules": ["*"]})
    async with engine(world, alerts_lease_s=5):
        await overflow(world)
        await world.event("highthrow_camera-1", "thrown")
        await world.event("sos_button-1", "pressed")
        await until(lambda: world.alerts("life_safety AND order_id IS NOT NULL"))
        await until(lambda: world.alerts("kind = 'highthrow_camera'"))
        await desk.post(f"/silences/{made['id']}/end")
        await until(lambda: world.alerts("kind = 'bin' AND order_id IS NOT NULL"))
        await until(lambda: world.alerts("kind = 'highthrow_camera' AND order_id IS NOT NULL"))
    assert deaths >= 20
    assert len(await world.orders()) == len(await world.alerts()) == 3
    assert sorted(await occurrences(world)) == ["raised"] * 3 + ["released"] * 2
    kinds = await world.outbox()
    assert (kinds.count("alert.raised"), kinds.count("alert.released"), kinds.count("order.create")) == (3, 2, 3)
