"""People counter (客流计数) at the door of a hall, canteen or court."""

from __future__ import annotations

import math
import random

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind, Memory, Metric, MetricType, Moment
from services.domain.metering import Register
from services.domain.vocabulary import Label

NAME = "people_counter"
STAY_S = 4000.0


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Mornings, afternoons and evenings have their regulars; at ten the lights go out."""
    day.trait(memory, "in", rng, 1000, 60_000)
    memory["in"] = float(math.floor(memory["in"]))
    memory.setdefault("out", memory["in"])
    inside = memory["in"] - memory["out"]
    an_hour = 22 * day.peak(moment.hour, 9.3, 1.2) + 18 * day.peak(moment.hour, 15.3, 1.4)
    an_hour = (an_hour + 32 * day.peak(moment.hour, 19.2, 1.1)) * (1.3 if moment.weekend else 1.0) * moment.scale
    is_open = 6.5 <= moment.hour < 22
    came = min(day.arrivals(rng, an_hour * moment.dt_s / 3600), max(0, 150 - int(inside))) if is_open else 0
    left = min(day.arrivals(rng, inside * -math.expm1(-moment.dt_s / STAY_S)), int(inside)) if is_open else inside
    entered = day.count(memory, moment, "in", came)
    gone = day.count(memory, moment, "out", left)
    return day.finish(moment, {"in": entered, "out": gone, "inside": max(0.0, entered - gone)})


REGISTER = Register(max_per_h=20_000.0, retentive=False)
"""People an hour through a wide gate, five a second and some; many begin at zero every night or after a power cut."""


KIND = DeviceKind(
    name=NAME,
    label=Label("客流计数器", "People counter"),
    system="S24",
    interval_s=300,
    metrics=(
        Metric("in", "", Label("进入人次", "Entered"), 0, 1e9, MetricType.COUNTER, register=REGISTER),
        Metric("out", "", Label("离开人次", "Left"), 0, 1e9, MetricType.COUNTER, register=REGISTER),
        # the counter's own balance, set to zero at night: two counters' difference drifts away
        Metric("inside", "", Label("在场人数", "Inside"), 0, 100_000),
    ),
    events=(),
    commands=(),
    profile=profile,
)
