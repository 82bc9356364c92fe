"""Foreign formats through a real broker and the real ingest: rows, events, presence, answers and alerts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest

from services.adapters.postgres import open_pool
from services.domain.codecs import CODECS
from services.domain.devices import BY_NAME
from services.domain.ids import DeviceId
from services.domain.registry import Device
from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.fuzz_codecs import _seal_fire, _seal_meter
from tests.ingest_kit import Database, Wire, client_prefix, database, ingest, now_ms, until
from tests.integration.alerts_support import World, engine

NOW = now_ms() // 1000 * 1000 - 30_000
CHINA = datetime.fromtimestamp(NOW / 1000, UTC).astimezone(timezone(timedelta(hours=8)))
ISO = datetime.fromtimestamp(NOW / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Sender:
    """One publisher of a format with the device behind it (or itself, `kind` its own), and what must come of it."""

    codec: str
    kind: str
    address: str
    tail: str
    payload: Any
    values: dict[str, float] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    profile: str | None = None
    channel: str = "telemetry"
    direct: bool = False
    timed: bool = True


def _meter(frame: str) -> bytes:
    return _seal_meter(bytes.fromhex(frame) + b"\0\x16")


def _bcd(*numbers: int) -> str:
    return "".join(f"{number:02d}" for number in numbers)


_CLOCK = _bcd(CHINA.second, CHINA.minute, CHINA.hour, CHINA.day, CHINA.month, CHINA.year % 100, CHINA.year // 100)
_TAG = bytes((CHINA.second, CHINA.minute, CHINA.hour, CHINA.day, CHINA.month, CHINA.year - 2000))
_FIRE = b"\x40\x40\x07\x00\x01\x01" + _TAG + b"\x01" * 12 + b"\0\0\x02" + bytes((2, 1, 1, 1, 40, 1, 2, 0, 0, 2, 0))
_645 = bytes.fromhex("68563412907856 68 91 08") + bytes((b + 0x33) & 0xFF for b in bytes.fromhex("0000010078563412"))

SENDERS = (
    Sender(
        "senml_json", "environment", "urn:dev:1", "",
        [{"bn": "urn:dev:1:", "bt": NOW / 1000, "n": "temperature", "u": "K", "v": 293.15},
         {"n": "humidity", "u": "%RH", "v": 40}],
        {"temperature": 20, "humidity": 40},
    ),
    Sender(
        "senml_cbor", "environment", "cbor-1", "",
        bytes.fromhex("81a5 21 67") + b"cbor-1:" + bytes.fromhex("22 1a") + (NOW // 1000).to_bytes(4, "big")
        + bytes.fromhex("00 6b") + b"temperature" + bytes.fromhex("01 63") + b"Cel" + bytes.fromhex("02 f9 4d00"),
        {"temperature": 20},
    ),
    Sender(
        "onenet", "smoke_detector", "smoke-1", "$sys/p/smoke-1/thing/property/post",
        {"id": "1", "version": "1.0", "params": {
            "SmokeSensorState": {"value": 1, "time": NOW}, "BatteryPercentage": {"value": "88", "time": NOW}}},
        {"battery": 88}, ("alarm",), "onenet_smoke",
    ),
    Sender(
        "aliyun", "water_meter", "wm-1", "sys/pk/wm-1/thing/event/property/post",
        {"id": "7", "method": "thing.event.property.post", "params": {
            "WaterConsumption": {"value": 12340, "time": NOW}, "ValveState": {"value": 0, "time": NOW}}},
        {"total_m3": 12.34, "valve": 1}, (), "aliyun_water",
    ),
    Sender(
        "huawei", "smoke_detector", "sub-1", "$oc/devices/gw/sys/gateway/sub_devices/properties/report",
        {"devices": [{"device_id": "sub-1", "services": [
            {"service_id": "Smoke", "properties": {"Temperature": 21.5}, "event_time": ISO}]}]},
        {"temperature": 21.5}, (), "huawei_smoke",
    ),
    Sender(
        "tencent", "smoke_detector", "det-1", "$thing/up/event/P/det-1",
        {"method": "event_post", "clientToken": "t", "eventId": "SmokeAlarm", "timestamp": NOW, "params": {}},
        {}, ("alarm",), "tencent_smoke", "event",
    ),
    Sender(
        "thingsboard", "environment", "Device A", "v1/gateway/telemetry",
        {"Device A": [{"ts": NOW, "values": {"temperature": 42, "humidity": 80}}]},
        {"temperature": 42, "humidity": 80},
    ),
    Sender(
        "tasmota", "electricity_meter", "", "tele/SENSOR",
        {"Time": CHINA.strftime("%Y-%m-%dT%H:%M:%S"), "ENERGY": {"Total": 1.956, "Power": 9, "Voltage": 231}},
        {"energy_kwh": 1.956, "power": 9, "voltage": 231}, direct=True,
    ),
    Sender(
        "zigbee2mqtt", "smoke_detector", "hall/smoke", "zigbee2mqtt/hall/smoke",
        {"smoke": True, "battery": 97, "linkquality": 80, "last_seen": NOW},
        {"battery": 97}, ("alarm",), None, "event",
    ),
    Sender(
        "chirpstack", "door_magnet", "0101010101010101", "application/1/device/0101010101010101/event/up",
        {"deduplicationId": str(uuid4()), "time": ISO, "deviceInfo": {"devEui": "0101010101010101"},
         "object": {"DOOR_OPEN_STATUS": 1, "BAT_V": 3.1}},
        {"open": 1}, ("opened",),
    ),
    Sender(
        "cjt188", "water_meter", "78330011223344", "",
        _meter(f"68 10 44332211003378 81 16 1F9000 00776655 2C 00776655 2C {_CLOCK} 0100"),
        {"total_m3": 556677, "valve": 1},
    ),
    Sender("dlt645", "electricity_meter", "567890123456", "", _seal_meter(_645 + b"\0\x16"), {"energy_kwh": 123456.78},
           timed=False),
    Sender(
        "gbt26875", "smoke_detector", "1.1.00000201", "", _seal_fire(_FIRE + bytes(31) + _TAG + b"\0\x23\x23"),
        {}, ("alarm",), None, "event",
    ),
)  # fmt: skip


@pytest.fixture
def home() -> str:
    return f"f{uuid4().hex[:10]}"


@pytest.fixture
def wire(mqtt: Mqtt) -> Iterator[Wire]:
    client = Wire(mqtt.url)
    yield client
    client.close()


@pytest.fixture
async def db(database_url: str, home: str) -> AsyncIterator[Database]:
    community = small_community(home, prefix=f"{home}-")
    spot = next(device for device in community.devices if device.kind == "smoke_detector")
    await put_community(database_url, replace(community, devices=(*community.devices, *_devices(home, spot))))
    async with database(database_url) as questions:
        yield questions


def _devices(home: str, spot: Device) -> Iterator[Device]:
    for sender in SENDERS:
        gateway = DeviceId(f"{home}-{sender.codec}")
        at = replace(spot, name=sender.codec)
        if sender.direct:
            yield replace(at, id=gateway, kind=sender.kind, codec=sender.codec, profile=sender.profile)
            continue
        yield replace(at, id=gateway, kind="gateway", codec=sender.codec)
        child = replace(at, id=_device(home, sender), kind=sender.kind, gateway_id=gateway)
        yield replace(child, address=sender.address, profile=sender.profile)


def _device(home: str, sender: Sender) -> DeviceId:
    return DeviceId(f"{home}-{sender.codec}" + ("" if sender.direct else "-1"))


def _topic(home: str, sender: Sender) -> str:
    return f"sc/{home}/{home}-{sender.codec}/up/{sender.channel}" + (f"/{sender.tail}" if sender.tail else "")


async def _events(db: Database, device: str) -> list[tuple[str, str, int]]:
    rows = await db.connection.fetch(
        "SELECT event, message_id, (extract(epoch FROM ts) * 1000)::bigint AS ts FROM device_event "
        "WHERE device_no = $1",
        await db.no(device),
    )
    return [(row["event"], row["message_id"], row["ts"]) for row in rows]


async def test_every_format_comes_to_rows_and_events_once(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    assert {sender.codec for sender in SENDERS} == {codec.name for codec in CODECS} - {"native"}
    parts = sum(bool(sender.values) + len(sender.events) for sender in SENDERS)
    timeless = sum(bool(sender.values) + len(sender.events) for sender in SENDERS if not sender.timed)
    async with ingest(database_url, mqtt.url):
        for _ in range(2):
            for sender in SENDERS:
                wire.send(_topic(home, sender), sender.payload)
        ledger = await db.received(2 * parts)
    assert await db.quarantine() == []
    assert (ledger["received"], ledger["rejected"]) == (2 * parts, 0)
    # What carries no time cannot be told from a second reading, unless both came within a millisecond.
    assert parts <= ledger["stored"] <= parts + timeless
    for sender in SENDERS:
        device, kind = _device(home, sender), BY_NAME[sender.kind]
        rows = await db.readings(device)
        for ts, row in rows.items():
            assert ts == NOW or not sender.timed, sender.codec
            said = {metric.name: row[place] for place, metric in enumerate(kind.metrics) if row[place] is not None}
            assert said == pytest.approx(sender.values), sender.codec
        assert bool(rows) == bool(sender.values), sender.codec
        assert [(name, ts) for name, _, ts in await _events(db, device)] == [(e, NOW) for e in sender.events]
        for name, unique, ts in await _events(db, device):
            assert unique == f"{device}@{ts}:{name}"


async def test_foreign_sender_is_answered_after_the_commit_in_its_own_words(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    sender = next(sender for sender in SENDERS if sender.codec == "aliyun")
    down = f"sc/{home}/{home}-aliyun/down/reply/sys/pk/wm-1/thing/event/property/post_reply"
    wire._client.subscribe(down.replace("wm-1", "+"), qos=1)
    stranger = json.loads(json.dumps(sender.payload)) | {"id": "8"}
    async with ingest(database_url, mqtt.url):
        wire.send(_topic(home, sender), sender.payload)
        wire.send(_topic(home, sender).replace("wm-1", "wm-9"), stranger)

        async def answered() -> bool:
            return down in wire.acks and down.replace("wm-1", "wm-9") in wire.acks

        await until(answered)
    assert [(said["id"], said["code"]) for said in wire.acks[down]] == [("7", 200)]
    (refused,) = wire.acks[down.replace("wm-1", "wm-9")]
    assert (refused["id"], refused["code"]) == ("8", 460) and "no device wm-9 is registered" in refused["message"]
    assert len(await db.readings(f"{home}-aliyun-1")) == 1
    assert f"sc/{home}/{home}-aliyun/down/ack" not in wire.acks


async def test_presence_without_sessions_is_kept_in_the_order_it_was_said(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device = f"{home}-tasmota"
    topic = f"sc/{home}/{device}/up/telemetry/tele"
    async with ingest(database_url, mqtt.url):
        for word in ("Online", "Online", "Offline", "Offline", "Online", "Offline"):
            wire.send(f"{topic}/LWT", word.encode(), retain=True)
        ledger = await db.received(6)
        assert (ledger["stored"], ledger["duplicate"]) == (4, 2)

        async def gone() -> bool:
            state = await db.state(device)
            return state is not None and not state["online"]

        await until(gone)
    # Who subscribes anew hears the retained word again, and only then that the device is back.
    alarm = f"sc/{home}/{home}-zigbee2mqtt/up/event/zigbee2mqtt/hall/smoke"
    wire.send(alarm, {"smoke": True}, retain=True)
    await wire.sent()
    async with ingest(database_url, mqtt.url, mqtt_client_prefix=f"{client_prefix(database_url)}-anew"):

        async def refused() -> bool:
            return ("message", "too_old", "hall/smoke") in await db.quarantine()

        await until(refused)
        assert await db.count("device_event") == 0
        wire.send(f"{topic}/STATE", {"Time": CHINA.strftime("%Y-%m-%dT%H:%M:%S"), "POWER": "ON", "Heap": 25})

        async def back() -> bool:
            return bool((await db.state(device))["online"])

        await until(back)
    wire.send(f"{topic}/LWT", b"", retain=True)
    wire.send(alarm, b"", retain=True)
    await wire.sent()


async def test_alarm_on_the_telemetry_channel_becomes_one_order(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    """The lane an alarm comes by must not matter to the alert engine; its repeats join."""
    sender = next(sender for sender in SENDERS if sender.codec == "onenet")
    pool = await open_pool(database_url, name="test", max_size=2)
    world = World(database_url, pool)
    try:
        async with ingest(database_url, mqtt.url), engine(world):
            # Read now: NOW is of when the tests were collected, and what is an hour old is judged no more.
            began = now_ms() // 1000 * 1000 - 30_000
            for at in (began, began + 1000, began + 2000):
                wire.send(_topic(home, sender), json.loads(json.dumps(sender.payload).replace(str(NOW), str(at))))
            await db.received(6)
            (order,) = await until(world.orders)

            async def joined() -> bool:
                return bool(await pool.fetchval("SELECT count(*) FROM alert_occurrence") >= 3)

            await until(joined)
            assert len(await world.orders()) == 1
    finally:
        await pool.close()
    assert order["correlation"] == f"{home}-onenet-1@{began}"


async def test_reading_on_the_event_channel_is_judged_by_the_alert_engine(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    pool = await open_pool(database_url, name="test", max_size=2)
    world = World(database_url, pool)
    topic = f"sc/{home}/{home}-thingsboard/up/event/v1/gateway/telemetry"
    await pool.execute("UPDATE device SET kind = 'charger' WHERE id = $1", f"{home}-thingsboard-1")
    try:
        async with ingest(database_url, mqtt.url), engine(world):
            # Read now: NOW is of when the tests were collected, and what is ten minutes old is judged no more.
            began = now_ms() - 30_000
            for at in (began, began + 10_000):
                wire.send(topic, {"Device A": [{"ts": at, "values": {"temperature": 95}}]})
            (order,) = await until(world.orders)
    finally:
        await pool.close()
    assert order["kind"].startswith("charger")
