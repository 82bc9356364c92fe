"""Elder's wristband (老人手环): vitals, falls, SOS and where the wearer is."""

from __future__ import annotations

import math
import random

from services.domain.devices import day
from services.domain.devices.kind import CommandType, DeviceKind, EventType, Memory, Metric, MetricType, Moment
from services.domain.metering import Register
from services.domain.vocabulary import Label

NAME = "wristband"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """A body with its own resting values: slow at night, quicker on a walk, no step while asleep."""
    hour = (moment.hour + 1.2) % 24
    sleeping = not day.awake(hour)
    lively = 0.0 if sleeping else 0.15 + day.peak(hour, 9, 1.2) + 0.7 * day.peak(hour, 16.5, 1.3)
    lively *= max(0.0, 1 + day.wander(memory, "_lively", rng, 0.4, 1800, moment.dt_s))
    mood = day.wander(memory, "_heart", rng, 2.5, 900, moment.dt_s)
    heart = day.trait(memory, "_rest", rng, 60, 74) - (7 if sleeping else 0) + min(20.0, 14 * lively) + mood
    tension = day.trait(memory, "_systolic", rng, 120, 142) - (9 if sleeping else 0) + min(8.0, 5 * lively)
    systolic = tension + day.wander(memory, "_tension", rng, 3.0, 3600, moment.dt_s)
    diastolic = 0.6 * systolic + day.wander(memory, "_low_tension", rng, 1.5, 3600, moment.dt_s)
    oxygen = 97.2 - (0.6 if sleeping else 0) + day.wander(memory, "_oxygen", rng, 0.6, 1200, moment.dt_s)
    steps = day.count(memory, moment, "steps", 600 * lively * moment.dt_s / 3600)
    north, east = _place(memory, moment, rng, lively)
    return day.finish(
        moment,
        {
            "heart_rate": round(heart),
            "systolic": round(systolic),
            "diastolic": round(diastolic),
            "spo2": round(day.clamp(oxygen, 95, 99)),
            "steps": math.floor(steps),
            "battery": _battery(memory, moment, rng),
            "latitude": round(moment.latitude + north / 111_320, 6),
            "longitude": round(moment.longitude + east / (111_320 * math.cos(math.radians(moment.latitude))), 6),
        },
    )


def _place(memory: Memory, moment: Moment, rng: random.Random, lively: float) -> tuple[float, float]:
    """Metres north and east of home: the further, the livelier; never out of the neighbourhood."""
    reach = 120 * min(1.0, lively)
    north = day.wander(memory, "_north", rng, 0.4, 1200, moment.dt_s)
    east = day.wander(memory, "_east", rng, 0.4, 1200, moment.dt_s)
    return reach * north, reach * east


def _battery(memory: Memory, moment: Moment, rng: random.Random) -> float:
    """Three days on a charge; put on the charger in the evening."""
    level = day.trait(memory, "_battery", rng, 60, 100)
    charging = 20 <= moment.hour < 22 or level < 35
    level += (50 if charging else -1.3) * moment.dt_s / 3600
    memory["_battery"] = level = day.clamp(level, 30, 100)
    return round(level)


REGISTER = Register(max_per_h=18_000.0, retentive=False)
"""Steps an hour at a sprinter's five a second; many wristbands begin at zero at midnight."""

KIND = DeviceKind(
    name=NAME,
    label=Label("老人手环", "Wristband"),
    system="S3",
    interval_s=300,
    metrics=(
        Metric("heart_rate", "bpm", Label("心率", "Heart rate"), 0, 300, health=True),
        Metric("systolic", "mmHg", Label("收缩压", "Systolic pressure"), 0, 320, health=True),
        Metric("diastolic", "mmHg", Label("舒张压", "Diastolic pressure"), 0, 250, health=True),
        Metric("spo2", "%", Label("血氧", "Oxygen saturation"), 0, 100, health=True),
        Metric("steps", "", Label("累计步数", "Steps"), 0, 1e9, MetricType.COUNTER, health=True, register=REGISTER),
        Metric("battery", "%", Label("电池", "Battery"), 0, 100),
        Metric("latitude", "°", Label("纬度", "Latitude"), -90, 90, health=True),
        Metric("longitude", "°", Label("经度", "Longitude"), -180, 180, health=True),
    ),
    events=(
        EventType("sos", Label("一键呼救", "SOS"), fields=("latitude", "longitude")),
        EventType("fall", Label("跌倒", "Fall"), fields=("latitude", "longitude")),
        EventType("removed", Label("手环摘下", "Band taken off")),
    ),
    commands=(CommandType("locate", Label("定位", "Locate")), CommandType("vibrate", Label("振动", "Vibrate"))),
    profile=profile,
)
