"""High-throw camera (高空抛物摄像机): looks up a façade and keeps the clip of what falls."""

from __future__ import annotations

from services.domain.devices import day
from services.domain.devices.kind import CommandType, DeviceKind, EventType
from services.domain.vocabulary import Label

NAME = "highthrow_camera"

KIND = DeviceKind(
    name=NAME,
    label=Label("高空抛物摄像机", "High-throw camera"),
    system="S8",
    interval_s=60,
    metrics=(),
    events=(EventType("thrown", Label("高空抛物", "Object thrown"), fields=("clip", "floor", "track")),),
    commands=(CommandType("snapshot", Label("抓拍", "Snapshot")),),
    profile=day.nothing,
)
