"""The platform as something to watch: rules about a community as a whole, whose subject is `community:{id}`."""

from __future__ import annotations

from services.domain.devices.kind import DeviceKind, EventType
from services.domain.ids import DeviceNo
from services.domain.vocabulary import Label

LOG_GAP = "log_gap"
NOBODY = DeviceNo(0)
"""Stands where an item names its device and there is none."""

PLATFORM = DeviceKind(
    name="platform",
    label=Label("平台", "Platform"),
    system="S1",
    metrics=(),
    events=(EventType(LOG_GAP, Label("日志缺失", "Part of the log is missing"), ("lane", "missed")),),
    commands=(),
    interval_s=60,
    profile=lambda _memory, _moment, _random: {},
)
"""Not in the catalogue: nobody owns such a device. Its rules are in `rules/defaults` like those of any kind."""
