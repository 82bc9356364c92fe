"""消防通道被占: a car stands in a fire lane for five minutes; it leaves, and the order is closed by people."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.registry import FIRE_LANE
from services.domain.vocabulary import Label, Severity, Team


async def parks(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], {"occupied": True}, stage.now_ms() - 305_000)


async def parked(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    await stage.event(devices[0], "entered", {}, now - 305_000)
    for seconds in (150, 0):
        await stage.reading(devices[0], {"occupied": True}, now - seconds * 1000)


async def still_there(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], {"occupied": True}, stage.now_ms())


async def leaves(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    await stage.reading(devices[0], {"occupied": False}, now)
    await stage.event(devices[0], "left", {}, now)


STORY = Story(
    name="fire_lane_blocked",
    label=Label("消防通道被占", "Fire lane blocked"),
    need=Need("parking_sensor", tag=FIRE_LANE, quiet_s=310),
    first=parks,
    script=parked,
    again=still_there,
    repeats=False,
    calm=leaves,
    expected=Expected(
        rules=frozenset({"parking_sensor.fire_lane"}), severity=Severity.MAJOR, team=Team.PATROL, life_safety=False
    ),
)
