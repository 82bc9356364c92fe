"""Patrol vehicle (移动采集车): drives its rounds and reports what it sees, where it sees it."""

from __future__ import annotations

import math
import random

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind, EventType, Memory, Metric, Moment
from services.domain.vocabulary import Label

NAME = "patrol_vehicle"
SHIFTS = ((7.5, 11.5), (13.5, 17.5), (19.5, 22.0))
WIDTH_M, DEPTH_M = 320.0, 220.0
"""The round it drives, a rectangle about its home."""
AT = ("photo", "latitude", "longitude")


def _corner_walk(along: float) -> tuple[float, float]:
    """Metres east and north of home after `along` metres of the round."""
    half_w, half_d = WIDTH_M / 2, DEPTH_M / 2
    if along < WIDTH_M:
        return along - half_w, -half_d
    if along < WIDTH_M + DEPTH_M:
        return half_w, along - WIDTH_M - half_d
    if along < 2 * WIDTH_M + DEPTH_M:
        return half_w - (along - WIDTH_M - DEPTH_M), half_d
    return -half_w, half_d - (along - 2 * WIDTH_M - DEPTH_M)


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Three shifts a day at walking to cycling pace; parked in between where the shift left it."""
    driving = any(start <= moment.hour < end for start, end in SHIFTS)
    pace = 10 + day.wander(memory, "_pace", rng, 2.0, 60, moment.dt_s)
    speed = day.given(moment, "speed", round(pace if driving else 0.0, 1))
    along = day.trait(memory, "_along_m", rng, 0, 2 * (WIDTH_M + DEPTH_M)) + speed / 3.6 * moment.dt_s
    memory["_along_m"] = along = along % (2 * (WIDTH_M + DEPTH_M))
    east, north = _corner_walk(along)
    return day.finish(
        moment,
        {
            "latitude": round(moment.latitude + north / 111_320, 6),
            "longitude": round(moment.longitude + east / (111_320 * math.cos(math.radians(moment.latitude))), 6),
            "speed": speed,
        },
    )


KIND = DeviceKind(
    name=NAME,
    label=Label("移动采集车", "Patrol vehicle"),
    system="S26",
    interval_s=5,
    metrics=(
        Metric("latitude", "°", Label("纬度", "Latitude"), -90, 90),
        Metric("longitude", "°", Label("经度", "Longitude"), -180, 180),
        Metric("speed", "km/h", Label("速度", "Speed"), 0, 120),
    ),
    events=(
        EventType("obstacle", Label("道路障碍", "Obstacle"), fields=AT),
        EventType("exposed_garbage", Label("暴露垃圾", "Exposed garbage"), fields=AT),
        EventType("illegal_parking", Label("违规停车", "Illegal parking"), fields=AT),
    ),
    commands=(),
    profile=profile,
)
