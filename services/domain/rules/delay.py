"""Delay rules: messages of a community reach the rules long after they were received; help may come late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.domain.rules.evaluation import NOTHING, Facts, Item, Lag, Outcome, RuleKind, Signal, State, What
from services.domain.rules.parameters import DelayParameters
from services.domain.rules.words import span_en, span_zh
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind


def step(parameters: DelayParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """State: `{"onset", "worst"}`, ms; the onset is when the first message that had to wait too long was received.

    Getting worse by a full limit is said again, so that an outage of an hour does not read like one of a minute.
    """
    if not isinstance(item, Lag):
        return Outcome(state)
    delay_s = item.delay_ms / 1000
    if state is None:
        if delay_s <= parameters.limit_s:
            return NOTHING
        onset = item.received_ms - item.delay_ms
        fired = Signal(What.FIRE, item.received_ms, onset, delay_s)
        return Outcome({"onset": onset, "worst": item.delay_ms}, (fired,))
    if delay_s <= parameters.clear_s:
        return Outcome(None, (Signal(What.CLEAR, item.received_ms, state["onset"], state["worst"] / 1000),))
    if item.delay_ms >= state["worst"] + parameters.limit_s * 1000:
        again = Signal(What.REPEAT, item.received_ms, state["onset"], delay_s)
        return Outcome({"onset": state["onset"], "worst": item.delay_ms}, (again,))
    return Outcome(state)


def tick(parameters: DelayParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Only the engine knows how far behind it is."""
    return Outcome(state)


def reason(kind: DeviceKind, parameters: DelayParameters, signal: Signal) -> Label:
    """As RuleKind.reason."""
    waited = signal.value or parameters.limit_s
    return Label(
        f"消息延迟 {span_zh(waited)}才送达告警规则（上限 {span_zh(parameters.limit_s)}），此间的告警可能迟到",
        f"Messages reached the alert rules {span_en(waited)} late (limit {span_en(parameters.limit_s)}); "
        "alerts of that time may have come late",
    )


KIND = RuleKind(DelayParameters, step, tick, reads=(Lag,), reason=reason)
