"""SOS button (一键呼叫): beside a bed, in a bathroom, in a public place."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind, EventType, Memory, Metric, Moment
from services.domain.vocabulary import Label

NAME = "sos_button"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Waits."""
    return day.finish(moment, {"battery": day.battery_percent(memory, moment, rng, 3 * 365)})


KIND = DeviceKind(
    name=NAME,
    label=Label("SOS按钮", "SOS button"),
    system="S3",
    interval_s=21600,
    metrics=(Metric("battery", "%", Label("电池", "Battery"), 0, 100),),
    events=(EventType("pressed", Label("一键呼救", "SOS pressed")),),
    commands=(),
    profile=profile,
)
