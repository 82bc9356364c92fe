"""Utility tunnel sensor (管廊监测): gas, air, water and warmth where pipes and cables run."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import CommandType, DeviceKind, Memory, Metric, Moment
from services.domain.vocabulary import Label

NAME = "tunnel_sensor"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Cool, damp and aired."""
    ch4 = max(0.0, 0.8 + day.wander(memory, "_ch4", rng, 0.3, 7200, moment.dt_s))
    h2s = max(0.0, 0.3 + day.wander(memory, "_h2s", rng, 0.2, 7200, moment.dt_s))
    oxygen = 20.75 + day.wander(memory, "_o2", rng, 0.06, 3600, moment.dt_s)
    water = max(0.0, 4 + day.wander(memory, "_water", rng, 1.5, 21600, moment.dt_s))
    warmth = 18 + 0.25 * (moment.outdoor_c - 16) + day.wander(memory, "_warmth", rng, 0.3, 7200, moment.dt_s)
    return day.finish(
        moment,
        {
            "ch4": round(ch4, 1),
            "h2s": round(h2s, 1),
            "o2": round(oxygen, 2),
            "water_level": round(water, 1),
            "temperature": round(warmth, 1),
        },
    )


KIND = DeviceKind(
    name=NAME,
    label=Label("管廊传感器", "Utility tunnel sensor"),
    system="S17",
    interval_s=60,
    metrics=(
        Metric("ch4", "%LEL", Label("甲烷", "Methane"), 0, 100),
        Metric("h2s", "ppm", Label("硫化氢", "Hydrogen sulfide"), 0, 1000),
        Metric("o2", "%", Label("氧气", "Oxygen"), 0, 30),
        Metric("water_level", "cm", Label("水位", "Water level"), 0, 500),
        Metric("temperature", "°C", Label("温度", "Temperature"), -40, 300),
    ),
    events=(),
    commands=(CommandType("fan_on", Label("开风机", "Fan on")), CommandType("fan_off", Label("关风机", "Fan off"))),
    profile=profile,
)
