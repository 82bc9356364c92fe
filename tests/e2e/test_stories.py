"""Every story on the real system: devices on the broker, ingest, alert engine and API, asserted through the API."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console

from device_sim import main as simulator
from device_sim.fleet import Fleet
from device_sim.scenarios import BY_NAME, STORIES
from device_sim.settings import SimSettings
from device_sim.theatre.api import Api, Unreachable, until
from device_sim.theatre.casting import witness_of
from device_sim.theatre.performance import Outcome
from device_sim.theatre.places import Places, find_places
from device_sim.theatre.story import Story
from services.alerts import main as alerts_main
from services.alerts.settings import AlertSettings
from services.api import main as api_main
from services.api.settings import ApiSettings
from services.cli.seed import credentials_file, seed
from services.cli.simulate import CANNOT, PASSED, play, show_failures, tell
from services.ingest import main as ingest_main
from services.ingest.settings import IngestSettings
from tests.conftest import Mqtt
from tests.ingest_kit import client_prefix

SCALE = 0.05
START_S = 60.0
PATIENCE = 4.0
"""What must come is held to here; how fast it comes is measured where nothing else runs."""
SECRET_KEY = "a-key-of-more-than-thirty-two-characters"

Run = Callable[[asyncio.Event, Callable[[int], None]], Coroutine[Any, Any, None]]


@asynccontextmanager
async def service(run: Run) -> AsyncIterator[int]:
    """A service from its ready call to its drained end; its port."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(stop, lambda port: None if ready.done() else ready.set_result(port)))
    done, _ = await asyncio.wait({task, ready}, timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
    if task in done:
        task.result()
    try:
        yield await asyncio.wait_for(ready, 1)
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


@asynccontextmanager
async def system(database_url: str, mqtt: Mqtt, home: Path, *, with_alerts: bool = True) -> AsyncIterator[Places]:
    """A seeded community and the services that watch over it."""
    await seed(database_url, home, "gongyuan", SCALE)
    await asyncio.to_thread(mqtt.admit, json.loads(credentials_file(home).read_text()))
    ingest = IngestSettings(
        database_url=database_url,
        mqtt_url=mqtt.account_url("svc-ingest"),
        worker=f"e2e-{secrets.token_hex(4)}",
        mqtt_client_prefix=client_prefix(database_url),
    )
    alerts = AlertSettings(database_url=database_url, mqtt_url=mqtt.account_url("svc-alerts"))
    api = ApiSettings(database_url=database_url, http_port=0, secret_key=SecretStr(SECRET_KEY))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(service(lambda stop, ready: ingest_main.run(ingest, stop, ready)))
        port = await stack.enter_async_context(service(lambda stop, ready: api_main.run(api, stop, ready)))
        if with_alerts:
            await stack.enter_async_context(service(lambda stop, ready: alerts_main.run(alerts, stop, ready)))
        environment = {
            "LINHUB_API_URL": f"http://127.0.0.1:{port}",
            "LINHUB_MQTT_URL": f"mqtt://{mqtt.host}:{mqtt.device_port}",
        }
        yield find_places(home, None, environment)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@asynccontextmanager
async def fleet(places: Places, home: Path) -> AsyncIterator[Fleet]:
    """The community alive, all of its devices connected and yesterday filled in."""
    stop, set_out = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = SimSettings(mqtt_url=places.mqtt_url, home=home, preset=places.community, scale=SCALE)
    life = asyncio.create_task(simulator.run(settings, stop, set_out.set_result))
    try:
        living: Fleet = await asyncio.wait_for(set_out, START_S)
        async with asyncio.timeout(START_S):
            while living.progress.traffic.connected < living.progress.stations or living.spooled > 5:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        yield living
    finally:
        stop.set()
        await asyncio.wait_for(life, 30)


async def valve_of_that_flat_is_closed(places: Places, alarm: str) -> None:
    """The plan told the flat's gas meter through the broker to close; it did, answered, reports its valve closed."""
    async with Api(places.api_url, places.accounts) as api:
        desk, community = witness_of(api.accounts), f"communities/{places.community}"
        (alert,) = (await api.get(f"{community}/alerts", as_user=desk, state="all", device_id=alarm))["items"]
        (run,) = (await api.get(f"{community}/plan-runs", as_user=desk, alert_id=alert["id"]))["items"]
        commands = (await api.get(f"plan-runs/{run['id']}", as_user=desk))["commands"]
        told = {command["device_id"]: command for command in commands if command["name"] == "valve_close"}
        (meter,) = told.keys() - {alarm}
        # The meter's own reading shows its valve shut; a detector measures nothing that could.
        assert (told[meter]["state"], told[alarm]["state"]) == ("confirmed", "done")
        assert told[meter]["sent_at"] is not None and told[meter]["detail"] == "done"

        async def closed() -> bool:
            device = await api.get(f"devices/{meter}", as_user=desk)
            return bool(device["kind"] == "gas_meter" and device["values"].get("valve") == 1.0)

        assert await until(asyncio.get_running_loop().time() + START_S, closed)


BESIDE = frozenset({"elder_fall", "sos", "vitals_high", "band_removed", "bin_overflow", "manhole_open", "ebike_in_lift",
                    "fire_lane_blocked", "water_edge", "bounced_order", "resident_report"})  # fmt: skip
"""Played while a building is dark for half a minute: none of their devices is behind a gateway or a camera of it."""


def shortened(story: Story) -> Story:
    """A storm of a quarter of its alerts: the orders of the whole one take half a minute to work off."""
    return replace(story, need=replace(story.need, behind=story.need.behind // 4)) if story.need.behind else story


async def told(places: Places, stories: Sequence[Story], home: Path) -> tuple[list[Outcome], str]:
    """Their outcomes, and what is printed of them."""
    said = io.StringIO()
    console = Console(file=said, width=160)
    outcomes = await play(places, [shortened(story) for story in stories], home, console, patience=PATIENCE)
    show_failures(outcomes, console)
    return outcomes, said.getvalue()


async def test_stories_beside_a_living_fleet_each_cause_the_alert_and_the_order_they_must(
    database_url: str, mqtt: Mqtt, home: Path
) -> None:
    dark, storm = BY_NAME["power_cut_storm"], BY_NAME["storm"]
    beside = [story for story in STORIES if story.name in BESIDE]
    alone = [story for story in STORIES if story not in (dark, storm, *beside)]
    async with system(database_url, mqtt, home) as places, fleet(places, home) as living:
        parts = [
            await told(places, alone, home),
            *await asyncio.gather(told(places, [dark], home), told(places, beside, home)),
            # Last: it takes all the room that a community has for orders within a quarter of an hour.
            await told(places, [storm], home),
        ]
        outcomes = {outcome.story: outcome for part, _ in parts for outcome in part}
        await valve_of_that_flat_is_closed(places, outcomes["gas_leak"].devices[0])
        assert living.progress.traffic.rejected == 0
        assert living.progress.traffic.refused == ""
    said = "".join(words for _, words in parts)
    assert outcomes.keys() == BY_NAME.keys()
    assert all(outcome.failed is None for outcome in outcomes.values()), said
    assert all(len(outcome.checks) >= 15 for outcome in outcomes.values())


async def test_story_told_again_chooses_another_device(database_url: str, mqtt: Mqtt, home: Path) -> None:
    said = Console(file=io.StringIO(), width=160)
    async with system(database_url, mqtt, home) as places:
        outcomes = await play(places, [BY_NAME["sos"]] * 3, home, said, patience=PATIENCE)
    assert [outcome.failed for outcome in outcomes] == [None] * 3
    assert len({outcome.devices[0] for outcome in outcomes}) == 3


async def test_story_without_the_alert_engine_fails_and_says_so(database_url: str, mqtt: Mqtt, home: Path) -> None:
    said = Console(file=io.StringIO(), width=160)
    async with system(database_url, mqtt, home, with_alerts=False) as places:
        (outcome,) = await play(places, [BY_NAME["gas_leak"]], home, said)
    assert outcome.failed is not None
    assert "no alert within 5 s; is services/alerts running?" in outcome.failed
    assert f"device_id={outcome.devices[0]}" in outcome.failed
    show_failures([outcome], said)
    assert "gas_leak" in said.file.getvalue()  # type: ignore[attr-defined]


async def test_story_without_an_api_cannot_be_tried(
    database_url: str, mqtt: Mqtt, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await seed(database_url, home, "gongyuan", SCALE)
    monkeypatch.setenv("LINHUB_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("LINHUB_MQTT_URL", f"mqtt://{mqtt.host}:{mqtt.device_port}")
    with pytest.raises(Unreachable, match="is services/api running"):
        await play(find_places(home), [BY_NAME["sos"]], home, Console(file=io.StringIO()))
    assert await asyncio.to_thread(tell, "sos", home, None, False) == CANNOT
    assert CANNOT != PASSED


def test_story_before_anything_was_seeded_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINHUB_API_URL", raising=False)
    monkeypatch.delenv("LINHUB_MQTT_URL", raising=False)
    assert tell("gas_leak", tmp_path, None, False) == CANNOT
    assert "run `linhub up`" in " ".join(capsys.readouterr().err.split())
    assert tell("no_such_story", tmp_path, None, False) == CANNOT
