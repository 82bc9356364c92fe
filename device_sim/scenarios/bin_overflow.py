"""垃圾满溢: the camera sees a bin run over, its level sensor agrees for ten minutes; one cleaning order for both."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def overflow(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    await stage.event(devices[0], "overflow", {"photo": f"photo/{devices[0]}/{now}.jpg"}, now)


async def full(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    for seconds, fill in ((610, 92.0), (300, 95.0), (0, 98.0)):
        await stage.reading(devices[0], {"fill": fill, "temperature": 18.0, "tilt": 0.0}, now - seconds * 1000)


async def collected(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], {"fill": 4.0, "temperature": 18.0, "tilt": 0.0}, stage.now_ms())


STORY = Story(
    name="bin_overflow",
    label=Label("垃圾满溢", "Bin overflow"),
    need=Need("bin", quiet_s=615),
    script=overflow,
    again=full,
    calm=collected,
    expected=Expected(
        rules=frozenset({"bin.overflow", "bin.full"}), severity=Severity.MINOR, team=Team.CLEANING, life_safety=False
    ),
)
