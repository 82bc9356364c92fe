"""E-bike camera (电动车进电梯识别): sees an e-bike in a lift and keeps the door open until it is out."""

from __future__ import annotations

from services.domain.devices import day
from services.domain.devices.kind import CommandType, DeviceKind, EventType
from services.domain.vocabulary import Label

NAME = "ebike_camera"

KIND = DeviceKind(
    name=NAME,
    label=Label("电动车识别摄像机", "E-bike camera"),
    system="S12",
    interval_s=60,
    metrics=(),
    events=(EventType("ebike_in_lift", Label("电动车进电梯", "E-bike in a lift"), fields=("photo",)),),
    commands=(
        CommandType("hold_door", Label("保持开门", "Hold door")),
        CommandType("speak", Label("语音劝阻", "Speak"), params=("text", "clip")),
    ),
    profile=day.nothing,
)
