"""燃气泄漏: a household's gas alarm goes off; the valve is shut from afar, the patrol goes, the gas falls."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def leak(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    await stage.event(devices[0], "alarm", {"lel": 18.5}, now)
    await stage.reading(devices[0], {"lel": 18.5}, now + 1)


async def climb(stage: Stage, devices: Sequence[str]) -> None:
    now = stage.now_ms()
    await stage.event(devices[0], "alarm", {"lel": 24.0}, now)
    await stage.reading(devices[0], {"lel": 24.0}, now + 1)


async def air(stage: Stage, devices: Sequence[str]) -> None:
    await stage.reading(devices[0], {"lel": 0.4}, stage.now_ms())


STORY = Story(
    name="gas_leak",
    label=Label("燃气泄漏", "Gas leak"),
    need=Need("gas_alarm"),
    script=leak,
    again=climb,
    calm=air,
    expected=Expected(
        rules=frozenset({"gas_alarm.alarm", "gas_alarm.lel_high"}),
        severity=Severity.CRITICAL,
        team=Team.PATROL,
        life_safety=True,
        commands=frozenset({"valve_close"}),
    ),
)
