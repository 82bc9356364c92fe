"""Valve-controlled household water meter (阀控水表, CJ/T 188)."""

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

NAME = "water_meter"
HOUR_S = 3600.0

BURST_M3_H = 3.125
"""Q4 of a DN15 meter with Q3 = 2.5 m³/h (GB/T 778.1: Q4 = 1.25 Q3): more than a flat's taps can let through."""


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Washing at seven, cooking at noon and six, showers at nine; about 130 litres a person and day."""
    hour = day.body_hour(moment)
    litres_h = 0.25 + 15 * day.peak(hour, 7, 0.8) + 7 * day.peak(hour, 12, 0.8)
    litres_h += 12 * day.peak(hour, 18, 0.9) + 15 * day.peak(hour, 21, 0.9) + (2.0 if day.awake(hour) else 0.0)
    litres_h *= day.trait(memory, "_habit", rng, 0.75, 1.35)
    wanted = litres_h / 1000 * moment.home * moment.residents * moment.scale * moment.dt_s / HOUR_S
    used = day.draw(memory, "_use", wanted, moment.dt_s, rng, (0.003, 0.012), min(2.4, 0.9 * moment.scale**0.5))
    valve = day.given(moment, "valve", 0.0)
    flow = used * HOUR_S / moment.dt_s if moment.dt_s > 0 and valve == 0.0 else 0.0
    flow = day.given(moment, "flow", flow)
    day.trait(memory, "total_m3", rng, 20.0, 900.0)
    total = day.count(memory, moment, "total_m3", flow * moment.dt_s / HOUR_S)
    battery = day.battery_volts(memory, moment, rng)
    return day.finish(moment, {"total_m3": round(total, 3), "flow": round(flow, 4), "battery": battery, "valve": valve})


REGISTER = Register(max_per_h=200.0, household_per_h=BURST_M3_H, modulus=1e5)
"""The kind's largest, DN100: Q4 = 200 m³/h (GB/T 778.1, Q3 = 160). The indicating range ends at 99,999 m³ (ibid.)."""


KIND = DeviceKind(
    name=NAME,
    label=Label("智能水表", "Water meter"),
    system="S5",
    interval_s=900,
    metrics=(
        Metric("total_m3", "m³", Label("累计用水量", "Total volume"), 0, 1e7, MetricType.COUNTER, register=REGISTER),
        # DN15 to DN100; below zero while water runs back
        Metric("flow", "m³/h", Label("瞬时流量", "Flow"), -200, 200),
        Metric("battery", "V", Label("电池电压", "Battery voltage"), 0, 5),
        Metric("valve", "", Label("阀门", "Valve"), 0, 2, MetricType.STATE, options=("open", "closed", "fault")),
    ),
    events=(
        EventType("leak", Label("漏水", "Leak"), fields=("flow",)),
        EventType("tamper", Label("拆动", "Tampering")),
        EventType("backflow", Label("倒流", "Backflow"), fields=("volume_m3",)),
    ),
    commands=(
        CommandType("valve_open", Label("开阀", "Open valve"), dangerous=True, lives_s=120, proof=Shows("valve", 0, 0)),
        CommandType(
            "valve_close", Label("关阀", "Close valve"), dangerous=True, lives_s=120, proof=Shows("valve", 1, 1)
        ),
    ),
    profile=profile,
)
