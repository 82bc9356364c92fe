"""Lamp post (智慧灯杆): on by night, dimmed when the streets are empty."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import (
    CommandType,
    DeviceKind,
    EventType,
    Memory,
    Metric,
    MetricType,
    Moment,
    Shows,
)
from services.domain.vocabulary import Label

NAME = "lamp_post"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Full light until eleven, half of it until five, none by day."""
    on = day.given(moment, "on", float(moment.sun <= 0))
    usual = 100.0 if 5 <= moment.hour < 23 else 50.0
    brightness = day.given(moment, "brightness", usual if on else 0.0)
    lamp = day.trait(memory, "_lamp_w", rng, 55, 65)
    power = 0.5 + lamp * brightness / 100 + (day.wander(memory, "_power", rng, 0.3, 600, moment.dt_s) if on else 0.0)
    return day.finish(moment, {"on": on, "power": round(power, 1), "brightness": brightness})


KIND = DeviceKind(
    name=NAME,
    label=Label("智慧灯杆", "Lamp post"),
    system="S14",
    interval_s=600,
    metrics=(
        Metric("on", "", Label("亮灯", "On"), 0, 1, MetricType.SWITCH),
        # with its screen, camera and charging socket
        Metric("power", "W", Label("功率", "Power"), 0, 10000),
        Metric("brightness", "%", Label("亮度", "Brightness"), 0, 100),
    ),
    events=(EventType("fault", Label("故障", "Fault"), fields=("code",)),),
    commands=(
        CommandType("on", Label("开灯", "Switch on"), lives_s=600, proof=Shows("on", 1, 1)),
        CommandType("off", Label("关灯", "Switch off"), lives_s=600, proof=Shows("on", 0, 0)),
        CommandType(
            "dim",
            Label("调光", "Dim"),
            params=("brightness",),
            lives_s=600,
            proof=Shows("brightness", param="brightness"),
        ),
    ),
    profile=profile,
)
