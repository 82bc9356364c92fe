"""体征异常: a band measures 138 beats a minute in two of three readings; one alone sends nobody."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team

_CALM = {"heart_rate": 72, "systolic": 128, "diastolic": 78, "spo2": 97}
_RACING = {**_CALM, "heart_rate": 138}


async def leaps(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], _RACING, stage.now_ms() - 10_000)


async def races(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    for seconds, values in ((5, _CALM), (0, _RACING)):
        await stage.reading(devices[0], values, now - seconds * 1000)


async def goes_on(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], _RACING, stage.now_ms())


async def calms_down(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    for after_ms in (0, 1, 2):
        await stage.reading(devices[0], _CALM, now + after_ms)


STORY = Story(
    name="vitals_high",
    label=Label("老人心率过高", "An elder's heart races"),
    need=Need("wristband", quiet_s=12),
    first=leaps,
    script=races,
    again=goes_on,
    repeats=False,
    calm=calms_down,
    expected=Expected(
        rules=frozenset({"wristband.heart_rate_very_high"}),
        severity=Severity.MAJOR,
        team=Team.GRID,
        life_safety=False,
    ),
)
