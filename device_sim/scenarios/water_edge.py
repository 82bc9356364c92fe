"""临水越界: the camera at the water sees somebody cross the line, and again; whoever is near runs there."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.registry import WATER_ZONE
from services.domain.vocabulary import Label, Severity, Team


async def crosses(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    await stage.event(devices[0], "crossed", {"photo": f"photo/{devices[0]}/{now}.jpg", "zone": "water"}, now)


STORY = Story(
    name="water_edge",
    label=Label("有人进入危险水域", "Someone at the water's edge"),
    need=Need("perimeter_camera", tag=WATER_ZONE),
    script=crosses,
    again=crosses,
    expected=Expected(
        rules=frozenset({"perimeter_camera.water_edge", "perimeter_camera.crossed"}),
        severity=Severity.CRITICAL,
        team=Team.PATROL,
        life_safety=True,
    ),
)
