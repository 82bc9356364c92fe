"""The day before the simulator was started, for meters and PV: late batches, so that curves do not begin empty."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from device_sim.life import Life
from device_sim.paho_loop import first

if TYPE_CHECKING:
    from device_sim.fleet import Fleet, Station

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
STEP_MS = {
    "electricity_meter": 900_000,
    "pv_inverter": 900_000,
    "water_meter": 900_000,
    "gas_meter": 1_800_000,
}
MESSAGES_PER_S = 50.0


async def backfill(fleet: Fleet, stop: asyncio.Event) -> None:
    """Fills from a device's last reading (a day ago at most) to now; the live readings follow on the same counters.

    A station says nothing live before its history is out: memories only move forwards.
    """
    now_ms = int(time.time() * 1000)
    stations = [s for s in fleet.stations.values() if any(_behind(life, now_ms) for life in s.lives)]
    for station in stations:
        station.filled = False
    sent = 0
    for station in stations:
        batches = _history(fleet, station, int(time.time() * 1000))
        for start in range(0, len(batches), 200):
            if stop.is_set():
                return
            station.uplink.send("telemetry", batches[start : start + 200])
            sent += len(batches[start : start + 200])
            await first(asyncio.sleep(1 / MESSAGES_PER_S), stop.wait())
        station.filled = True
    if sent:
        log.info("filled in %d readings of the last day", sent)


def _behind(life: Life, now_ms: int) -> bool:
    return life.kind.name in STEP_MS and now_ms - life.last_ms > 2 * STEP_MS[life.kind.name]


def _history(fleet: Fleet, station: Station, now_ms: int) -> list[dict[str, object]]:
    """Oldest first; computed in one go, so that no live reading can come between."""
    items: list[tuple[int, dict[str, object]]] = []
    for life in station.lives:
        if not _behind(life, now_ms):
            continue
        step = STEP_MS[life.kind.name]
        ts = max(life.last_ms + step, now_ms - DAY_MS)
        ts += -ts % step
        while ts < now_ms - step // 3:
            values = life.look(fleet.surroundings, ts).values
            life.reported_ms = ts
            items.append((ts, {"device": life.device.id, "ts": ts, "values": values}))
            ts += step
    items.sort(key=lambda item: item[0])
    return [body for _, body in items]
