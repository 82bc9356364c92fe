"""The alert engine on a real database: once, in time, and never lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest

from services.adapters.orders import append_moves, apply_move, fetch_history, fetch_order
from services.adapters.postgres import open_pool
from services.alerts import lease as leases
from services.alerts import metrics, reading, store
from services.alerts.escalation import escalate_due
from services.alerts.loading import read_log
from services.alerts.main import run
from services.alerts.partition import PartitionWorker
from services.alerts.worker import AlertWorker
from services.domain.engine.decisions import Decided, StateChange
from services.domain.ids import CommunityId, RuleId
from services.domain.orders import Actor, Move, MoveRequest, OrderState, fold
from services.domain.vocabulary import Role, Team
from tests.integration.alerts_support import COMMUNITY, PARTITION, World, engine, now_ms, settings, staffed, until

DESK = Actor("desk", Role.DESK, Team.DESK, CommunityId(COMMUNITY))
PATROL = Actor("patrol1", Role.STAFF, Team.PATROL, CommunityId(COMMUNITY))


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    pool = await open_pool(database_url, name="test", max_size=4)
    world = World(database_url, pool)
    await world.prepare()
    for user in (DESK, PATROL):
        await pool.execute(
            "INSERT INTO app_user (id, username, password_hash, display_name, role, community_id) "
            "VALUES ($1, $2, '', $1, $3, $4) ON CONFLICT (id) DO NOTHING",
            user.id,
            f"test-{user.id}",
            user.role_name,
            COMMUNITY,
        )
    try:
        yield world
    finally:
        await pool.close()


async def move(world: World, order_id: Any, what: Move, actor: Actor = DESK, **more: Any) -> Any:
    async with world.pool.acquire() as connection, connection.transaction():
        order = await fetch_order(connection, order_id)
        return await apply_move(
            connection, order_id, MoveRequest(what, order.version, **more), actor, datetime.now(UTC)
        )


async def test_event_becomes_one_alert_and_one_dispatched_order(world: World) -> None:
    async with engine(world):
        ts = await world.event("gas_alarm-1", "alarm", lel=18)
        order = (await until(world.orders))[0]
    alert = (await world.alerts())[0]
    assert (alert["family"], alert["severity"], alert["state"]) == ("gas_alarm.leak", "critical", "firing")
    assert (order["alert_id"], alert["order_id"], order["team"]) == (alert["id"], order["id"], "patrol")
    assert (order["state"], order["version"], await world.history(order["id"])) == (
        "dispatched",
        2,
        ["create", "dispatch"],
    )
    assert order["accept_due"] - order["dispatched_at"] == timedelta(seconds=60)
    assert alert["correlation"] == order["correlation"] == f"test-gas_alarm-1@{ts}"
    assert await world.outbox() == ["alert.raised", "order.create", "order.dispatch"]
    assert "1号楼" in alert["why_zh"]


async def test_event_waiting_in_the_log_is_found_without_a_notification(world: World) -> None:
    await world.event("sos_button-1", "pressed")
    async with engine(world):
        assert len(await until(world.orders)) == 1


async def test_reading_past_the_limit_pages_with_its_values(world: World) -> None:
    async with engine(world):
        ts = await world.reading("gas_alarm-1", "gas_alarm", {"lel": 18.0, "battery": 90})
        await world.reading("gas_alarm-1", "gas_alarm", {"lel": 19.0, "battery": 90}, ts + 5000)
        await until(world.orders)
    alert = (await world.alerts())[0]
    assert alert["trigger"]["value"] == 19.0
    assert alert["trigger"]["limit"] == 10.0
    assert "19 %LEL ≥ 10 %LEL 持续 5 秒" in alert["why_zh"]
    assert int(alert["onset_at"].timestamp() * 1000) == ts


async def test_short_duration_is_run_out_by_the_clock_when_no_reading_follows(world: World) -> None:
    async with engine(world):
        ts = await world.reading("gas_alarm-1", "gas_alarm", {"lel": 18.0}, now_ms() - 4800)
        await until(lambda: world.orders("true"))
    assert int((await world.alerts())[0]["onset_at"].timestamp() * 1000) == ts


async def test_late_event_pages_nobody(world: World) -> None:
    async with engine(world):
        await world.event("bin-1", "overflow", now_ms() - 48 * 3600_000)
        await world.caught_up()
    assert not await world.alerts()


async def test_repeat_joins_the_open_order(world: World) -> None:
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        await until(world.orders)
        await world.event("sos_button-1", "pressed")
        await until(lambda: world.alerts("occurrences = 2"))
    order = (await world.orders())[0]
    assert len(await world.orders()) == 1
    assert await world.history(order["id"]) == ["create", "dispatch", "repeat"]
    assert [row["what"] for row in await world.pool.fetch("SELECT what FROM alert_occurrence ORDER BY id")] == [
        "raised",
        "repeated",
    ]


async def test_second_call_ends_the_pause_of_an_order_and_whoever_let_it_wait_is_told(world: World) -> None:
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        order = (await until(world.orders))[0]
        desk = Actor("user-desk", Role.DESK, Team.DESK, CommunityId(COMMUNITY))
        now = order["dispatched_at"] + timedelta(seconds=1)
        async with world.pool.acquire() as connection:
            for request in (
                MoveRequest(Move.ACCEPT, order["version"]),
                MoveRequest(Move.ARRIVE, order["version"] + 1, place="door"),
                MoveRequest(Move.PAUSE, order["version"] + 2, pause_reason="waiting_resident"),
            ):
                async with connection.transaction():
                    await apply_move(connection, order["id"], request, desk, now)
        await world.event("sos_button-1", "pressed")
        await until(lambda: world.orders("state = 'arrived'"))
    assert (await world.history(order["id"]))[-2:] == ["repeat", "resume"]
    detail, reason = await world.pool.fetchrow(
        "SELECT detail, reason FROM work_order_history WHERE order_id = $1 AND move = 'resume'", order["id"]
    )
    assert detail["alert_id"] == str(order["alert_id"]) and "called again" in reason
    assert "order.resume" in await world.outbox()
    row = (await world.orders())[0]
    assert row["paused_at"] is None and row["attention_at"] is not None


async def test_second_rule_of_a_family_joins_without_counting_the_same_message_twice(world: World) -> None:
    async with engine(world):
        await world.event("perimeter_camera-1", "crossed", zone="pond")
        await until(world.orders)
        await world.caught_up()
    alerts = await world.alerts()
    assert [(alert["severity"], alert["occurrences"]) for alert in alerts] == [("critical", 1)]
    assert set(alerts[0]["active_rules"]) == {"perimeter_camera.water_edge", "perimeter_camera.crossed"}


async def test_worse_rule_of_a_family_raises_the_open_alert_and_tightens_its_order(world: World) -> None:
    async with engine(world):
        start = now_ms() - 10_000
        await world.reading("manhole-1", "manhole", {"tilt": 20.0}, start)
        await world.reading("manhole-1", "manhole", {"tilt": 20.0}, start + 3000)
        before = (await until(world.orders))[0]
        await world.reading("manhole-1", "manhole", {"tilt": 95.0}, start + 4000)
        await world.reading("manhole-1", "manhole", {"tilt": 95.0}, start + 8000)
        await until(lambda: world.alerts("severity = 'critical'"))
    after = (await world.orders())[0]
    assert (before["severity"], after["severity"], len(await world.orders())) == ("major", "critical", 1)
    assert after["accept_due"] < before["accept_due"]
    assert "alert.repeated" in await world.outbox()


async def test_clearing_never_closes_the_order(world: World) -> None:
    async with engine(world):
        start = now_ms() - 20_000
        await world.reading("gas_alarm-1", "gas_alarm", {"lel": 18.0}, start)
        await world.reading("gas_alarm-1", "gas_alarm", {"lel": 18.0}, start + 6000)
        await until(world.orders)
        for step in range(4):
            await world.reading("gas_alarm-1", "gas_alarm", {"lel": 0.0}, start + 7000 + step * 100_000)
        await until(lambda: world.alerts("state = 'cleared'"))
    assert (await world.orders())[0]["state"] == "dispatched"
    assert "alert.cleared" in await world.outbox()


async def test_repeat_after_closing_opens_a_linked_order(world: World) -> None:
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        first = (await until(world.orders))[0]
        await move(world, first["id"], Move.CANCEL, reason="drill")
        await world.event("sos_button-1", "pressed")
        orders = await until(lambda: world.orders("parent_id IS NOT NULL"))
    assert orders[0]["parent_id"] == first["id"]
    assert len(await world.orders("state = 'dispatched'")) == 1


async def test_second_call_for_help_sends_somebody_again_though_the_first_was_seen_to(world: World) -> None:
    """Resolved is not closed: it would join an order that nobody looks at before it is checked some time."""
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        order = (await until(world.orders))[0]
        for what in (Move.ACCEPT, Move.ARRIVE, Move.RESOLVE):
            await move(world, order["id"], what, note="seen to")
        await world.event("sos_button-1", "pressed")
        again = (await until(lambda: world.orders("state = 'dispatched'")))[0]
    assert again["id"] == order["id"] and len(await world.orders()) == 1
    assert (await world.history(order["id"]))[5:] == ["repeat", "reopen"]
    assert again["accept_due"] - again["dispatched_at"] == timedelta(seconds=60)
    assert again["attention_at"] is not None


async def test_new_alert_joins_the_order_that_is_still_open(world: World) -> None:
    await world.event("sos_button-1", "pressed")
    async with engine(world):
        order = (await until(world.orders))[0]
    await world.pool.execute("UPDATE rule_state SET state = jsonb_set(state, '{received}', '0')")
    async with engine(world):
        await until(lambda: world.alerts("state = 'cleared'"))
        await world.event("sos_button-1", "pressed")
        await until(lambda: world.alerts("state = 'firing'"))
    alerts = await world.alerts()
    assert len(alerts) == 2
    assert {alert["order_id"] for alert in alerts} == {order["id"]}
    assert await world.history(order["id"]) == ["create", "dispatch", "repeat"]


async def test_two_smoke_alarms_in_a_building_are_one_fire_and_one_open_order(world: World) -> None:
    async with engine(world):
        await world.event("smoke_detector-1", "alarm")
        await until(world.orders)
        await world.event("smoke_detector-2", "alarm")
        await until(lambda: world.alerts("subject LIKE 'building:%'"))
        await world.caught_up()
    fire = (await world.alerts("subject LIKE 'building:%'"))[0]
    still_open = await world.orders("state NOT IN ('merged', 'closed')")
    assert [order["id"] for order in still_open] == [fire["order_id"]]
    assert {alert["order_id"] for alert in await world.alerts()} == {fire["order_id"]}
    assert len(await world.alerts()) == 3


class Boom(Exception):
    pass


@pytest.mark.parametrize("where", ["_save_states", "_record", "order_for", "_tell"])
async def test_crash_inside_the_transaction_is_resumed_without_loss_or_double(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    original, calls = getattr(store, where), 0

    async def failing(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        result = await original(*arguments)
        if calls <= 2:
            raise Boom(where)
        return result

    monkeypatch.setattr(store, where, failing)
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        await until(world.orders)
    assert calls > 2
    assert (len(await world.alerts()), len(await world.orders())) == (1, 1)
    assert await world.outbox() == ["alert.raised", "order.create", "order.dispatch"]


async def test_engine_killed_with_9_resumes_from_its_checkpoint(world: World) -> None:
    environment = {
        **os.environ,
        "LINHUB_DATABASE_URL": world.url,
        "LINHUB_ALERTS_LEASE_S": "1",
        "LINHUB_ALERTS_SETTLING_S": "0",
    }
    total, began_ms = 30, now_ms()

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "services.alerts.main"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    process = start()
    try:
        for index in range(total):
            await world.event("highthrow_camera-1", "thrown", began_ms + index, clip=f"clip-{index}")
            if index in (8, 17):
                await until(world.orders)
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = start()
        await world.caught_up()
    finally:
        process.terminate()
        process.wait()
    alert = (await world.alerts())[0]
    assert alert["occurrences"] == total == await world.pool.fetchval("SELECT count(*) FROM alert_occurrence")
    assert len(await world.orders()) == 1
    assert (await world.history(alert["order_id"])).count("repeat") == total - 1


async def test_second_engine_waits_and_takes_over_when_the_first_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is alive but no longer renews, as after a long freeze: it must not be able to write any more."""
    hold = leases.hold
    frozen: dict[int, Any] = {}

    async def hold_unless_frozen(connection: Any, consumer: str, owner: str, *more: Any) -> Any:
        return frozen if owner == "first" and frozen else await hold(connection, consumer, owner, *more)

    monkeypatch.setattr(leases, "hold", hold_unless_frozen)
    # Longer than loading the partitions may keep a living one from renewing.
    async with engine(world, "first", alerts_lease_s=5.0) as first:
        await until(lambda: _owned(first))
        # Loading keeps the database busy, and a lease may run out behind it.
        await until(lambda: asyncio.sleep(0, all(one._engine is not None for one in first._workers.values())))
        async with engine(world, "second", alerts_lease_s=5.0) as second:
            await world.event("sos_button-1", "pressed")
            await until(world.orders)
            assert second.owned == []
            frozen.update({partition: held.lease for partition, held in first._workers.items()})
            await until(lambda: _owned(second))
            await world.event("gas_alarm-1", "alarm")
            await until(lambda: world.orders("kind = 'gas_alarm'"))
            await world.caught_up()
            assert PARTITION in first.owned
    assert len(await world.orders()) == 2
    assert len(await world.alerts()) == 2


async def _loaded(worker: Any) -> bool:
    one = worker._workers.get(PARTITION)
    return one is not None and one._engine is not None


async def _owned(worker: Any) -> bool:
    return PARTITION in worker.owned


async def test_stale_owner_cannot_write(world: World) -> None:
    async with engine(world) as worker:
        await until(lambda: _owned(worker))
        held = worker._workers[PARTITION].lease
    await world.pool.execute("UPDATE worker_lease SET epoch = epoch + 1 WHERE partition = $1", PARTITION)
    async with world.pool.acquire() as connection:
        with pytest.raises(leases.LeaseLost):
            await store.commit(connection, held, [], Decided((), ()), datetime.now(UTC))


async def test_checkpoint_that_somebody_moved_stops_the_whole_transaction(world: World) -> None:
    async with engine(world) as worker:
        await until(lambda: _owned(worker))
        await world.event("sos_button-1", "pressed")
        await until(world.orders)
        held = worker._workers[PARTITION].lease
        state = StateChange(RuleId("x"), "device:1", {"a": 1})
        async with world.pool.acquire() as connection:
            with pytest.raises(store.CheckpointMoved):
                await store.commit(connection, held, [store.Advance(0, 0, 1)], Decided((), (state,)), datetime.now(UTC))
    assert not await world.pool.fetchval("SELECT count(*) FROM rule_state WHERE rule_id = 'x'")


async def test_engine_survives_the_loss_of_all_its_connections(world: World) -> None:
    async with engine(world) as worker:
        await until(lambda: _owned(worker))
        for name in ("sos_button-1", "gas_alarm-1", "gas_alarm-2"):
            await world.pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'alerts-one'"
            )
            await world.event(name, "pressed" if name.startswith("sos") else "alarm")
            await until(partial(world.alerts, f"correlation LIKE 'test-{name}@%'"))
    assert len(await world.orders()) == 3


async def test_engine_stops_though_a_dying_connection_swallowed_the_word(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear, swallowed = AlertWorker._hear, 0

    async def dying(worker: AlertWorker) -> None:
        nonlocal swallowed
        try:
            await hear(worker)
        except asyncio.CancelledError:
            swallowed += 1
            if swallowed == 1:
                raise ConnectionResetError from None
            raise

    monkeypatch.setattr(AlertWorker, "_hear", dying)
    async with asyncio.timeout(120), engine(world) as worker:
        await until(lambda: _owned(worker))
        await until(lambda: asyncio.sleep(0, worker._waiting is None))
    assert swallowed >= 1


async def test_service_says_what_it_waits_for_and_stops_when_told(world: World) -> None:
    stop, ports = asyncio.Event(), asyncio.Queue[int]()
    config = settings("postgresql://nobody@127.0.0.1:1/nothing")
    running = asyncio.create_task(run(config, stop, ports.put_nowait))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{await ports.get()}", timeout=90) as client:
        waiting = await client.get("/health/ready")
        assert (waiting.status_code, waiting.json()["why"]) == (503, "waiting for the database")
        stop.set()
        await running
    stop = asyncio.Event()
    running = asyncio.create_task(run(settings(world.url), stop, ports.put_nowait))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{await ports.get()}", timeout=90) as client:

        async def ready() -> bool:
            return (await client.get("/health/ready")).status_code == 200

        await until(ready)
        await world.event("sos_button-1", "pressed")
        await until(world.orders)
        metrics_page = (await client.get("/metrics")).text
    stop.set()
    await running
    for name in ("lag_entries", "lag_seconds", "evaluations_total", "raised_total", "orders_opened_total"):
        assert f"linhub_alerts_{name}" in metrics_page
    assert not await world.pool.fetchval("SELECT count(*) FROM worker_lease WHERE expires_at > now()")


async def test_standby_whose_database_is_away_is_not_ready_between_two_tries(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    say = AlertWorker._say

    def heard(worker: AlertWorker, waiting: str) -> None:
        said.append(waiting)
        say(worker, waiting)

    async def refused(*_: Any) -> Any:
        raise ConnectionRefusedError

    monkeypatch.setattr(leases, "hold", refused)
    monkeypatch.setattr(AlertWorker, "_purge", refused)
    monkeypatch.setattr(AlertWorker, "_say", heard)
    async with engine(world, alerts_poll_s=0.05):
        await until(lambda: asyncio.sleep(0, len(said) > 10))
    assert {one.partition(":")[0] for one in said} == {"database does not answer"}


async def test_silent_device_goes_offline_and_comes_back(world: World) -> None:
    long_ago = now_ms() - 400_000
    await world.seen("environment-1", long_ago)
    await world.seen("charger-1", now_ms())
    async with engine(world):
        alert = (await until(lambda: world.alerts("rule_id = 'environment.offline'")))[0]
        online = "SELECT online FROM device_state WHERE device_no = $1"
        assert await world.pool.fetchval(online, world.number("environment-1")) is False
        assert int(alert["onset_at"].timestamp() * 1000) == long_ago + 180_000
        await world.seen("environment-1", now_ms(), False)
        await world.reading("environment-1", "environment", {"temperature": 20.0})
        await until(lambda: world.alerts("rule_id = 'environment.offline' AND state = 'cleared'"))
        assert await world.pool.fetchval(online, world.number("environment-1")) is True
    assert [kind for kind in await world.outbox() if kind.startswith("device.")] == ["device.offline", "device.online"]


async def test_device_heard_by_ingest_alone_is_not_called_offline(world: World) -> None:
    """A heartbeat that adds nothing to the log still moves last_seen_at."""
    await world.seen("environment-1", now_ms() - 170_000)
    await world.seen("charger-1", now_ms())
    async with engine(world) as worker:
        await until(lambda: _loaded(worker))
        silent_at = now_ms() + 10_000  # at the latest: what was loaded is over its 180 s by then
        await world.seen("environment-1", now_ms())
        await until(lambda: asyncio.sleep(0, now_ms() > silent_at + 1_500))
    assert not await world.alerts()


async def test_devices_behind_an_offline_gateway_are_not_blamed(world: World) -> None:
    now = now_ms()
    await world.seen("gateway-1", now - 300_000)
    await world.seen("electricity_meter-1", now - 300_000)
    await world.seen("electricity_meter-2", now - 300_000)
    await world.seen("charger-1", now)
    async with engine(world):
        await until(lambda: world.alerts("kind = 'gateway'"))

        async def all_off() -> bool:
            return (await world.outbox()).count("device.offline") == 3

        await until(all_off)
    assert [alert["kind"] for alert in await world.alerts()] == ["gateway"]
    assert len(await world.orders()) == 1


async def test_overdue_order_climbs_the_ladder_once_a_step_across_restarts(world: World) -> None:
    await staffed(world.pool)
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        order = (await until(world.orders))[0]
    start = order["dispatched_at"]
    for seconds, rung in (
        (44, 0),
        (59, 0),
        (60, 1),
        (119, 1),
        (120, 2),
        (179, 2),
        (180, 3),
        (299, 3),
        (300, 4),
        (590, 4),
    ):
        for _ in range(2):
            await escalate_due(world.pool, [PARTITION], start + timedelta(seconds=seconds))
        assert (await world.orders())[0]["rung"] == rung, seconds
    history = await world.history(order["id"])
    # The arrive clock is amber at 450 s though nobody has accepted yet.
    assert [history.count(move) for move in ("warn", "breach", "escalate")] == [2, 1, 4]
    told = await world.outbox()
    assert [told.count(f"order.{move}") for move in ("warn", "breach", "escalate")] == [2, 1, 4]


async def test_escalation_missed_while_down_is_made_up_whole(world: World) -> None:
    await staffed(world.pool)
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        order = (await until(world.orders))[0]
    later = order["dispatched_at"] + timedelta(hours=1)
    counts = await asyncio.gather(*(escalate_due(world.pool, [PARTITION], later) for _ in range(3)))
    while (await world.orders())[0]["rung"] < 4:
        counts.append(await escalate_due(world.pool, [PARTITION], later))
    assert sum(counts) == 5, "four rungs, and the last time it should have rung again on top"
    history = await world.history(order["id"])
    assert [history.count(move) for move in ("warn", "breach", "escalate")] == [2, 2, 5]


async def test_log_purged_beyond_the_checkpoint_is_said_and_passed(world: World, capsys: Any) -> None:
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        await until(world.orders)
    before = metrics.GAPS.labels(str(PARTITION))._value.get()
    world.skip(0, 10)
    await world.event("gas_alarm-1", "alarm")
    async with engine(world):
        await until(lambda: world.orders("kind = 'gas_alarm'"))
        gap = (await until(lambda: world.alerts("rule_id = 'platform.log_gap'")))[0]
    assert metrics.GAPS.labels(str(PARTITION))._value.get() - before == 10
    assert gap["subject"] == f"community:{COMMUNITY}"
    assert gap["trigger"]["data"] == {"lane": 0, "missed": 10}


async def test_unreadable_entry_and_unknown_device_leave_the_others_unharmed(world: World) -> None:
    good = world.entry("sos_button-1", "pressed", now_ms())
    async with engine(world):
        await world.events({"type": "event"}, {**good, "device_no": 999_999}, {"type": "nonsense", **good}, good)
        await world.events(*[{"type": "riddle", "device_no": 1, "ts_ms": 1, "received_ms": 1}, "text"])  # type: ignore[arg-type]
        await until(world.orders)
        await world.caught_up()
    assert len(await world.alerts()) == 1


async def test_batch_that_cannot_be_unpacked_is_told_of_and_passed(world: World) -> None:
    async with engine(world):
        await world.reading("gas_alarm-1", "gas_alarm", {"lel": 0.0})
        await world.caught_up()
        await world.torn_reading("gas_alarm-1")
        await world.event("sos_button-1", "pressed")
        await until(lambda: world.orders("kind = 'sos_button'"))
        gap = (await until(lambda: world.alerts("rule_id = 'platform.log_gap'")))[0]
        assert gap["trigger"]["data"]["lane"] == 1
        await world.caught_up()


async def test_messages_that_waited_long_are_an_alert_of_their_own_until_the_engine_has_caught_up(world: World) -> None:
    """As after ten minutes without a database: received then, committed only now."""
    long_ago = now_ms() - 10 * 60_000
    await world.events(world.entry("sos_button-1", "pressed", long_ago, long_ago))
    async with engine(world):
        assert await until(lambda: world.alerts("kind = 'sos_button'"))
        delay = (await until(lambda: world.alerts("rule_id = 'platform.delay' AND state = 'cleared'")))[0]
    assert delay["subject"] == f"community:{COMMUNITY}"
    assert abs(delay["onset_at"].timestamp() * 1000 - long_ago) < 1000
    assert 600 <= delay["trigger"]["value"] < 620
    assert "10" in delay["why_zh"]


async def test_delay_that_stands_after_a_start_is_sent_once_settled_and_cleared_when_caught_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows keep coming that were received two minutes before they were committed, as while ingest drains its spool."""
    drained, tick = asyncio.Event(), PartitionWorker._tick

    async def tick_when_drained(worker: PartitionWorker) -> None:
        """Between two rows, a reader that is faster than the writer would take itself to have caught up."""
        if drained.is_set():
            await tick(worker)

    async def drain() -> None:
        while not drained.is_set():
            late = now_ms() - 120_000
            await world.events(*(world.entry("gate-1", "noticed", late + n) | {"received_ms": late} for n in range(20)))

    async with engine(world):
        await until(lambda: world.pool.fetch("SELECT FROM checkpoint HAVING count(*) = 32"))
    await world.events(world.entry("gate-1", "noticed", now_ms() - 120_000, now_ms() - 120_000))
    monkeypatch.setattr(PartitionWorker, "_tick", tick_when_drained)
    async with engine(world, alerts_settling_s=2, alerts_tick_s=30.0):
        draining = asyncio.create_task(drain())
        try:
            sent = (await until(lambda: world.alerts("rule_id = 'platform.delay' AND order_id IS NOT NULL")))[0]
            assert 120 <= sent["trigger"]["value"] < 180
        finally:
            drained.set()
            await draining
    # The next owner finds nothing left to read.
    async with engine(world, alerts_settling_s=60):
        await until(lambda: world.alerts(f"id = '{sent['id']}' AND state = 'cleared'"))
    rows = await world.pool.fetch("SELECT what FROM alert_occurrence WHERE alert_id = $1 ORDER BY id", sent["id"])
    assert [row["what"] for row in rows] == ["raised", "released", "cleared"]
    assert len(await world.orders(f"alert_id = '{sent['id']}'")) == 1


async def test_delay_of_a_short_restart_is_recorded_and_sends_nobody(world: World) -> None:
    async with engine(world):
        await until(lambda: world.pool.fetch("SELECT FROM checkpoint HAVING count(*) = 32"))
    long_ago = now_ms() - 90_000
    await world.events(world.entry("sos_button-1", "pressed", long_ago, long_ago))
    async with engine(world, alerts_settling_s=60):
        delay = (await until(lambda: world.alerts("rule_id = 'platform.delay' AND state = 'cleared'")))[0]
        assert delay["order_id"] is None
        # A call for help that waited as long is answered at once.
        assert await until(lambda: world.orders("kind = 'sos_button'"))
    assert not await world.orders("kind = 'platform'")


async def test_idle_engine_asks_once_for_all_partitions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: Any) -> Any:
        raise AssertionError("a partition looks for itself")

    looks, whole = 0, AlertWorker._poll

    async def counted(worker: AlertWorker) -> None:
        nonlocal looks
        await whole(worker)
        looks += 1

    async def more_looks(count: int) -> None:
        wanted = looks + count
        await until(lambda: asyncio.sleep(0, looks >= wanted))

    monkeypatch.setattr(AlertWorker, "_poll", counted)
    # A partition that nobody has looked for during two polls looks for itself: that is not to come of a slow machine.
    async with engine(world, alerts_poll_s=5) as worker:
        await until(lambda: asyncio.sleep(0, all(one.idle for one in worker._workers.values()) and worker.owned))
        # All were woken by the first look of the worker; from then on it looks for all of them.
        await more_looks(2)
        monkeypatch.setattr(reading, "read_log", refused)
        await more_looks(2)
        assert all(one.idle and one._engine is not None for one in worker._workers.values())
        monkeypatch.setattr(reading, "read_log", read_log)
        # A notification that is lost costs a poll, no more.
        await world.event("sos_button-1", "pressed")
        await until(world.orders)


async def test_history_and_occurrences_are_append_only(world: World) -> None:
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        await until(world.orders)
    for statement in (
        "UPDATE work_order_history SET reason = 'x'",
        "DELETE FROM work_order_history",
        "UPDATE alert_occurrence SET severity = 'info'",
        "DELETE FROM alert_occurrence",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await world.pool.execute(statement)


async def test_row_equals_the_fold_of_its_history_through_a_whole_life(world: World) -> None:
    async with engine(world):
        await world.event("gas_alarm-1", "alarm")
        order = (await until(world.orders))[0]
    # Whoever returns it, another of the team is told to go.
    forced = Actor("user-patrol1", Role.STAFF, Team.PATROL, CommunityId(COMMUNITY))
    steps: list[tuple[Move, Actor, dict[str, Any]]] = [
        (Move.RETURN, PATROL, {"reason": "no key"}),
        (Move.ACCEPT, forced, {"idempotency_key": "a"}),
        (Move.URGE, DESK, {"reason": "people wait"}),
        (Move.ARRIVE, forced, {"place": "door"}),
        (Move.RESOLVE, forced, {"note": "valve shut"}),
        (Move.VERIFY, DESK, {}),
        (Move.CLOSE, DESK, {}),
    ]
    for what, actor, more in steps:
        await move(world, order["id"], what, actor, **more)
        async with world.pool.acquire() as connection:
            row = await fetch_order(connection, order["id"])
            assert fold(await fetch_history(connection, order["id"])) == row.order
    assert row.state is OrderState.CLOSED
    # What is returned goes out again by itself, as one dispatch more.
    assert (await world.history(order["id"]))[:5] == ["create", "dispatch", "return", "dispatch", "accept"]
    assert row.forced and row.returns == 1 and row.assignee_id == forced.id
    actions = [r["action"] for r in await world.pool.fetch("SELECT action FROM audit ORDER BY id")]
    assert actions == [f"order.{what.value}" for what, _, _ in steps]
    async with world.pool.acquire() as connection, connection.transaction():
        _, outgoing = await append_moves(
            connection, order["id"], [MoveRequest(Move.REPEAT, row.version)], datetime.now(UTC)
        )
    assert outgoing == []
