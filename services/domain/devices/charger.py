"""Charging pile (充电桩), 7 kW AC."""

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
from services.domain.metering import Register
from services.domain.vocabulary import Label

NAME = "charger"
STATES = ("idle", "charging", "finished", "fault")
IDLE, CHARGING, FINISHED = 0.0, 1.0, 2.0
RATED_KW = 6.6


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """A car comes in the evening, takes 8 to 40 kWh and leaves in the morning."""
    state, wanted = memory.get("_state", IDLE), memory.get("_wanted_kwh", 0.0)
    if state == IDLE:
        an_hour = 0.01 + 0.30 * day.peak(moment.hour, 19.5, 1.8) + 0.06 * day.peak(moment.hour, 11, 2)
        if day.happens(rng, an_hour, moment.dt_s):
            state, wanted = CHARGING, rng.uniform(8, 40)
    elif state == FINISHED and day.happens(rng, 0.05 + 1.5 * day.peak(moment.hour, 7.8, 0.7), moment.dt_s):
        state = IDLE
    state = day.given(moment, "state", state)
    taken = min(wanted, RATED_KW * moment.dt_s / 3600) if state == CHARGING else 0.0
    power = day.given(moment, "power", round(taken * 3.6e6 / moment.dt_s, 1) if moment.dt_s > 0 else 0.0)
    day.trait(memory, "energy_kwh", rng, 100, 9000)
    energy = day.count(memory, moment, "energy_kwh", power * moment.dt_s / 3.6e6)
    wanted -= taken
    warmth = moment.outdoor_c + 2 + 13 * min(1.0, power / 1000 / RATED_KW)
    warmth += day.wander(memory, "_warmth", rng, 0.8, 900, moment.dt_s)
    memory["_state"], memory["_wanted_kwh"] = FINISHED if state == CHARGING and wanted <= 1e-6 else state, wanted
    return day.finish(
        moment,
        {"power": power, "energy_kwh": round(energy, 4), "temperature": round(warmth, 1), "state": state},
    )


REGISTER = Register(max_per_h=500.0, modulus=1e6)
"""kWh an hour at the most power the kind reports; it counts with a DL/T 645 meter, six digits of whole kWh."""


KIND = DeviceKind(
    name=NAME,
    label=Label("充电桩", "Charging pile"),
    system="S6",
    interval_s=60,
    metrics=(
        Metric("power", "W", Label("充电功率", "Power"), 0, 500_000),
        Metric("energy_kwh", "kWh", Label("累计充电量", "Total energy"), 0, 1e8, MetricType.COUNTER, register=REGISTER),
        Metric("temperature", "°C", Label("温度", "Temperature"), -50, 300),
        Metric("state", "", Label("状态", "State"), 0, len(STATES) - 1, MetricType.STATE, options=STATES),
    ),
    events=(
        EventType("overheat", Label("过热", "Overheat"), fields=("temperature",)),
        EventType("finished", Label("充电完成", "Finished"), fields=("energy_kwh",)),
    ),
    commands=(CommandType("stop", Label("停止充电", "Stop charging"), proof=Shows("power", 0, 100)),),
    profile=profile,
)
