"""老人跌倒: the wristband of an elder reports a fall; the 网格员 of that 网格 goes."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def fall(stage: Stage, devices: Sequence[str]) -> None:
    await stage.event(devices[0], "fall", {}, stage.now_ms())


STORY = Story(
    name="elder_fall",
    label=Label("老人跌倒", "An elder fell"),
    need=Need("wristband"),
    script=fall,
    again=fall,
    expected=Expected(
        rules=frozenset({"wristband.fall"}), severity=Severity.CRITICAL, team=Team.GRID, life_safety=True
    ),
)
