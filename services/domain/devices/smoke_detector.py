"""Stand-alone smoke detector (独立式感烟探测器, GB 20517)."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import CommandType, DeviceKind, EventType, Memory, Metric, Moment
from services.domain.vocabulary import Label

NAME = "smoke_detector"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Dust and a little kitchen haze, far below what makes it sound."""
    haze = 0.012 * day.peak(moment.hour, 18, 0.8) * moment.home
    smoke = max(0.0, 0.008 + haze + day.wander(memory, "_dust", rng, 0.003, 7200, moment.dt_s))
    warmth = day.indoor(moment) + day.wander(memory, "_room", rng, 0.6, 7200, moment.dt_s)
    battery = day.battery_percent(memory, moment, rng, 6 * 365)
    return day.finish(moment, {"smoke": round(smoke, 3), "temperature": round(warmth, 1), "battery": battery})


KIND = DeviceKind(
    name=NAME,
    label=Label("烟感探测器", "Smoke detector"),
    system="S7",
    interval_s=3600,
    metrics=(
        Metric("smoke", "dB/m", Label("烟雾浓度", "Smoke"), 0, 20),
        # a room on fire is read as long as the detector lives
        Metric("temperature", "°C", Label("温度", "Temperature"), -40, 300),
        Metric("battery", "%", Label("电池", "Battery"), 0, 100),
    ),
    events=(
        EventType("alarm", Label("烟雾报警", "Smoke alarm"), fields=("smoke", "temperature")),
        EventType("fault", Label("故障", "Fault"), fields=("code",)),
        EventType("tamper", Label("拆动", "Tampering")),
        EventType("low_battery", Label("电池电量低", "Low battery"), fields=("battery",)),
    ),
    commands=(CommandType("mute", Label("消音", "Mute")), CommandType("test", Label("自检", "Self-test"))),
    profile=profile,
)
