"""Loudspeaker (应急广播音柱): speaks to a zone."""

from __future__ import annotations

from services.domain.devices import day
from services.domain.devices.kind import CommandType, DeviceKind, EventType, Happens
from services.domain.vocabulary import Label

NAME = "loudspeaker"

KIND = DeviceKind(
    name=NAME,
    label=Label("应急广播", "Loudspeaker"),
    system="S25",
    interval_s=300,
    metrics=(),
    events=(
        EventType("played", Label("已播放", "Played"), fields=("command", "clip", "seconds")),
        EventType("fault", Label("故障", "Fault"), fields=("code",)),
    ),
    commands=(
        CommandType(
            "speak",
            Label("广播", "Broadcast"),
            dangerous=True,
            params=("text", "clip", "zone"),
            proof=Happens("played"),
            calls=True,
        ),
    ),
    profile=day.nothing,
)
