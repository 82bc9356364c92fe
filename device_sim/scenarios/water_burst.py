"""水管爆裂: a flat's meter shows 4.2 m³/h for over a minute, then reports a leak; the valve is shut."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team

_FLOW = 4.2


async def breaks(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], {"flow": _FLOW}, stage.now_ms() - 70_000)


async def burst(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    for seconds in (35, 0):
        await stage.reading(devices[0], {"flow": _FLOW}, now - seconds * 1000)


async def goes_on(stage: Stage, devices: Sequence[str]) -> None:
    await stage.event(devices[0], "leak", {"flow": _FLOW}, stage.now_ms())


async def shut(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], {"flow": 0.0}, stage.now_ms())


STORY = Story(
    name="water_burst",
    label=Label("水管爆裂", "Burst water pipe"),
    need=Need("water_meter", quiet_s=75),
    first=breaks,
    script=burst,
    again=goes_on,
    calm=shut,
    expected=Expected(
        rules=frozenset({"water_meter.burst", "water_meter.leak"}),
        severity=Severity.MAJOR,
        team=Team.MAINTENANCE,
        life_safety=False,
    ),
)
