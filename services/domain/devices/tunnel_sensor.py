"""Utility tunnel sensor (管廊监测): gas, air, water and warmth where pipes and cables run."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.common import rule, standing
from services.domain.devices.kind import CommandType, DeviceKind, Memory, Metric, Moment
from services.domain.rules.parameters import Compare, ThresholdParameters
from services.domain.vocabulary import Label, Severity, Team

NAME = "tunnel_sensor"

CH4_LEL = 20.0
"""GB 50838: the gas alarm of a pipe gallery is set no higher than 20 % of the lower explosive limit."""
LEAST_O2 = 19.5
"""GB 8958: below 19.5 % oxygen a space counts as oxygen-deficient."""
H2S_PPM = 7.0
"""GBZ 2.1: hydrogen sulfide never above 10 mg/m³, about 7 ppm."""
WATER_CM = 30.0


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
    rules=(
        rule(
            f"{NAME}.ch4_high",
            "管廊甲烷超限",
            "Methane in the tunnel",
            Severity.CRITICAL,
            Team.MAINTENANCE,
            ThresholdParameters("ch4", Compare.AT_LEAST, CH4_LEL, clear_limit=10, clear_for_s=60),
            life_safety=True,
        ),
        rule(
            f"{NAME}.o2_low",
            "管廊缺氧",
            "Too little oxygen in the tunnel",
            Severity.CRITICAL,
            Team.MAINTENANCE,
            ThresholdParameters("o2", Compare.AT_MOST, LEAST_O2, clear_limit=20, clear_for_s=60),
            life_safety=True,
        ),
        rule(
            f"{NAME}.h2s_high",
            "管廊硫化氢超限",
            "Hydrogen sulfide in the tunnel",
            Severity.CRITICAL,
            Team.MAINTENANCE,
            ThresholdParameters("h2s", Compare.AT_LEAST, H2S_PPM, clear_limit=4, clear_for_s=60),
            life_safety=True,
        ),
        rule(
            f"{NAME}.water_high",
            "管廊积水",
            "Water in the tunnel",
            Severity.MAJOR,
            Team.MAINTENANCE,
            ThresholdParameters("water_level", Compare.AT_LEAST, WATER_CM, for_s=60, clear_limit=WATER_CM - 10),
        ),
        *standing(NAME),
    ),
    profile=profile,
)
