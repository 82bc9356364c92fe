"""停电: a building goes dark. Gateways alert once each in one order, meters behind do not; power returns, it stays."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.acts.dark import dark as act
from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.registry import GATEWAY_KIND
from services.domain.vocabulary import Label, Severity, Team


async def alive(stage: Stage, devices: Sequence[str]) -> None:
    """Who was never heard cannot fall silent."""
    for device in devices:
        if "-electricity_meter-" in device:
            await stage.reading(device, {"voltage": 226.0}, stage.now_ms())


async def dark(stage: Stage, devices: Sequence[str]) -> None:
    await stage.cut(devices)


async def light(stage: Stage, devices: Sequence[str]) -> None:
    await stage.restore(devices)


STORY = Story(
    name="power_cut_storm",
    label=Label("楼栋停电", "Power cut"),
    need=Need(GATEWAY_KIND, count=2, one_building=True, beside="highthrow_camera", status=True),
    beforehand=alive,
    script=dark,
    calm=light,
    act=act,
    # three intervals of the stairwell's meter, and a little
    silent_s=36.0,
    expected=Expected(
        rules=frozenset({"gateway.offline", "highthrow_camera.offline"}),
        severity=Severity.MAJOR,
        team=Team.MAINTENANCE,
        # a last will is given ten seconds to be a mere reconnect
        within_s=15.0,
        life_safety=False,
    ),
)
