"""Faults 17 and 18: payloads that cannot be used, of every kind, among good ones: all good ones arrive."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from services.domain.messages import Reason
from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.fault_kit import Stubborn, all_acknowledged, well
from tests.fault_rows import note, row
from tests.ingest_kit import Database, Wire, ingest, now_ms, until

DAY_MS = 86_400_000
REFUSED_BY_THE_DATABASE = "m-the-database-says-no"
ELSEWHERE = {Reason.CONFLICT, *(reason for reason in Reason if reason.value == "flood")}
"""Reasons that need more than one message; conflict is provoked apart, flood in test_flood."""


def poisons(home: str, other: str) -> list[tuple[str, bytes | dict[str, Any] | list[Any], str]]:
    """(topic, payload, reason): one message each, refused whole."""
    t, now = f"sc/{home}/{home}-environment-1/up/telemetry", now_ms()
    e = f"sc/{home}/{home}-sos_button-1/up/event"
    gateway = f"sc/{home}/{home}-gateway-1/up/telemetry"
    good = {"temperature": 1}

    def reading(**more: Any) -> dict[str, Any]:
        return {"id": "x", "ts": now, "values": good, **more}

    return [
        (f"sc/{home}/UPPER/up/telemetry", reading(), "bad_topic"),
        (f"sc/{home}/{'x' * 65}/up/telemetry", reading(), "bad_topic"),
        (f"sc/{home}/a b/up/event", reading(), "bad_topic"),
        (t, b"x" * 300_000, "too_large"),
        (t, b"", "malformed"),
        (t, b"{", "malformed"),
        (t, b"null", "malformed"),
        (t, b"[]", "malformed"),
        (t, b"17", "malformed"),
        (t, b'"text"', "malformed"),
        (t, {"id": "x", "values": good}, "malformed"),
        (t, reading(ts="yesterday"), "malformed"),
        (t, reading(ts=-1), "malformed"),
        (t, reading(id="y" * 200), "malformed"),
        (t, reading(id="nul\x00"), "malformed"),
        (t, reading(values=[1]), "malformed"),
        (t, reading(values={}), "malformed"),
        (t, reading(values={"temperature": "warm"}), "malformed"),
        (t, reading(values={"temperature": {"is": 1}}), "malformed"),
        (t, reading(values={"hotness": 1}), "unknown_metric"),
        (t, reading(values={"temperature": 4000}), "out_of_range"),
        (t, reading(ts=now + 3_600_000), "future_timestamp"),
        (t, reading(ts=now - 8 * DAY_MS), "too_old"),
        (t, reading(ts=now // 1000), "too_old"),
        (t, reading(device=f"{home}-nobody"), "unknown_device"),
        (t, reading(device=f"{home}-water_meter-1"), "not_your_device"),
        (gateway, [reading(device=f"{other}-water_meter-1")], "wrong_community"),
        (f"sc/{home}/{home}-ghost-1/up/telemetry", reading(), "unknown_device"),
        (f"sc/{home}/{other}-environment-1/up/telemetry", reading(), "wrong_community"),
        (f"sc/nowhere/{home}-environment-1/up/telemetry", reading(), "wrong_community"),
        (e, {"id": "x", "ts": now, "event": "exploded"}, "unknown_event"),
        (e, {"ts": now, "event": "pressed"}, "malformed"),
        (e, {"id": "x", "ts": now, "event": "pressed", "data": [1]}, "malformed"),
        (e, {"id": "x", "ts": now, "event": "pressed", "data": {"a": "\x00"}}, "malformed"),
        (e, {"id": REFUSED_BY_THE_DATABASE, "ts": now, "event": "pressed"}, "malformed"),
        (f"sc/{home}/{home}-environment-1/up/status", [], "malformed"),
        (f"sc/{home}/{home}-environment-1/up/status", {"ts": now, "online": 1, "session": 1}, "malformed"),
        (f"sc/{home}/{home}-siren-1/up/reply", {"ts": now, "ok": True}, "malformed"),
    ]


@row(17)
async def test_good_messages_arrive_whole_among_poison_of_every_kind(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str, said: Stubborn
) -> None:
    other = f"{home}x"
    await put_community(database_url, small_community(other, prefix=f"{other}-"))
    # What only the database refuses, in the middle of a batch.
    await db.connection.execute(
        f"ALTER TABLE device_event ADD CONSTRAINT odd CHECK (message_id <> '{REFUSED_BY_THE_DATABASE}')"
    )
    bad = poisons(home, other)
    assert {reason for _, _, reason in bad} == {reason.value for reason in set(Reason) - ELSEWHERE}
    async with ingest(database_url, mqtt.url) as port:
        for topic, payload, _ in bad:
            said.say(5)
            wire.send(topic, payload)
        said.say(5)
        ledger = await db.received(len(said.sent) + len(bad))
        await until(lambda: all_acknowledged(said))
        await until(lambda: well(port))
        # The same device and time, another value.
        ts = next(ts for device, ts in said.sent.values() if "environment" in device)
        clash = {"id": "clash", "ts": ts, "values": {"temperature": 59.5}}
        wire.send(f"sc/{home}/{home}-environment-1/up/telemetry", clash)
        await until(lambda: told(wire, home, "clash"))
    lost = len(set(said.sent.values()) - set(await db.stored()))
    quarantined = [reason for scope, reason, _ in await db.quarantine() if scope == "message"]
    note(sent=len(said.sent), lost=lost, doubled=0, poison=len(bad) + 1, set_aside=len(quarantined), crashes=0)
    assert ledger == {
        "received": len(said.sent) + len(bad), "stored": len(said.sent), "duplicate": 0, "rejected": len(bad)
    }  # fmt: skip
    assert sorted(quarantined) == sorted([*(reason for _, _, reason in bad), "conflict"])
    assert lost == 0


async def told(wire: Wire, home: str, id: str) -> bool:
    return id in wire.refused(home, f"{home}-environment-1")


DEEP = 100_000
CORPUS: dict[str, bytes] = {
    "nan": b'{"id":"x","ts":NOW,"values":{"temperature":NaN}}',
    "infinity": b'{"id":"x","ts":NOW,"values":{"temperature":-Infinity}}',
    "1e999": b'{"id":"x","ts":NOW,"values":{"temperature":1e999}}',
    "huge whole number": b'{"id":"x","ts":NOW,"values":{"temperature":' + b"9" * 5000 + b"}}",
    "ts beyond 64 bit": b'{"id":"x","ts":' + b"9" * 30 + b',"values":{"temperature":1}}',
    "ts not a number": b'{"id":"x","ts":NaN,"values":{"temperature":1}}',
    "deep list": b"[" * DEEP + b"]" * DEEP,
    "deep object": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep values": b'{"id":"x","ts":NOW,"values":{"temperature":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    "many keys": b'{"id":"x","ts":NOW,"values":{' + b",".join(b'"k%d":1' % n for n in range(10_000)) + b"}}",
    "invalid utf-8": b'{"id":"\xff\xfe","ts":NOW,"values":{"temperature":1}}',
    "overlong utf-8": b'{"id":"\xc0\xaf","ts":NOW,"values":{"temperature":1}}',
    "lone surrogate": b'{"id":"\\ud800","ts":NOW,"values":{"temperature":1}}',
    "surrogate as metric": b'{"id":"x","ts":NOW,"values":{"\\udfff":1}}',
    "nul as metric": b'{"id":"x","ts":NOW,"values":{"\\u0000":1}}',
    "every byte": bytes(range(256)) * 100,
    "gzip": bytes.fromhex("1f8b0800000000000003") + b"\x00" * 50,
    "zeros": b"\x00" * 200_000,
    "utf-16": '{"id":"x","ts":1,"values":{}}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"id":"x","ts":NOW,"values":{"hotness":1}}',
    "sql": b'{"id":"x","ts":NOW,"values":{"temperature":"1); DROP TABLE reading; --"}}',
    "300 kB": b'{"id":"x","ts":NOW,"values":{"temperature":"' + b"x" * 300_000 + b'"}}',
    "just below the broker's limit": b"y" * 1_000_000,
}
"""What no device of ours says; each is refused whole."""

TOPICS = (
    "sc/{home}/../up/telemetry", "sc//{home}-environment-1/up/telemetry",
    "sc/{home}/ＡＢＣ/up/telemetry", "sc/{home}/%2e/up/event", "sc/{home}/'; --/up/event", "sc/{home}/$SYS/up/status",
    "sc/{home}/{long}/up/telemetry",
)  # fmt: skip
"""Names nobody has, on channels that ingest hears."""


@row(18)
async def test_huge_binary_and_deep_payloads_are_refused_with_a_reason_and_never_stop_anything(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str, said: Stubborn
) -> None:
    channels = {"telemetry": f"{home}-environment-1", "event": f"{home}-sos_button-1"}
    bad: list[tuple[str, bytes]] = [
        (f"sc/{home}/{device}/up/{channel}", payload.replace(b"NOW", str(now_ms()).encode()))
        for channel, device in channels.items()
        for payload in CORPUS.values()
    ]
    bad += [(name.format(home=home, long="x" * 10_000), b"{}") for name in TOPICS]
    async with ingest(database_url, mqtt.url) as port:
        for topic, payload in bad:
            wire.send(topic, payload)
            said.say(2)
        ledger = await db.received(len(said.sent) + len(bad))
        await until(lambda: all_acknowledged(said))
        await until(lambda: well(port))
        details = await db.connection.fetch("SELECT detail FROM quarantine WHERE scope = 'message'")
    lost = len(set(said.sent.values()) - set(await db.stored()))
    note(sent=len(said.sent), lost=lost, doubled=0, odd_payloads=len(bad), refused=ledger["rejected"], crashes=0)
    assert (lost, ledger["rejected"], ledger["stored"]) == (0, len(bad), len(said.sent))
    assert all(row["detail"] for row in details), "refused without a reason"


def packet(head: int, body: bytes) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | (0x80 if size else 0))
        if not size:
            return bytes([head]) + bytes(length) + body


def text(raw: bytes) -> bytes:
    return struct.pack("!H", len(raw)) + raw


def publish(topic: bytes, payload: bytes) -> bytes:
    return packet(0x32, text(topic) + b"\x00\x01" + payload)


RAW: dict[str, Callable[[str], bytes]] = {
    "10 MB": lambda home: publish(f"sc/{home}/{home}-environment-1/up/telemetry".encode(), b"z" * 10_000_000),
    "topic that is no utf-8": lambda home: publish(b"sc/" + home.encode() + b"/\xff\xfe/up/telemetry", b"{}"),
    "nul in the topic": lambda home: publish(b"sc/" + home.encode() + b"/a\x00b/up/telemetry", b"{}"),
    "wildcard in the topic": lambda home: publish(f"sc/{home}/+/up/telemetry".encode(), b"{}"),
    "everything in the topic": lambda home: publish(f"sc/{home}/#".encode(), b"{}"),
    "tab in the topic": lambda home: publish(f"sc/{home}/{home}-environment-1\t/up/telemetry".encode(), b"{}"),
    "no topic": lambda home: publish(b"", b"{}"),
    "a topic longer than the packet": lambda home: packet(0x32, b"\xff\xffsc/"),
    "quality of service 3": lambda home: packet(0x36, text(b"sc/a/b/up/event") + b"\x00\x01{}"),
    "not MQTT": lambda home: b"GET / HTTP/1.1\r\nHost: linhub\r\n\r\n",
}
"""What the broker itself must throw out, with whoever sends it."""


@row(18)
@pytest.mark.parametrize("what", RAW)
async def test_broker_throws_out_who_breaks_the_protocol_and_nobody_else(
    db: Database, database_url: str, mqtt: Mqtt, home: str, said: Stubborn, what: str
) -> None:
    async with ingest(database_url, mqtt.url):
        said.say(20)
        assert await asyncio.to_thread(thrown_out, mqtt, RAW[what](home)), "the broker kept it"
        said.say(20)
        await until(lambda: all_acknowledged(said))
    ledger = await db.ledger()
    note(sent=40, lost=40 - len(await db.stored()), doubled=ledger["duplicate"], crashes=0)
    assert ledger == {"received": 40, "stored": 40, "duplicate": 0, "rejected": 0}


def thrown_out(mqtt: Mqtt, data: bytes) -> bool:
    """Logs in as MQTT 3.1.1, sends `data` and waits for the end of the connection."""
    parts = urlsplit(mqtt.url)
    login = text((parts.username or "").encode()) + text(unquote(parts.password or "").encode())
    with socket.create_connection((mqtt.host, mqtt.port), timeout=60) as link:
        link.sendall(packet(0x10, text(b"MQTT") + bytes((4, 0b11000010)) + b"\x00\x3c" + text(b"raw-client") + login))
        assert link.recv(4)[:1] == b"\x20"
        try:
            link.sendall(data)
            link.settimeout(60)
            return link.recv(1) == b""
        except (ConnectionError, BrokenPipeError):
            return True
        except TimeoutError:
            return False


def test_corpus_is_what_it_says() -> None:
    for name in ("nan", "infinity"):
        json.loads(CORPUS[name].replace(b"NOW", b"1"))
    with pytest.raises(UnicodeDecodeError):
        CORPUS["invalid utf-8"].decode()
