"""PV inverter (光伏逆变器) of a roof; at scale 1 about 50 kWp, 54,000 kWh a year."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind, EventType, Memory, Metric, MetricType, Moment
from services.domain.metering import Register
from services.domain.vocabulary import Label

NAME = "pv_inverter"
PEAK_W = 50_000.0
J_PER_KWH = 3.6e6


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Follows the sun, a little less when hot; what the building does not use goes to the grid."""
    yielded = day.trait(memory, "_yield", rng, 0.74, 0.82) * (1 - 0.004 * max(0.0, moment.outdoor_c - 20))
    power = PEAK_W * moment.scale * moment.sun * yielded
    power = day.given(moment, "power", round(power * (1 + day.wander(memory, "_haze", rng, 0.02, 300, moment.dt_s)), 1))
    load = 6000 + 9000 * day.peak(moment.hour, 19.5, 2.5) + 5000 * day.peak(moment.hour, 12, 2)
    load *= moment.scale * (1 + day.wander(memory, "_load", rng, 0.12, 1800, moment.dt_s))
    share = power / (PEAK_W * moment.scale) if moment.scale > 0 else 0.0
    warmth = moment.outdoor_c + 4 + 22 * share + day.wander(memory, "_warmth", rng, 0.5, 900, moment.dt_s)
    day.trait(memory, "energy_kwh", rng, 1000, 150_000)
    energy = day.count(memory, moment, "energy_kwh", power * moment.dt_s / J_PER_KWH)
    return day.finish(
        moment,
        {
            "power": power,
            "energy_kwh": round(energy, 4),
            "grid_export": round(max(0.0, power - load), 1),
            "temperature": round(warmth, 1),
        },
    )


REGISTER = Register(max_per_h=2000.0)
"""kWh an hour at the most power the kind reports; kept in memory for life, so it has no end to start again from."""


KIND = DeviceKind(
    name=NAME,
    label=Label("光伏逆变器", "PV inverter"),
    system="S6",
    interval_s=60,
    metrics=(
        # an idle inverter draws a few watts
        Metric("power", "W", Label("发电功率", "Power"), -5000, 2e6),
        Metric("energy_kwh", "kWh", Label("累计发电量", "Total energy"), 0, 1e8, MetricType.COUNTER, register=REGISTER),
        # below zero while the building draws from the grid
        Metric("grid_export", "W", Label("上网功率", "Export to the grid"), -2e6, 2e6),
        Metric("temperature", "°C", Label("温度", "Temperature"), -50, 150),
    ),
    events=(EventType("fault", Label("故障", "Fault"), fields=("code",)),),
    commands=(),
    profile=profile,
)
