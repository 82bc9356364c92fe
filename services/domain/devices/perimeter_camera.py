"""Perimeter camera (周界摄像机): a line that should not be crossed, at a wall or at a water's edge."""

from __future__ import annotations

from services.domain.devices import day
from services.domain.devices.kind import CommandType, DeviceKind, EventType
from services.domain.vocabulary import Label

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
    profile=day.nothing,
)
