"""A fleet on a real broker: every device logs in as itself, yesterday is filled in, readings come, all say good-bye."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from device_sim import spool
from device_sim.fleet import Fleet
from device_sim.life import Surroundings
from services.domain.registry import GATEWAY_KIND
from tests.conftest import Mqtt
from tests.factory import secret_of, small_community
from tests.sim_kit import Ingest, broker_of, ingest


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody acknowledges here for a while, and what is said again would be heard twice."""
    monkeypatch.setattr(spool, "RESEND_FIRST_S", 60.0)


async def test_fleet_brings_a_community_to_life_and_says_goodbye(mqtt: Mqtt, tmp_path: Path) -> None:
    community = small_community("simfleet")
    direct: dict[str, str] = {d.id: secret_of(d.id) for d in community.devices if d.gateway_id is None}
    mqtt.admit(direct)
    fleet = Fleet(community, broker_of(mqtt), direct, Surroundings(community), home=tmp_path, speed=60)
    async with ingest(mqtt, community.id) as witness:
        stop = asyncio.Event()
        life = asyncio.create_task(fleet.run(stop))
        gateway = next(d.id for d in community.devices if d.kind == GATEWAY_KIND)
        meters = {d.id for d in community.devices if d.gateway_id == gateway}

        def complete() -> bool:
            said = {item["device"] for batch in witness.of("telemetry", gateway) for item in batch}
            online = {h.device for h in witness.heard if h.channel == "status" and h.body["online"]}
            return said == meters and online == set(direct)

        await witness.until(complete)
        items = [item for batch in witness.of("telemetry", gateway) for item in batch]
        for meter in meters:
            times = [item["ts"] for item in items if item["device"] == meter]
            assert max(times) - min(times) >= 23 * 3_600_000, "a day is filled in"
        for counter in ("energy_kwh", "total_m3"):
            for meter in meters:
                values = [i["values"][counter] for i in items if i["device"] == meter and counter in i["values"]]
                assert values == sorted(values)
        for batch in witness.of("telemetry", gateway):
            witness.acknowledge(gateway, batch[0]["id"])
        stop.set()
        await asyncio.wait_for(life, 90)
        await witness.until(
            lambda: {h.device for h in witness.heard if h.channel == "status" and not h.body["online"]} == set(direct)
        )
    assert fleet.progress.traffic.connected == 0
    assert (tmp_path / "sim" / "memory-simfleet.json").stat().st_size > 1000


def _told_since(witness: Ingest, fleet: Fleet, before: int) -> bool:
    """Whether it is connected and something more was heard."""
    said = any(one.channel == "telemetry" for one in witness.heard[before:])
    return fleet.progress.traffic.connected > 0 and said


async def test_fleet_started_again_fills_in_only_what_is_missing(mqtt: Mqtt, tmp_path: Path) -> None:
    community = small_community("simagain")
    community = replace(community, devices=tuple(d for d in community.devices if d.kind in (GATEWAY_KIND, "gas_meter")))
    direct: dict[str, str] = {d.id: secret_of(d.id) for d in community.devices if d.gateway_id is None}
    mqtt.admit(direct)
    counts = []
    async with ingest(mqtt, community.id) as witness:
        for _ in range(2):
            fleet = Fleet(community, broker_of(mqtt), direct, Surroundings(community), home=tmp_path)
            stop, before = asyncio.Event(), len(witness.heard)
            life = asyncio.create_task(fleet.run(stop))
            await witness.until(partial(_told_since, witness, fleet, before))
            stop.set()
            await asyncio.wait_for(life, 90)
            batches = [h.body for h in witness.heard[before:] if h.channel == "telemetry"]
            counts.append(sum(len(batch) for batch in batches))
    assert counts[0] >= 4 * 47
    assert counts[1] <= 8
