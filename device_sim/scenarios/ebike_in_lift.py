"""电动车进梯: the lift's camera sees an e-bike being pushed in."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def enters(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    await stage.event(devices[0], "ebike_in_lift", {"photo": f"photo/{devices[0]}/{now}.jpg"}, now)


STORY = Story(
    name="ebike_in_lift",
    label=Label("电动车进电梯", "E-bike in a lift"),
    need=Need("ebike_camera"),
    script=enters,
    again=enters,
    expected=Expected(
        rules=frozenset({"ebike_camera.ebike_in_lift"}), severity=Severity.MAJOR, team=Team.PATROL, life_safety=False
    ),
)
