"""Siren (声光警报器): sound and light that clear a place."""

from __future__ import annotations

from services.domain.devices import day
from services.domain.devices.kind import CommandType, DeviceKind, EventType, Happens
from services.domain.vocabulary import Label

NAME = "siren"

KIND = DeviceKind(
    name=NAME,
    label=Label("声光警报器", "Siren"),
    system="S27",
    interval_s=300,
    metrics=(),
    events=(
        EventType("played", Label("已鸣响", "Sounded"), fields=("command", "seconds")),
        EventType("fault", Label("故障", "Fault"), fields=("code",)),
    ),
    commands=(
        CommandType(
            "siren_on",
            Label("鸣响", "Siren on"),
            dangerous=True,
            params=("seconds",),
            proof=Happens("played"),
            calls=True,
        ),
        # silencing a siren in an emergency does as much harm as sounding it without one
        CommandType("siren_off", Label("停止", "Siren off"), dangerous=True),
    ),
    profile=day.nothing,
)
