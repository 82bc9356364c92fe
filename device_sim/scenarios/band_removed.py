"""手环摘下: an elder's band says that it was taken off; the 网格员 looks in, and nobody is asked first."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def taken_off(stage: Stage, devices: Sequence[str]) -> None:
    await stage.event(devices[0], "removed", {}, stage.now_ms())


STORY = Story(
    name="band_removed",
    label=Label("手环被摘下", "Band taken off"),
    need=Need("wristband"),
    script=taken_off,
    again=taken_off,
    expected=Expected(
        rules=frozenset({"wristband.removed"}), severity=Severity.MINOR, team=Team.GRID, life_safety=False
    ),
)
