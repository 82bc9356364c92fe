"""告警风暴: the buses of a quarter fail and 500 meters are gone at once; in the middle somebody calls for help."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.acts.storm import storm
from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.registry import GATEWAY_KIND
from services.domain.vocabulary import Label, Severity, Team

ALERTS = 500


async def covers_lie_flat(stage: Stage, devices: Sequence[str]) -> None:
    for device in devices:
        if "-manhole-" in device:
            await stage.reading(device, {"tilt": 0.3}, stage.now_ms())


STORY = Story(
    name="storm",
    label=Label("告警风暴", "A storm of alerts"),
    need=Need(GATEWAY_KIND, count=2, behind=ALERTS, extras=(("manhole", 3), ("sos_button", 1)), status=True),
    script=covers_lie_flat,
    act=storm,
    expected=Expected(
        rules=frozenset({"sos_button.pressed"}), severity=Severity.CRITICAL, team=Team.GRID, life_safety=True
    ),
)
