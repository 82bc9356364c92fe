"""Waste bin (垃圾桶): how full, how warm, upright or not."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind, EventType, Memory, Metric, Moment
from services.domain.vocabulary import Label

NAME = "bin"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Fills after breakfast and after dinner; the morning round empties it. People skip a bin that looks full."""
    share = 0.01 + 0.09 * day.peak(moment.hour, 7.8, 1.0) + 0.13 * day.peak(moment.hour, 19.5, 1.4)
    wanted = day.trait(memory, "_habit", rng, 35, 60) * (1.15 if moment.weekend else 1.0) * share
    fill = day.trait(memory, "_fill", rng, 2, 30)
    thrown = day.portions(memory, "_bag", wanted * moment.dt_s / 3600, rng, 0.5, 2.5)
    fill += thrown * max(0.0, 1 - fill / 77)
    collecting = 5.5 <= moment.hour < 6.8 and memory.get("_round") != moment.day_of_year
    if collecting and (fill > 20 or moment.weekend):
        fill = rng.uniform(0, 3)
        memory["_round"] = moment.day_of_year
    memory["_fill"] = fill = min(fill, 77.0)
    warmth = (
        moment.outdoor_c + 6 * moment.sun + 0.02 * fill + day.wander(memory, "_warmth", rng, 0.8, 3600, moment.dt_s)
    )
    tilt = abs(day.wander(memory, "_tilt", rng, 1.0, 86400, moment.dt_s))
    return day.finish(moment, {"fill": round(fill, 1), "temperature": round(warmth, 1), "tilt": round(tilt, 1)})


KIND = DeviceKind(
    name=NAME,
    label=Label("垃圾桶", "Waste bin"),
    system="S10",
    interval_s=900,
    metrics=(
        Metric("fill", "%", Label("满溢度", "Fill"), 0, 100),
        Metric("temperature", "°C", Label("温度", "Temperature"), -40, 300),
        Metric("tilt", "°", Label("倾角", "Tilt"), 0, 180),
    ),
    events=(
        EventType("overflow", Label("垃圾满溢", "Overflow"), fields=("photo",)),
        EventType("fire", Label("起火", "Fire"), fields=("temperature",)),
    ),
    commands=(),
    profile=profile,
)
