"""The platform as something to watch: rules about a community as a whole, whose subject is `community:{id}`."""

from __future__ import annotations

from services.domain.devices.kind import DeviceKind, EventType
from services.domain.ids import RuleId
from services.domain.rules.parameters import DelayParameters, EventParameters
from services.domain.rules.rule import Rule
from services.domain.vocabulary import Label, Severity, Team

LOG_GAP = "log_gap"

PLATFORM = DeviceKind(
    name="platform",
    label=Label("平台", "Platform"),
    system="S1",
    metrics=(),
    events=(EventType(LOG_GAP, Label("日志缺失", "Part of the log is missing"), ("lane", "missed")),),
    commands=(),
    interval_s=60,
    rules=(
        Rule(
            id=RuleId("platform.delay"),
            title=Label("消息处理延迟", "Messages reach the rules late"),
            severity=Severity.MAJOR,
            team=Team.DESK,
            parameters=DelayParameters(),
            note="an event is to be an order within a second; a minute is far outside of that",
        ),
        Rule(
            id=RuleId("platform.log_gap"),
            title=Label("部分消息未经告警规则处理", "Messages were never seen by the rules"),
            severity=Severity.MAJOR,
            team=Team.DESK,
            parameters=EventParameters(LOG_GAP, clear_after_s=86_400.0),
            note="the log is kept 48 h; what was purged before it was evaluated can have set nothing off",
        ),
    ),
    profile=lambda _memory, _moment, _random: {},
)
"""Not in the catalogue: nobody owns such a device."""
