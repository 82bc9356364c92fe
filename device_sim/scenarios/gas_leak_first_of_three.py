"""燃气泄漏，三人抢单: a leak is offered to three of the patrol, and all three press accept in the same moment."""

from __future__ import annotations

from device_sim.scenarios.gas_leak import air, leak
from device_sim.theatre.acts.rush import rush
from device_sim.theatre.story import Expected, Need, Story
from services.domain.vocabulary import Label, Severity, Team

STORY = Story(
    name="gas_leak_first_of_three",
    label=Label("燃气泄漏，三人抢单", "Gas leak, three accept at once"),
    need=Need("gas_alarm"),
    script=leak,
    calm=air,
    act=rush,
    expected=Expected(
        rules=frozenset({"gas_alarm.alarm", "gas_alarm.lel_high"}),
        severity=Severity.CRITICAL,
        team=Team.PATROL,
        life_safety=True,
    ),
)
