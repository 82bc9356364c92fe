"""Perimeter camera (周界摄像机): a line that should not be crossed, at a wall or at a water's edge."""

from __future__ import annotations

from services.domain.devices import day
from services.domain.devices.common import rule, standing
from services.domain.devices.kind import CommandType, DeviceKind, EventType
from services.domain.registry import WATER_ZONE
from services.domain.rules.parameters import EventParameters
from services.domain.vocabulary import Label, Severity, Team

NAME = "perimeter_camera"

KIND = DeviceKind(
    name=NAME,
    label=Label("周界摄像机", "Perimeter camera"),
    system="S9",
    interval_s=60,
    metrics=(),
    events=(EventType("crossed", Label("越界", "Line crossed"), fields=("photo", "zone")),),
    commands=(
        # its own horn at one spot: a shout at somebody by the water cannot wait for a second approver
        CommandType("speak", Label("喊话", "Speak"), params=("text", "clip")),
        CommandType("snapshot", Label("抓拍", "Snapshot")),
    ),
    rules=(
        rule(
            f"{NAME}.water_edge",
            "有人进入危险水域",
            "Someone crossed a water edge",
            Severity.CRITICAL,
            Team.PATROL,
            EventParameters("crossed"),
            life_safety=True,
            device_tag=WATER_ZONE,
            family=f"{NAME}.crossed",
        ),
        rule(
            f"{NAME}.crossed",
            "周界越界",
            "Perimeter crossed",
            Severity.MINOR,
            Team.PATROL,
            EventParameters("crossed"),
            family=f"{NAME}.crossed",
        ),
        *standing(NAME),
    ),
    profile=day.nothing,
)
