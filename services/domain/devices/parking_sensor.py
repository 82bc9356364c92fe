"""Parking sensor (车位地磁): one space, or a stretch of fire lane."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind, EventType, Memory, Metric, MetricType, Moment
from services.domain.registry import FIRE_LANE
from services.domain.vocabulary import Label

NAME = "parking_sensor"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Full at night, half empty while people are at work; a fire lane stays free."""
    battery = day.battery_percent(memory, moment, rng, 4 * 365)
    away = 0.0 if moment.weekend else 0.35 * (day.peak(moment.hour, 11, 2.2) + day.peak(moment.hour, 15, 2.2))
    share = 0.9 - day.clamp(away, 0.0, 0.5) - (0.15 if moment.weekend and 9 < moment.hour < 20 else 0.0)
    taken = memory.get("_taken", -1.0)
    if taken < 0:
        taken = float(rng.random() < share)
    # turnover about the share: a quarter of the cars an hour by day, almost none by night
    an_hour = 0.5 if 6 < moment.hour < 23 else 0.03
    if day.happens(rng, an_hour, moment.dt_s):
        taken = float(rng.random() < share)
    memory["_taken"] = taken = 0.0 if FIRE_LANE in moment.tags else taken
    return day.finish(moment, {"occupied": taken, "battery": battery})


KIND = DeviceKind(
    name=NAME,
    label=Label("车位传感器", "Parking sensor"),
    system="S11",
    interval_s=3600,
    metrics=(
        Metric("occupied", "", Label("有车", "Occupied"), 0, 1, MetricType.SWITCH, on_change=("left", "entered")),
        Metric("battery", "%", Label("电池", "Battery"), 0, 100),
    ),
    events=(EventType("entered", Label("驶入", "Entered")), EventType("left", Label("驶离", "Left"))),
    commands=(),
    profile=profile,
)
