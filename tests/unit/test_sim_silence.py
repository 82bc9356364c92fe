"""A story of devices that must have been silent is not played by one that speaks while its wire is taken over."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from device_sim.broker import Broker
from device_sim.theatre import performance as theatre
from device_sim.theatre.api import AccountInfo, Api
from device_sim.theatre.performance import Outcome, Performance, perform
from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team

LONG_AGO_S = 600.0


class Meters:
    """A desk that sees these water meters, each silent for a long time, until somebody says something of one."""

    def __init__(self, *ids: str) -> None:
        self.accounts = {"desk": AccountInfo("desk", "", "desk", None)}
        self.spoke_ms = dict.fromkeys(ids, round((time.time() - LONG_AGO_S) * 1000))

    def said(self, device: str, ts_ms: int) -> None:
        self.spoke_ms[device] = max(self.spoke_ms[device], ts_ms)

    async def pages(self, path: str, **_: Any) -> list[dict[str, Any]]:
        if not path.endswith("/devices"):
            return []
        return [
            {
                "id": id, "kind": "water_meter", "building_id": "b", "gateway_id": None, "tags": [],
                "ts": datetime.fromtimestamp(ms / 1000, UTC).isoformat(),
            }
            for id, ms in self.spoke_ms.items()
        ]  # fmt: skip


class Wires:
    """Stages without wires. A device of `interrupts` makes a reading of its own while it is being taken over."""

    def __init__(self, meters: Meters, monkeypatch: pytest.MonkeyPatch, *interrupts: str, lost: bool = False) -> None:
        self.meters, self.interrupts, self.lost = meters, interrupts, lost
        self.opened: list[str] = []
        self.closed = 0
        monkeypatch.setattr(theatre, "WireStage", lambda *_, **__: _Stage(self))


class _Stage:
    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self.said_ms: dict[str, int] = {}

    def now_ms(self) -> int:
        return int(time.time() * 1000)

    async def open(self, devices: Sequence[str]) -> None:
        self._wires.opened += devices
        for device in set(devices).intersection(self._wires.interrupts):
            self._wires.meters.said(device, self.now_ms())

    async def reading(self, device: str, _: Mapping[str, Any], ts_ms: int) -> None:
        self.said_ms[device] = ts_ms
        if not self._wires.lost:
            self._wires.meters.said(device, ts_ms)

    async def close(self) -> None:
        self._wires.closed += 1


async def performed(meters: Meters, *, patience: float = 1.0) -> tuple[Outcome, list[str]]:
    """The outcome, and by whom the story was played."""
    players: list[str] = []

    async def first(stage: Stage, devices: Sequence[str]) -> None:
        await stage.reading(devices[0], {"flow": 4.2}, stage.now_ms() - 70_000)

    async def act(performance: Performance) -> None:
        players.extend(performance.cast.ids)

    async def script(_: Stage, __: Sequence[str]) -> None:
        raise AssertionError("the act alone plays")

    story = Story(
        name="burst",
        label=Label("", ""),
        need=Need("water_meter", quiet_s=75),
        first=first,
        script=script,
        act=act,
        expected=Expected(frozenset(), Severity.MAJOR, Team.MAINTENANCE, life_safety=False),
    )
    outcome = await perform(cast(Api, meters), story, "c", cast(Broker, None), {}, patience=patience)
    return outcome, players


async def test_story_is_played_by_a_meter_that_stayed_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    wires = Wires(Meters("m-1"), monkeypatch)
    outcome, players = await performed(wires.meters)
    assert (outcome.failed, players, wires.opened, wires.closed) == (None, ["m-1"], ["m-1"], 1)


async def test_story_takes_another_meter_where_the_first_spoke_while_it_was_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "sample", lambda devices, count: list(devices)[:count])
    wires = Wires(Meters("m-1", "m-2", "m-3"), monkeypatch, "m-1", "m-2")
    outcome, players = await performed(wires.meters)
    assert (outcome.failed, players, outcome.devices) == (None, ["m-3"], ["m-3"])
    assert (wires.opened, wires.closed) == (["m-1", "m-2", "m-3"], 3)


async def test_story_that_finds_only_meters_that_speak_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    meters = Meters(*(f"m-{number}" for number in range(9)))
    wires = Wires(meters, monkeypatch, *meters.spoke_ms)
    outcome, players = await performed(meters)
    assert outcome.failed is not None
    assert "5 times a water_meter that was to have been silent spoke meanwhile" in outcome.failed
    assert (players, len(wires.opened), wires.closed) == ([], 5, 5)


async def test_story_whose_acknowledged_reading_does_not_show_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    wires = Wires(Meters("m-1"), monkeypatch, lost=True)
    outcome, players = await performed(wires.meters, patience=0.01)
    assert outcome.failed is not None
    assert "m-1: a reading that was acknowledged does not show" in outcome.failed
    assert (players, wires.closed) == ([], 1)
