"""井盖移位: a cover tilts by 14° for more than three seconds; reports of its displacement join the same order."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def tilts(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], {"tilt": 14.0}, stage.now_ms() - 4000)


async def tilted(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    for seconds in (2, 0):
        await stage.reading(devices[0], {"tilt": 14.0}, now - seconds * 1000)


async def displaced(stage: Stage, devices: Sequence[str]) -> None:
    await stage.event(devices[0], "displaced", {"tilt": 15.0}, stage.now_ms())


async def put_back(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], {"tilt": 0.5}, stage.now_ms())


STORY = Story(
    name="manhole_open",
    label=Label("井盖移位", "Manhole cover displaced"),
    need=Need("manhole", quiet_s=6),
    first=tilts,
    script=tilted,
    again=displaced,
    calm=put_back,
    expected=Expected(
        rules=frozenset({"manhole.tilted", "manhole.displaced", "manhole.open"}),
        severity=Severity.MAJOR,
        team=Team.MAINTENANCE,
        life_safety=False,
    ),
)
