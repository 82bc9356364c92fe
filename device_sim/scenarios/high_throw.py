"""高空抛物: the camera sees something fall from the ninth floor and keeps the clip as evidence."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def thrown(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    evidence = {"clip": f"clip/{devices[0]}/{now}.mp4", "floor": 9, "track": [[3.2, 27.0], [3.4, 14.1], [3.7, 0.0]]}
    await stage.event(devices[0], "thrown", evidence, now)


STORY = Story(
    name="high_throw",
    label=Label("高空抛物", "Thrown from a height"),
    need=Need("highthrow_camera"),
    script=thrown,
    again=thrown,
    expected=Expected(
        rules=frozenset({"highthrow_camera.thrown"}), severity=Severity.MAJOR, team=Team.PATROL, life_safety=False
    ),
)
