"""Gate (门禁/车闸): a door or barrier that lets known people and cars through."""

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
from services.domain.vocabulary import Label

NAME = "gate"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Shut whenever it is asked: it opens for seconds, and each passage is an event."""
    return day.finish(moment, {"open": 0.0})


KIND = DeviceKind(
    name=NAME,
    label=Label("门禁道闸", "Gate"),
    system="S16",
    interval_s=300,
    metrics=(Metric("open", "", Label("开启", "Open"), 0, 1, MetricType.SWITCH),),
    events=(
        EventType("passed", Label("通行", "Passed"), fields=("plate", "credential", "direction")),
        EventType("forced", Label("强行闯入", "Forced")),
        EventType("closed", Label("关闭", "Closed")),
    ),
    commands=(
        CommandType("open", Label("开启", "Open"), lives_s=20, proof=Shows("open", 1, 1)),
        CommandType("close", Label("关闭", "Close"), lives_s=20, proof=Shows("open", 0, 0)),
    ),
    profile=profile,
)
