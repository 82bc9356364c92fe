"""Door magnet (门磁): whether a door is open; at an elder's, whether anyone went out today."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind, EventType, Memory, Metric, MetricType, Moment
from services.domain.vocabulary import Label

NAME = "door_magnet"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Some eight openings a day, each seen by one reading; none at night."""
    hour = day.body_hour(moment)
    an_hour = 0.0 if not day.awake(hour) else 0.25 + 0.7 * day.peak(hour, 9, 1.5) + 0.5 * day.peak(hour, 17, 1.5)
    opened = day.portions(memory, "_door", an_hour * moment.dt_s / 3600, rng, 0.5, 1.2) > 0
    battery = day.battery_percent(memory, moment, rng, 2 * 365)
    return day.finish(moment, {"open": float(opened), "battery": battery})


KIND = DeviceKind(
    name=NAME,
    label=Label("门磁", "Door magnet"),
    system="S3",
    interval_s=21600,
    metrics=(
        Metric("open", "", Label("开门", "Open"), 0, 1, MetricType.SWITCH, on_change=("closed", "opened")),
        Metric("battery", "%", Label("电池", "Battery"), 0, 100),
    ),
    events=(EventType("opened", Label("开门", "Opened")), EventType("closed", Label("关门", "Closed"))),
    commands=(),
    profile=profile,
)
