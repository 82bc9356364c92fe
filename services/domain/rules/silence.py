"""Silence rules: a metric that is not sent any more by a device that goes on speaking: its sensor is broken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from services.domain.rules.evaluation import (
    GAP_INTERVALS,
    NOTHING,
    Facts,
    Item,
    Outcome,
    Reading,
    RuleKind,
    Signal,
    State,
    What,
)
from services.domain.rules.parameters import SilenceParameters
from services.domain.rules.words import metric_label, span_en, span_zh
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind


def step(parameters: SilenceParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """Counted in the device's own time, from the first reading without the metric to the newest one without it.

    State: `{"since", "last", "onset"}`; `since` is None after a value that came too late to clear anything. A device
    that sends no telemetry for three intervals is silent altogether, which is another trouble: the count starts anew.
    """
    if not isinstance(item, Reading) or (state is not None and item.ts_ms <= state["last"]):
        return Outcome(state)
    if item.value(parameters.metric) is not None:
        return _sent(state, item)
    if state is None:
        return Outcome({"since": item.ts_ms, "last": item.ts_ms, "onset": None})
    since, onset = state["since"], state["onset"]
    if item.ts_ms - state["last"] > GAP_INTERVALS * facts.interval_ms:
        since = item.ts_ms
    elif since is None and not item.late:
        ended = Signal(What.CLEAR, item.ts_ms, onset)
        return Outcome({"since": item.ts_ms, "last": item.ts_ms, "onset": None}, (ended,))
    if onset is None and not item.late and item.ts_ms - since >= parameters.for_s * 1000:
        fired = Signal(What.FIRE, item.ts_ms, since)
        return Outcome({"since": since, "last": item.ts_ms, "onset": since}, (fired,))
    return Outcome({"since": since, "last": item.ts_ms, "onset": onset})


def _sent(state: State, item: Reading) -> Outcome:
    if state is None or state["onset"] is None:
        return NOTHING
    if item.late:
        return Outcome({"since": None, "last": item.ts_ms, "onset": state["onset"]})
    return Outcome(None, (Signal(What.CLEAR, item.ts_ms, state["onset"]),))


def tick(parameters: SilenceParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """A device that does not speak says nothing about its sensors."""
    return Outcome(state)


def reason(kind: DeviceKind, parameters: SilenceParameters, signal: Signal) -> Label:
    name = metric_label(kind, parameters.metric)
    return Label(
        f"{kind.label.zh}在线，但已 {span_zh(parameters.for_s)}未上报“{name.zh}”",
        f"{kind.label.en} speaks, but has not sent {name.en} for {span_en(parameters.for_s)}",
    )


def rests(parameters: SilenceParameters) -> tuple[str, float, float]:
    """As RuleKind.rests: any value will do, but there must be one."""
    return parameters.metric, -math.inf, math.inf


# No `observes`: what it remembers is only how long something has been pending, and that begins with the rule's hours.
KIND = RuleKind(SilenceParameters, step, tick, reads=(Reading,), rests=rests, rests_only_if_sent=True, reason=reason)
