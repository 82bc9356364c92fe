"""Ingest over a real broker into a real database: what is stored, merged, refused and acknowledged."""

from __future__ import annotations

import asyncio

from services.adapters.log_rows import unpack
from services.domain.devices import BY_NAME
from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.ingest_kit import Database, Wire, ingest, now_ms, until

ENVIRONMENT = BY_NAME["environment"]


async def test_ingest_stores_a_reading_once_in_the_order_of_its_kind(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, ts = f"{home}-environment-1", now_ms()
    async with ingest(database_url, mqtt.url):
        wire.send(f"sc/{home}/{device}/up/telemetry", {"ts": ts, "values": {"humidity": 55, "temperature": 21.5}})
        await db.received(1)
    stored = (await db.readings(device))[ts]
    assert stored[ENVIRONMENT.position("temperature")] == 21.5  # type: ignore[index]
    assert stored[ENVIRONMENT.position("humidity")] == 55.0  # type: ignore[index]
    assert len(stored) == len(ENVIRONMENT.metrics)
    assert await db.ledger() == {"received": 1, "stored": 1, "duplicate": 0, "rejected": 0}
    assert await db.log_readings() == [(await db.no(device), ts)]
    state = await db.state(device)
    assert state["online"] and state["vals"] == stored


async def test_ingest_stores_ten_copies_once(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, start = f"{home}-environment-1", now_ms() - 60_000
    async with ingest(database_url, mqtt.url):
        for _ in range(10):
            for n in range(50):
                body = {"id": f"m{n}", "ts": start + n * 1000, "values": {"temperature": 20 + n / 10}}
                wire.send(f"sc/{home}/{device}/up/telemetry", body)
        assert await db.received(500) == {"received": 500, "stored": 50, "duplicate": 450, "rejected": 0}
        await until(lambda: _all_acked(wire, home, device, {f"m{n}" for n in range(50)}))
    assert len(await db.readings(device)) == 50
    logged = await db.log_readings()
    assert len(logged) == len(set(logged)) == 50


async def _all_acked(wire: Wire, home: str, device: str, ids: set[str]) -> bool:
    return wire.acked(home, device) >= ids


async def test_ingest_accepts_any_order_and_keeps_the_newest_as_state(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, start = f"{home}-environment-1", now_ms() - 600_000
    async with ingest(database_url, mqtt.url):
        for n in (5, 9, 1, 7, 0, 3, 8, 2, 6, 4):
            wire.send(f"sc/{home}/{device}/up/telemetry", {"ts": start + n * 1000, "values": {"temperature": n}})
        await db.received(10)
    assert [v[0] for v in (await db.readings(device)).values()] == [float(n) for n in range(10)]
    assert (await db.state(device))["vals"][0] == 9.0


async def test_ingest_fills_a_stored_row_and_logs_only_what_was_added(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, ts = f"{home}-environment-1", now_ms()
    topic = f"sc/{home}/{device}/up/telemetry"
    async with ingest(database_url, mqtt.url):
        wire.send(topic, {"ts": ts, "values": {"temperature": 21}})
        await db.received(1)
        wire.send(topic, {"ts": ts, "values": {"humidity": 40, "temperature": 21}})
        assert (await db.received(2))["stored"] == 2
    row = (await db.readings(device))[ts]
    assert (row[0], row[ENVIRONMENT.position("humidity")]) == (21.0, 40.0)  # type: ignore[index]
    logged = await db.connection.fetchrow("SELECT readings, packed FROM ingest_log WHERE lane = 1 ORDER BY seq DESC")
    added = unpack(*logged).vals
    assert added[0] is None and added[ENVIRONMENT.position("humidity")] == 40.0  # type: ignore[index]


async def test_ingest_keeps_the_first_of_two_contradicting_values(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, ts = f"{home}-environment-1", now_ms()
    topic = f"sc/{home}/{device}/up/telemetry"
    async with ingest(database_url, mqtt.url):
        wire.send(topic, {"id": "first", "ts": ts, "values": {"temperature": 21}})
        await db.received(1)
        wire.send(topic, {"id": "second", "ts": ts, "values": {"temperature": 22}})
        wire.send(topic, {"id": "third", "ts": ts, "values": {"temperature": 23, "humidity": 50}})
        ledger = await db.received(3)
        await until(lambda: _all_acked(wire, home, device, {"first", "third"}))
    assert ledger == {"received": 3, "stored": 2, "duplicate": 0, "rejected": 1}
    assert (await db.readings(device))[ts][0] == 21.0
    assert await db.quarantine() == [("message", "conflict", device), ("value", "conflict", device)]
    assert wire.refused(home, device) == {"second": "conflict"}


async def test_ingest_takes_a_gateway_list_and_sees_the_gateway(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    gateway, ts = f"{home}-gateway-1", now_ms()
    meters = [f"{home}-water_meter-{n}" for n in range(1, 5)]
    stranger = f"{home}-bin-1"
    parts = [{"id": m, "device": m, "ts": ts, "values": {"total_m3": 100.5}} for m in (*meters, stranger)]
    async with ingest(database_url, mqtt.url):
        wire.send(f"sc/{home}/{gateway}/up/telemetry", [*parts, "not an object"])
        ledger = await db.received(6)
        await until(lambda: _all_acked(wire, home, gateway, set(meters)))
    assert ledger == {"received": 6, "stored": 4, "duplicate": 0, "rejected": 2}
    assert all([(await db.readings(meter))[ts] for meter in meters])
    assert wire.refused(home, gateway) == {stranger: "not_your_device"}
    assert (await db.state(gateway))["online"]
    assert await db.state(stranger) is None


async def test_ingest_quarantines_single_values_and_stores_the_rest(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, ts = f"{home}-environment-1", now_ms()
    values = {"temperature": 21, "humidity": 4000, "smell": 3, "pm10": "much"}
    async with ingest(database_url, mqtt.url):
        wire.send(f"sc/{home}/{device}/up/telemetry", {"ts": ts, "values": values})
        wire.send(f"sc/{home}/{device}/up/telemetry", {"ts": ts + 1, "values": {"humidity": -3}})
        ledger = await db.received(2)
    assert ledger == {"received": 2, "stored": 1, "duplicate": 0, "rejected": 1}
    kept = (await db.readings(device))[ts]
    assert kept[0] == 21.0 and set(kept[1:]) == {None}
    assert sorted(await db.quarantine()) == [
        ("message", "out_of_range", device),
        ("value", "malformed", device),
        ("value", "out_of_range", device),
        ("value", "unknown_metric", device),
    ]


async def test_ingest_keeps_every_refused_message_with_its_reason(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    env, sos, ts = f"{home}-environment-1", f"{home}-sos_button-1", now_ms()
    day = 86_400_000
    reading = {"ts": ts, "values": {"temperature": 20}}
    sent = {
        "bad_topic": (f"sc/{home}/BAD%20ID/up/telemetry", reading),
        "too_large": (f"sc/{home}/{env}/up/telemetry", b'"' + b"x" * 300_000 + b'"'),
        "malformed": (f"sc/{home}/{env}/up/telemetry", b"\xff\x00{"),
        "unknown_device": (f"sc/{home}/{home}-nobody/up/telemetry", reading),
        "wrong_community": (f"sc/elsewhere-{home}/{env}/up/telemetry", reading),
        "future_timestamp": (f"sc/{home}/{env}/up/telemetry", {**reading, "ts": ts + 3600_000}),
        "too_old": (f"sc/{home}/{env}/up/telemetry", {**reading, "ts": ts - 8 * day}),
        "unknown_event": (f"sc/{home}/{sos}/up/event", {"id": "e", "ts": ts, "event": "exploded"}),
    }
    async with ingest(database_url, mqtt.url):
        for topic, payload in sent.values():
            wire.send(topic, payload)
        wire.send(f"sc/{home}/{env}/up/telemetry", reading)
        ledger = await db.received(len(sent) + 1)
        clock = await until(lambda: _clock(db))
        assert clock is not None
    assert ledger == {"received": 9, "stored": 1, "duplicate": 0, "rejected": 8}
    assert {reason for _, reason, _ in await db.quarantine()} == set(sent)
    size, kept = await db.connection.fetchrow(
        "SELECT payload_size, length(payload) FROM quarantine WHERE reason = 'too_large'"
    )
    assert (size, kept) == (300_002, 65_536)
    assert await db.connection.fetchval("SELECT rejected FROM ingest_ledger WHERE partition = -1 AND lane = 1") == 1
    assert clock["device_no"] == await db.no(env) and abs(clock["offset_ms"] - 3600_000) < 60_000


async def _clock(db: Database) -> dict[str, int] | None:
    return next((item for item in await db.log_bodies() if item["type"] == "clock"), None)


async def test_ingest_logs_and_acknowledges_an_event_once(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, ts = f"{home}-sos_button-1", now_ms()
    event = {"id": "press-1", "ts": ts, "event": "pressed", "data": {"note": "帮助"}}
    async with ingest(database_url, mqtt.url):
        for _ in range(3):
            wire.send(f"sc/{home}/{device}/up/event", event)
        ledger = await db.received(3)
        await until(lambda: _all_acked(wire, home, device, {"press-1"}))
        wire.send(f"sc/{home}/{device}/up/event", {**event, "id": "press-2", "data": {"note": "other"}})
        await db.received(4)
    assert ledger == {"received": 3, "stored": 1, "duplicate": 2, "rejected": 0}
    assert await db.quarantine() == [("message", "conflict", device)]
    (item,) = await db.log_bodies()
    assert item["type"] == "event" and item["event"] == "pressed" and item["data"] == {"note": "帮助"}
    assert (item["device_no"], item["ts_ms"], item["id"]) == (await db.no(device), ts, "press-1")
    assert (await db.state(device))["last_event"] == "pressed"
    assert await db.count("device_event") == 1


async def test_ingest_orders_status_by_session_and_ignores_a_retained_replay(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, ts = f"{home}-environment-1", now_ms()
    topic = f"sc/{home}/{device}/up/status"
    worker = f"t-{home[:8]}"
    async with ingest(database_url, mqtt.url, worker=worker):
        for n, body in enumerate(({"online": True, "session": 2}, {"online": False, "session": 1}), start=1):
            wire.send(topic, {"ts": ts, **body}, retain=True)
            await db.received(n)
        assert (await until(lambda: db.state(device)))["online"] is True
        wire.send(topic, {"ts": ts, "online": False, "session": 2}, retain=True)
        await db.received(3)
    assert (await db.state(device))["online"] is False
    # A new session at the broker hears the retained status once more.
    async with ingest(database_url, mqtt.url, mqtt_client_prefix=f"t-{home}-anew"):
        ledger = await db.received(4)
        wire.send(topic, b"", retain=True)
    assert (ledger["stored"], ledger["duplicate"]) == (2, 2)
    state = await db.state(device)
    assert (state["online"], state["session"]) == (False, 2)
    assert [(item["session"], item["online"]) for item in await db.log_bodies()] == [(2, True), (2, False)]


async def test_a_status_said_again_is_a_sign_of_life_and_a_retained_replay_is_none(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    """A camera has no readings: that it says the same once more is all there is to hear of it."""
    device, said = f"{home}-environment-1", {"online": True, "session": 2}
    topic = f"sc/{home}/{device}/up/status"

    async def seen_ms() -> float:
        return float((await until(lambda: db.state(device)))["last_seen_at"].timestamp() * 1000)

    async with ingest(database_url, mqtt.url, worker=f"t-{home[:8]}"):
        wire.send(topic, {"ts": now_ms(), **said}, retain=True)
        await db.received(1)
        first = await seen_ms()
        await asyncio.sleep(0.01)
        again = now_ms()
        wire.send(topic, {"ts": again, **said}, retain=True)
        await db.received(2)

        async def moved() -> bool:
            return await seen_ms() >= again > first

        await until(moved)
    heard = await seen_ms()
    async with ingest(database_url, mqtt.url, mqtt_client_prefix=f"t-{home}-anew"):
        ledger = await db.received(3)
        wire.send(topic, b"", retain=True)
    assert (ledger["stored"], ledger["duplicate"]) == (1, 2)
    assert await seen_ms() == heard
    assert len(await db.log_bodies()) == 1


async def test_ingest_numbers_the_log_without_gaps_over_restarts(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, ts = f"{home}-environment-1", now_ms() - 60_000
    for turn in range(3):
        async with ingest(database_url, mqtt.url, worker=f"t-{home[:8]}"):
            for n in range(3):
                at = ts + turn * 100 + n
                wire.send(f"sc/{home}/{device}/up/telemetry", {"ts": at, "values": {"temperature": n}})
                await db.received(turn * 3 + n + 1)
    ((_, numbers),) = (await db.log_numbers()).items()
    assert numbers == list(range(1, 10))


async def test_ingest_hears_at_once_of_a_device_that_was_registered_while_it_ran(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    async with ingest(database_url, mqtt.url):
        await asyncio.sleep(1.1)
        other = f"n{home}"
        await put_community(database_url, small_community(other, prefix=f"{other}-"))
        device, ts = f"{other}-environment-1", now_ms()
        wire.send(f"sc/{other}/{device}/up/telemetry", {"ts": ts, "values": {"temperature": 20}})
        ledger = await db.received(1)
    assert ledger["stored"] == 1


async def test_ingest_answers_a_call_for_help_with_a_lost_clock_once(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    """A button that lost its clock sends from 1970; resent until acknowledged, it is one event."""
    device = f"{home}-sos_button-1"
    press = {"id": "press-1", "ts": 12_000, "event": "pressed"}
    async with ingest(database_url, mqtt.url):
        for count in (1, 2):
            wire.send(f"sc/{home}/{device}/up/event", press)
            await db.received(count)
        wire.send(f"sc/{home}/{device}/up/event", press | {"id": "press-2"})
        assert await db.received(3) == {"received": 3, "stored": 2, "duplicate": 1, "rejected": 0}
        await until(lambda: _all_acked(wire, home, device, {"press-1", "press-2"}))
    events = [item for item in await db.log_bodies() if item["type"] == "event"]
    assert [item["id"] for item in events] == ["press-1", "press-2"]
    assert all(item["ts_ms"] == item["received_ms"] and item["data"]["device_ts"] == 12_000 for item in events)
    assert ("value", "too_old", device) in await db.quarantine()
