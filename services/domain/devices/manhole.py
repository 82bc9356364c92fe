"""Manhole cover (智能井盖): in its place or not, and how high the water stands below."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind, EventType, Memory, Metric, Moment
from services.domain.vocabulary import Label

NAME = "manhole"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Lies still while cars roll over it; below it the day's waste water comes and goes."""
    used = day.peak(moment.hour, 7.5, 1.2) + day.peak(moment.hour, 20.5, 1.8)
    usual = day.trait(memory, "_usual_cm", rng, 8, 25)
    water = max(0.0, usual + 6 * used + day.wander(memory, "_water", rng, 4, 14400, moment.dt_s))
    tilt = abs(day.wander(memory, "_tilt", rng, 0.6, 43200, moment.dt_s))
    battery = day.battery_percent(memory, moment, rng, 4 * 365)
    return day.finish(moment, {"tilt": round(tilt, 1), "water_level": round(water, 1), "battery": battery})


KIND = DeviceKind(
    name=NAME,
    label=Label("智能井盖", "Manhole cover"),
    system="S13",
    interval_s=3600,
    metrics=(
        Metric("tilt", "°", Label("倾角", "Tilt from installed"), 0, 180),
        Metric("water_level", "cm", Label("水位", "Water level"), 0, 1500),
        Metric("battery", "%", Label("电池", "Battery"), 0, 100),
    ),
    events=(
        EventType("displaced", Label("井盖移位", "Cover displaced"), fields=("tilt",)),
        EventType("flooded", Label("井内水位过高", "Flooded"), fields=("water_level",)),
    ),
    commands=(),
    profile=profile,
)
