"""Household gas meter with a shut-off valve (燃气表)."""

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

NAME = "gas_meter"
HOUR_S = 3600.0

LIMIT_M3_H = 4.0
"""Qmax of a G2.5 diaphragm meter (GB/T 6968); stove and heater together stay below 3 m³/h, an open hose does not."""


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Breakfast, lunch, the stove at six, hot water at nine and more in winter; 0.2 to 0.4 m³ a person and day."""
    hour = day.body_hour(moment)
    cooking = 0.03 * day.peak(hour, 7, 0.5) + 0.04 * day.peak(hour, 11.7, 0.5) + 0.08 * day.peak(hour, 18, 0.7)
    washing = (0.05 + 0.03 * day.winter(moment)) * day.peak(hour, 21, 0.8)
    wanted = (
        day.trait(memory, "_habit", rng, 0.7, 1.4)
        * (cooking + washing)
        * moment.home
        * moment.residents
        * moment.scale
        * moment.dt_s
        / HOUR_S
    )
    used = day.draw(memory, "_use", wanted, moment.dt_s, rng, (0.01, 0.05), min(2.6, 1.3 * moment.scale**0.5))
    valve = day.given(moment, "valve", 0.0)
    flow = used * HOUR_S / moment.dt_s if moment.dt_s > 0 and valve == 0.0 else 0.0
    flow = day.given(moment, "flow", flow)
    day.trait(memory, "total_m3", rng, 50.0, 2500.0)
    total = day.count(memory, moment, "total_m3", flow * moment.dt_s / HOUR_S)
    battery = day.battery_volts(memory, moment, rng)
    return day.finish(moment, {"total_m3": round(total, 3), "flow": round(flow, 4), "battery": battery, "valve": valve})


REGISTER = Register(max_per_h=160.0, household_per_h=LIMIT_M3_H, modulus=1e5)
"""The kind's largest, G100: Qmax = 160 m³/h (GB/T 6968); five digits of whole cubic metres."""


KIND = DeviceKind(
    name=NAME,
    label=Label("智能燃气表", "Gas meter"),
    system="S4",
    interval_s=1800,
    metrics=(
        Metric("total_m3", "m³", Label("累计用气量", "Total volume"), 0, 1e7, MetricType.COUNTER, register=REGISTER),
        # household G1.6 up to a canteen's G100 (Qmax 160 m³/h)
        Metric("flow", "m³/h", Label("瞬时流量", "Flow"), 0, 200),
        Metric("battery", "V", Label("电池电压", "Battery voltage"), 0, 7),
        Metric("valve", "", Label("阀门", "Valve"), 0, 2, MetricType.STATE, options=("open", "closed", "fault")),
    ),
    events=(
        EventType("leak", Label("燃气泄漏", "Gas leak"), fields=("flow",)),
        EventType("tamper", Label("拆动", "Tampering")),
    ),
    # only ever shut from afar: opening needs someone at the stove
    commands=(
        CommandType(
            "valve_close", Label("关阀", "Close valve"), dangerous=True, lives_s=120, proof=Shows("valve", 1, 1)
        ),
    ),
    profile=profile,
)
