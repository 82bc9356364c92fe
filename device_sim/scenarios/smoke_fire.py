"""火情: two smoke detectors of one building within three minutes are a fire: critical, one order for the building."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def fire(stage: Stage, devices: Sequence[str]) -> None:
    for device in devices:
        await stage.event(device, "alarm", {"smoke": 0.9, "temperature": 61.0}, stage.now_ms())


async def spreads(stage: Stage, devices: Sequence[str]) -> None:
    for device in devices:
        await stage.event(device, "alarm", {"smoke": 1.6, "temperature": 78.0}, stage.now_ms())


STORY = Story(
    name="smoke_fire",
    label=Label("楼内火情", "Fire in a building"),
    need=Need("smoke_detector", count=2, one_building=True),
    script=fire,
    again=spreads,
    expected=Expected(
        rules=frozenset({"smoke_detector.fire"}),
        severity=Severity.CRITICAL,
        team=Team.PATROL,
        life_safety=True,
        of_building=True,
        also=frozenset({"smoke_detector.alarm"}),
    ),
)
