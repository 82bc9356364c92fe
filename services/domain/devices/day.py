"""What a believable day is made of: peaks, appetites, drifting levels, counters and batteries.

Every process holds for any step: a device asked each second and one asked each hour live the same day.
"""

from __future__ import annotations

import math
import random

from services.domain.devices.kind import Memory, Moment
from services.domain.registry import ELDER_LIVING_ALONE

DAY_S = 86400.0
_BOUND = 2.5


def clamp(value: float, low: float, high: float) -> float:
    return low if value < low else high if value > high else value


def peak(hour: float, at: float, width: float) -> float:
    """A bell over the clock: 1 at `at`, falling off over `width` hours, midnight is no edge."""
    distance = abs(hour - at)
    distance = min(distance, 24 - distance)
    return math.exp(-0.5 * (distance / width) ** 2)


def winter(moment: Moment) -> float:
    """1 in mid-January, −1 in mid-July."""
    return math.cos((moment.day_of_year - 15) / 365 * math.tau)


def body_hour(moment: Moment) -> float:
    """The hour as the household lives it: an elder alone is up and in bed a good hour before the others."""
    return (moment.hour + (1.2 if ELDER_LIVING_ALONE in moment.tags else 0.0)) % 24


def awake(hour: float) -> bool:
    return 6.2 <= hour < 22.8


def indoor(moment: Moment) -> float:
    """Room temperature, °C: half outdoors, half what people make of it."""
    return clamp(22.0 + 0.35 * (moment.outdoor_c - 18.0), 8.0, 36.0)


def finish(moment: Moment, values: dict[str, float]) -> dict[str, float]:
    """The reading, with what is forced from outside laid over it."""
    return {**values, **moment.forced} if moment.forced else values


def given(moment: Moment, metric: str, own: float) -> float:
    return moment.forced.get(metric, own)


def wander(memory: Memory, key: str, rng: random.Random, sigma: float, tau_s: float, dt_s: float) -> float:
    """A level drifting around 0 (Ornstein–Uhlenbeck, standard deviation `sigma`), never beyond 2.5 sigma."""
    if key in memory:
        keep = math.exp(-dt_s / tau_s)
        level = memory[key] * keep + rng.gauss(0.0, 1.0) * math.sqrt(1 - keep * keep)
    else:
        level = rng.gauss(0.0, 1.0)
    memory[key] = level = clamp(level, -_BOUND, _BOUND)
    return level * sigma


def trait(memory: Memory, key: str, rng: random.Random, low: float, high: float) -> float:
    """What tells this device from its sisters, drawn once."""
    if key not in memory:
        memory[key] = rng.uniform(low, high)
    return memory[key]


def happens(rng: random.Random, per_hour: float, dt_s: float) -> bool:
    return rng.random() < -math.expm1(-per_hour * dt_s / 3600)


def arrivals(rng: random.Random, mean: float) -> int:
    """Poisson."""
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def portions(memory: Memory, key: str, appetite: float, rng: random.Random, low: float, high: float) -> float:
    """Appetite builds up steadily and is met in portions of `low` to `high`: random, but never idle for long."""
    due = memory.get(key, 0.0) + appetite
    size = trait(memory, key + "_size", rng, low, high)
    met = 0.0
    while due >= size:
        due -= size
        met += size
        size = memory[key + "_size"] = rng.uniform(low, high)
    memory[key] = due
    return met


def draw(
    memory: Memory, key: str, appetite: float, dt_s: float, rng: random.Random, size: tuple[float, float], top: float
) -> float:
    """How much flowed during `dt_s`: portions of `size`, let through at no more than `top` an hour."""
    waiting = memory.get(key + "_waiting", 0.0) + portions(memory, key, appetite, rng, *size)
    flowed = min(waiting, top * dt_s / 3600)
    memory[key + "_waiting"] = waiting - flowed
    return flowed


def count(memory: Memory, moment: Moment, metric: str, step: float) -> float:
    """Moves a counter on; a forced total is where it goes on from."""
    total = moment.forced.get(metric)
    memory[metric] = total = memory.get(metric, 0.0) + max(0.0, step) if total is None else total
    return total


def battery_percent(memory: Memory, moment: Moment, rng: random.Random, lasts_days: float) -> float:
    """Falls slowly and is changed at 30 %, before anyone has to be told."""
    level = trait(memory, "_battery", rng, 45.0, 100.0) - 80.0 * moment.dt_s / (lasts_days * DAY_S)
    memory["_battery"] = level = 100.0 if level < 30.0 else level
    return round(level, 1)


def battery_volts(memory: Memory, moment: Moment, rng: random.Random) -> float:
    """A 3.6 V lithium cell over eight years, a little lower in the cold; changed at 3.4 V."""
    level = trait(memory, "_battery", rng, 3.5, 3.65) - 0.25 * moment.dt_s / (8 * 365 * DAY_S)
    memory["_battery"] = level = 3.65 if level < 3.4 else level
    return round(level - (0.03 if moment.outdoor_c < 0 else 0.0), 2)


def nothing(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """The reading of a kind without metrics: its heartbeat is its status."""
    return {}
