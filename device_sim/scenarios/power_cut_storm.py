"""停电: a building goes dark. Each gateway alerts once, the meters behind it do not; power returns, the orders stay."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.registry import GATEWAY_KIND
from services.domain.vocabulary import Label, Severity, Team


async def dark(stage: Stage, devices: Sequence[str]) -> None:
    await stage.cut(devices)


async def light(stage: Stage, devices: Sequence[str]) -> None:
    await stage.restore(devices)


STORY = Story(
    name="power_cut_storm",
    label=Label("楼栋停电", "Power cut"),
    need=Need(GATEWAY_KIND, count=2, one_building=True, beside="highthrow_camera", status=True),
    script=dark,
    calm=light,
    # three intervals of the stairwell's meter, and a little
    silent_s=36.0,
    expected=Expected(
        rules=frozenset({"gateway.offline", "highthrow_camera.offline"}),
        severity=Severity.MAJOR,
        team=Team.MAINTENANCE,
        life_safety=False,
    ),
)
