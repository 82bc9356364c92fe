"""Faults 26 and 27: one who reads too slowly, one who talks too much; the others do not notice."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import time
from urllib.parse import unquote, urlsplit

from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.fault_kit import Stubborn, all_acknowledged, all_stored, assert_each_once
from tests.fault_rows import CAMPAIGN, note, row
from tests.faults.test_poison import packet, text
from tests.ingest_kit import Database, Wire, ingest, now_ms, until

SECONDS = 20 if CAMPAIGN else 2


def deaf_subscriber(mqtt: Mqtt, home: str) -> socket.socket:
    """Subscribes to everything of the community and never reads it: its window fills, then the broker's queue."""
    parts = urlsplit(mqtt.url)
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.connect((mqtt.host, mqtt.port))
    login = text((parts.username or "").encode()) + text(unquote(parts.password or "").encode())
    link.sendall(
        packet(0x10, text(b"MQTT") + bytes((4, 0b11000010)) + b"\x00\x00" + text(b"deaf-" + home.encode()) + login)
    )
    assert link.recv(4)[:1] == b"\x20"
    link.sendall(packet(0x82, struct.pack("!H", 1) + text(f"sc/{home}/#".encode()) + b"\x01"))
    assert link.recv(5)[:1] == b"\x90"
    return link


@row(26)
async def test_a_subscriber_that_never_reads_holds_up_nobody(
    db: Database, database_url: str, mqtt: Mqtt, home: str, said: Stubborn
) -> None:
    async with ingest(database_url, mqtt.url):
        with deaf_subscriber(mqtt, home):
            await said.keep_saying(SECONDS)
            began = time.monotonic()
            await until(lambda: all_stored(db, said))
            behind = time.monotonic() - began
            await until(lambda: all_acknowledged(said))
    await assert_each_once(db, said)
    note(behind_s=behind, sent_again=0)


@row(27)
async def test_one_device_that_floods_does_not_slow_its_neighbours(
    db: Database, database_url: str, mqtt: Mqtt, home: str, wire: Wire
) -> None:
    """A thousand messages a second from one; its neighbours' calls and readings are acknowledged as ever."""
    flooding, neighbour, button = (f"{home}-{name}-1" for name in ("lamp_post", "environment", "sos_button"))
    other = f"{home}x"
    await put_community(database_url, small_community(other, prefix=f"{other}-"))
    loud = Wire(mqtt.url)
    asked: dict[tuple[str, str], float] = {}
    took: list[float] = []
    flood, numbers = 0, itertools.count()
    try:
        async with ingest(database_url, mqtt.url, flood_rate=100, flood_burst=500):
            start, began = now_ms() - 600_000, time.monotonic()
            while time.monotonic() - began < SECONDS:
                while flood < (time.monotonic() - began) * 1000:
                    loud.send(f"sc/{home}/{flooding}/up/telemetry", {"ts": start + flood, "values": {"power": 1}})
                    flood += 1
                id = f"n{next(numbers)}"
                for device, channel, more in (
                    (neighbour, "telemetry", {"values": {"temperature": 1}}),
                    (button, "event", {"event": "pressed"}),
                ):
                    asked[device, id] = time.monotonic()
                    wire.send(f"sc/{home}/{device}/up/{channel}", {"id": id, "ts": now_ms(), **more})
                for _ in range(10):
                    await asyncio.sleep(0.002)
                    took += answered(wire, home, asked)

            async def all_answered() -> bool:
                took.extend(answered(wire, home, asked))
                return not asked

            await until(all_answered)
            ledger = await db.received(flood + len(took))
            lasted = time.monotonic() - began
    finally:
        loud.close()
    stored = await db.stored()
    calm = [what for what in stored if what[0] != flooding]
    took.sort()
    note(sent=len(took), lost=len(took) - len(calm), doubled=len(calm) - len(set(calm)), flood=flood)
    note(flood_stored=len(stored) - len(calm), flood_refused=ledger["rejected"])
    note(neighbours_p50_ms=took[len(took) // 2] * 1000, neighbours_p99_ms=took[int(len(took) * 0.99)] * 1000)
    assert len(calm) == len(took)
    assert ledger["rejected"] >= flood - 500 - 100 * (lasted + 1), "the flood was let through"
    # Whatever became of the flood, each message of it is counted.
    assert ledger["received"] == flood + len(took)
    assert ledger["rejected"] + len(stored) == flood + len(took)
    assert {reason for _, reason, device in await db.quarantine() if device != flooding} == set()


def answered(wire: Wire, home: str, asked: dict[tuple[str, str], float]) -> list[float]:
    """How long each answer took that has come since."""
    now, took = time.monotonic(), list[float]()
    for device in {device for device, _ in asked}:
        mine = wire.acked(home, device) & {id for who, id in asked if who == device}
        took += [now - asked.pop((device, id)) for id in mine]
    return took
