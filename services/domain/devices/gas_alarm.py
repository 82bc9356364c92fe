"""Household combustible gas detector (可燃气体探测器, GB 15322.2)."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.common import device_fault, low_battery, rule, standing
from services.domain.devices.kind import CommandType, DeviceKind, EventType, Memory, Metric, Moment
from services.domain.rules.parameters import Compare, EventParameters, ThresholdParameters
from services.domain.vocabulary import Label, Severity, Team

NAME = "gas_alarm"

ALARM_LEL = 10.0
"""GB 15322.2 lets a household detector alarm between 5 and 25 %LEL."""


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Clean air; a breath of unburnt gas or cooking steam while the stove is lit."""
    stove = (
        day.peak(moment.hour, 18, 0.7) + 0.5 * day.peak(moment.hour, 7, 0.5) + 0.5 * day.peak(moment.hour, 11.7, 0.5)
    )
    lel = 0.4 + 0.6 * stove * moment.home + day.wander(memory, "_air", rng, 0.15, 900, moment.dt_s)
    battery = day.battery_percent(memory, moment, rng, 3 * 365)
    return day.finish(moment, {"lel": round(max(0.0, lel), 1), "battery": battery})


KIND = DeviceKind(
    name=NAME,
    label=Label("燃气报警器", "Gas alarm"),
    system="S4",
    interval_s=300,
    metrics=(
        Metric("lel", "%LEL", Label("可燃气体浓度", "Combustible gas"), 0, 100),
        Metric("battery", "%", Label("备用电池", "Backup battery"), 0, 100),
    ),
    events=(
        EventType("alarm", Label("燃气报警", "Gas alarm"), fields=("lel",)),
        EventType("fault", Label("故障", "Fault"), fields=("code",)),
        EventType("end_of_life", Label("传感器到期", "Sensor at its end of life")),
    ),
    commands=(
        CommandType("mute", Label("消音", "Mute")),
        CommandType("valve_close", Label("关闭燃气阀", "Close gas valve"), dangerous=True),
        CommandType("test", Label("自检", "Self-test")),
    ),
    rules=(
        rule(
            f"{NAME}.alarm",
            "燃气泄漏报警",
            "Gas alarm",
            Severity.CRITICAL,
            Team.PATROL,
            EventParameters("alarm"),
            life_safety=True,
            family=f"{NAME}.leak",
        ),
        rule(
            f"{NAME}.lel_high",
            "燃气浓度超限",
            "Gas concentration over the limit",
            Severity.CRITICAL,
            Team.PATROL,
            ThresholdParameters("lel", Compare.AT_LEAST, ALARM_LEL, for_s=5, clear_limit=5.0, clear_for_s=60),
            life_safety=True,
            family=f"{NAME}.leak",
        ),
        rule(
            f"{NAME}.end_of_life",
            "燃气传感器到期",
            "Gas sensor at its end of life",
            Severity.MINOR,
            Team.MAINTENANCE,
            EventParameters("end_of_life", clear_after_s=86400),
        ),
        device_fault(NAME, severity=Severity.MAJOR),
        low_battery(NAME),
        *standing(NAME, silence_is_dangerous=True),
    ),
    profile=profile,
)
