"""One device goes mad at a thousand messages a second and more: it is limited and told of, its neighbours go on."""

from __future__ import annotations

import asyncio
import time

from services.domain.messages import Reason
from services.ingest.limits import SPECIMENS_A_MINUTE
from tests.conftest import Mqtt
from tests.ingest_kit import Database, Wire, ingest, now_ms, until

FLOOD_S = 4.0
PER_S = 1_200
SETTINGS = {"flood_rate": 50, "flood_burst": 200}
FEW_EVENTS = {"flood_event_rate": 5, "flood_event_burst": 50}
NEIGHBOURS = 60


async def acked(wire: Wire, home: str, device: str, event: str, message_id: str) -> float:
    """Publishes an event; seconds until its application ack."""
    began = time.monotonic()
    body = {"id": message_id, "ts": now_ms(), "event": event}
    wire.send(f"sc/{home}/{device}/up/event", body)
    while message_id not in wire.acked(home, device):
        assert time.monotonic() - began < 90, f"{message_id} is not acknowledged"
        await asyncio.sleep(0.001)
    return time.monotonic() - began


async def neighbours(wire: Wire, home: str, name: str) -> float:
    """p99 of calls for help from a device that is not mad, one after the other, in seconds."""
    times = []
    for number in range(NEIGHBOURS):
        times.append(await acked(wire, home, f"{home}-sos_button-1", "pressed", f"{name}-{number}"))
        await asyncio.sleep(0.04)
    return sorted(times)[int(len(times) * 0.99) - 1]


async def flood(wire: Wire, home: str, device: str, body: str, stop: asyncio.Event) -> int:
    """As fast as `PER_S`, each message with a time of its own; how many."""
    began, sent = time.monotonic(), 0
    while not stop.is_set():
        due = int((time.monotonic() - began) * PER_S)
        for number in range(sent, due):
            wire.send(f"sc/{home}/{device}/up/telemetry", {"ts": now_ms() - 3_600_000 + number, "values": {body: 21.5}})
        sent = due
        await asyncio.sleep(0.01)
    return sent


async def test_flood_is_limited_counted_and_told_and_neighbours_are_answered(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    mad, other = f"{home}-environment-1", Wire(mqtt.url)
    try:
        async with ingest(database_url, mqtt.url, **SETTINGS):
            await neighbours(wire, home, "warm")
            quiet = await neighbours(wire, home, "quiet")
            stop = asyncio.Event()
            began = time.monotonic()
            flooding = asyncio.create_task(flood(other, home, mad, "temperature", stop))
            await asyncio.sleep(1)
            loud = await neighbours(wire, home, "loud")
            await asyncio.sleep(max(0.0, began + FLOOD_S - time.monotonic()))
            stop.set()
            sent, took = await flooding, time.monotonic() - began
            await other.sent()
            ledger = await db.received(sent + 3 * NEIGHBOURS)
            lasted = time.monotonic() - began
            stored = len(await db.readings(mad))
            print(  # noqa: T201
                f"\nflood {sent / took:.0f}/s for {took:.1f} s: {stored} stored, {ledger['rejected']} refused; "
                f"neighbours' p99 {quiet * 1000:.0f} ms before, {loud * 1000:.0f} ms meanwhile"
            )
            assert sent > 2 * (SETTINGS["flood_burst"] + SETTINGS["flood_rate"] * (lasted + 1)), "that was no flood"
            assert ledger["received"] == sent + 3 * NEIGHBOURS
            assert ledger["stored"] == stored + 3 * NEIGHBOURS
            assert ledger["rejected"] == sent - stored
            assert stored <= SETTINGS["flood_burst"] + SETTINGS["flood_rate"] * (lasted + 1)
            kept = [device for scope, reason, device in await db.quarantine() if reason == Reason.FLOOD]
            assert set(kept) <= {mad}
            assert 1 <= len(kept) <= SPECIMENS_A_MINUTE * (lasted // 60 + 2)

            async def told() -> list[int]:
                return [item["count"] for item in await db.log_bodies() if item["type"] == "flood"]

            assert sum(await until(told)) >= 1
    finally:
        other.close()


async def test_call_for_help_passes_a_gateways_flood_of_events_and_what_is_refused_is_taken_again(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    """The band reports `removed` without end; between two of them its wearer calls."""
    band = f"{home}-wristband-1"
    async with ingest(database_url, mqtt.url, **FEW_EVENTS):
        noise = {"event": "removed", "data": {}}
        start = now_ms() - 600_000
        ids = [f"noise-{number}" for number in range(400)]
        for number, message_id in enumerate(ids):
            wire.send(f"sc/{home}/{band}/up/event", {"id": message_id, "ts": start + number, **noise})
        await acked(wire, home, band, "sos", "help")
        await db.received(len(ids) + 1)
        refused = [message_id for message_id in ids if message_id not in wire.acked(home, band)]
        assert len(refused) > 200
        # Neither accepted nor refused for good: the sender keeps them, and sends them again.
        assert not set(refused) & set(wire.refused(home, band))
        again = refused[:3]
        await asyncio.sleep(1)
        for message_id in again:
            number = ids.index(message_id)
            wire.send(f"sc/{home}/{band}/up/event", {"id": message_id, "ts": start + number, **noise})

        async def taken() -> bool:
            return set(again) <= wire.acked(home, band)

        assert await until(taken)
