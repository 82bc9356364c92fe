"""Gateway (网关): speaks for the meters behind it; its own heartbeat is its status and what it forwards."""

from __future__ import annotations

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind
from services.domain.registry import GATEWAY_KIND
from services.domain.vocabulary import Label

KIND = DeviceKind(
    name=GATEWAY_KIND,
    label=Label("网关", "Gateway"),
    system="S21",
    interval_s=60,
    metrics=(),
    events=(),
    commands=(),
    profile=day.nothing,
)
