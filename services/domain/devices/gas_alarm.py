"""Household combustible gas detector (可燃气体探测器, GB 15322.2)."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import CommandType, DeviceKind, EventType, Memory, Metric, Moment
from services.domain.vocabulary import Label

NAME = "gas_alarm"


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
        CommandType("valve_close", Label("关闭燃气阀", "Close gas valve"), dangerous=True, lives_s=120),
        CommandType("test", Label("自检", "Self-test")),
    ),
    profile=profile,
)
