"""无人接单，逐级升级: a leak that nobody accepts climbs to the leader, the desk, the street office, the department."""

from __future__ import annotations

from device_sim.scenarios.gas_leak import air, leak
from device_sim.theatre.acts.ladder import ladder
from device_sim.theatre.story import Expected, Need, Story
from services.domain.vocabulary import Label, Severity, Team

STORY = Story(
    name="nobody_accepts",
    label=Label("无人接单，逐级升级", "Nobody accepts"),
    need=Need("gas_alarm"),
    script=leak,
    calm=air,
    act=ladder,
    expected=Expected(
        rules=frozenset({"gas_alarm.alarm", "gas_alarm.lel_high"}),
        severity=Severity.CRITICAL,
        team=Team.PATROL,
        life_safety=True,
    ),
)
