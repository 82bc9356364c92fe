"""Smart electricity meter (智能电表, DL/T 645), single-phase 5(60) A; a large one is read per phase."""

from __future__ import annotations

import math
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
from services.domain.metering import Register
from services.domain.vocabulary import Label

NAME = "electricity_meter"

LARGEST_A = 60.0
"""Imax of a 5(60) A meter."""
J_PER_KWH = 3.6e6


def _watts(memory: Memory, moment: Moment, rng: random.Random) -> float:
    """Fridge and standby always; lights and screens in the evening, air conditioning with the weather, kettles."""
    hour = day.body_hour(moment)
    living = 130 * day.peak(hour, 19.8, 2.0) + 50 * day.peak(hour, 12, 0.9) + 50 * day.peak(hour, 7, 0.9)
    living += 25 if day.awake(hour) else 4
    climate = 75 * max(0.0, moment.outdoor_c - 27) + 35 * max(0.0, 9 - moment.outdoor_c)
    climate *= day.trait(memory, "_climate", rng, 0.2, 0.9) * (1.0 if day.awake(hour) else 0.7)
    base = day.trait(memory, "_base_w", rng, 40.0, 110.0)
    steady = base + moment.home * (moment.residents * living + min(2400.0, climate * math.sqrt(moment.residents)))
    steady *= 1 + day.wander(memory, "_mood", rng, 0.10, 1800, moment.dt_s)
    kwh_h = 0.16 * day.peak(hour, 18, 0.7) + 0.08 * day.peak(hour, 11.8, 0.6) + 0.07 * day.peak(hour, 7, 0.6)
    wanted = kwh_h * moment.home * moment.residents * moment.dt_s / 3600
    cooked = day.draw(memory, "_cook", wanted, moment.dt_s, rng, (0.05, 0.3), 1.8)
    return (steady + (cooked * J_PER_KWH / moment.dt_s if moment.dt_s > 0 else 0.0)) * moment.scale


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """The reported power is the mean since the last reading, so power × time is the energy counted."""
    phases = 1 if moment.scale <= 2 else 3
    watts = min(_watts(memory, moment, rng), 0.8 * LARGEST_A * 210 * phases)
    sag = 2.0 * day.peak(moment.hour, 19.5, 2.0) + 0.4 * watts / phases / 1000
    volts = 228 + day.wander(memory, "_volts", rng, 1.5, 1200, moment.dt_s) - sag
    volts = day.given(moment, "voltage", round(day.clamp(volts, 208.0, 233.0), 1))
    watts = day.given(moment, "power", round(watts, 1) if volts > 50 else 0.0)
    factor = day.given(
        moment, "power_factor", round(0.96 + day.wander(memory, "_factor", rng, 0.01, 900, moment.dt_s), 3)
    )
    amps = abs(watts) / (volts * factor * phases) if volts > 50 and factor > 0 else 0.0
    day.trait(memory, "energy_kwh", rng, 300.0, 20000.0)
    energy = day.count(memory, moment, "energy_kwh", watts * moment.dt_s / J_PER_KWH)
    return day.finish(
        moment,
        {
            "energy_kwh": round(energy, 4),
            "power": watts,
            "voltage": volts,
            "current": round(amps, 3),
            "power_factor": factor,
        },
    )


REGISTER = Register(max_per_h=2000.0, household_per_h=3 * 0.22 * LARGEST_A, modulus=1e6)
"""kWh an hour: a building's transformer, and three phases of 220 V at Imax. DL/T 645-2007: energy as XXXXXX.XX kWh."""


KIND = DeviceKind(
    name=NAME,
    label=Label("智能电表", "Electricity meter"),
    system="S6",
    interval_s=60,
    metrics=(
        Metric("energy_kwh", "kWh", Label("累计用电量", "Total energy"), 0, 1e8, MetricType.COUNTER, register=REGISTER),
        # a flat up to a building's transformer; below zero where a roof feeds in
        Metric("power", "W", Label("功率", "Power"), -1e6, 2e6),
        Metric("voltage", "V", Label("电压", "Voltage"), 0, 500),
        Metric("current", "A", Label("电流", "Current"), 0, 5000),
        Metric("power_factor", "", Label("功率因数", "Power factor"), -1, 1),
    ),
    events=(
        EventType("overload", Label("过载", "Overload"), fields=("current", "power")),
        EventType("tamper", Label("拆动", "Tampering")),
    ),
    commands=(
        CommandType(
            "relay_open", Label("拉闸", "Disconnect supply"), dangerous=True, lives_s=120, proof=Shows("power", 0, 1)
        ),
        CommandType("relay_close", Label("合闸", "Reconnect supply"), dangerous=True, lives_s=120),
    ),
    profile=profile,
)
