"""居民上报: a resident photographs clutter, follows the order and rates it 5; rubbish is rated 1 and done again."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.theatre.acts.report import report
from device_sim.theatre.story import Expected, Need, Stage, Story
from services.domain.vocabulary import Label, Severity, Team


async def nothing(stage: Stage, devices: Sequence[str]) -> None:
    """No device has a part in it."""


STORY = Story(
    name="resident_report",
    label=Label("居民上报与评价", "A resident reports and rates"),
    need=Need("", count=0),
    script=nothing,
    act=report,
    expected=Expected(rules=frozenset(), severity=Severity.MINOR, team=Team.ENVIRONMENT, life_safety=False),
)
