"""Alert rules: one file a kind, each a pure step over readings, events and time."""

from __future__ import annotations

from typing import Any

from services.domain.rules import (
    absence,
    baseline,
    clock,
    consumption,
    correlation,
    delay,
    event,
    flood,
    gathering,
    geofence,
    n_of_m,
    offline,
    rate,
    schedule,
    sequence,
    silence,
    threshold,
    window,
)
from services.domain.rules.evaluation import RuleKind

KINDS: tuple[RuleKind[Any], ...] = (
    event.KIND,
    threshold.KIND,
    offline.KIND,
    n_of_m.KIND,
    consumption.KIND,
    absence.KIND,
    correlation.KIND,
    clock.KIND,
    flood.KIND,
    delay.KIND,
    rate.KIND,
    window.KIND,
    silence.KIND,
    sequence.KIND,
    gathering.KIND,
    geofence.KIND,
    schedule.KIND,
    baseline.KIND,
)
BY_PARAMETERS: dict[type, RuleKind[Any]] = {kind.parameters: kind for kind in KINDS}
