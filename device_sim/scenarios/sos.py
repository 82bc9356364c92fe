"""一键呼叫: an SOS button is pressed, and pressed again while nobody has come yet."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def press(stage: Stage, devices: Sequence[str]) -> None:
    await stage.event(devices[0], "pressed", {}, stage.now_ms())


STORY = Story(
    name="sos",
    label=Label("一键呼叫", "SOS button"),
    need=Need("sos_button"),
    script=press,
    again=press,
    expected=Expected(
        rules=frozenset({"sos_button.pressed"}), severity=Severity.CRITICAL, team=Team.GRID, life_safety=True
    ),
)
