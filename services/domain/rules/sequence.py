"""Sequence rules: one event that must be followed by another within a time, and was not: opened, never closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.domain.rules.evaluation import (
    NOTHING,
    OVERTAKEN_MS,
    Event,
    Facts,
    Item,
    Outcome,
    RuleKind,
    Signal,
    State,
    What,
)
from services.domain.rules.parameters import SequenceParameters
from services.domain.rules.words import event_label, span_en, span_zh
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind

_OPEN = 16
"""Unanswered events remembered, the first and the newest always among them."""
_RECHECK_MS = 60_000


def step(parameters: SequenceParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """Which answers which goes by the device's time, how long to wait by the server's, from when the first unanswered
    event came in: an answer within the time that was long on its way only ends what began.

    State: `{"open": [[ts, received]…], "then", "onset"}`: unanswered events in order, the newest answer, what fired.
    An answer answers everything up to its own time, even a late one; a late question is not asked.
    """
    if not isinstance(item, Event) or item.event not in (parameters.event, parameters.then):
        return Outcome(state, due_ms=_due(parameters, state, facts))
    kept: dict[str, Any] = dict(state) if state is not None else {"open": [], "then": 0, "onset": None}
    if item.event == parameters.then:
        return _answered(parameters, kept, item, facts)
    known = any(ts == item.ts_ms for ts, _ in kept["open"])
    if item.late or known or item.ts_ms <= kept["then"]:
        return Outcome(state, due_ms=_due(parameters, state, facts))
    asked = sorted([*kept["open"], [item.ts_ms, item.received_ms]])
    kept["open"] = asked if len(asked) <= _OPEN else [*asked[: _OPEN - 1], asked[-1]]
    return Outcome(kept, due_ms=_due(parameters, kept, facts))


def _answered(parameters: SequenceParameters, kept: dict[str, Any], item: Event, facts: Facts) -> Outcome:
    kept["then"] = max(kept["then"], item.ts_ms)
    kept["open"] = [[ts, received] for ts, received in kept["open"] if ts > item.ts_ms]
    signals: tuple[Signal, ...] = ()
    onset = kept["onset"]
    if onset is not None and item.ts_ms >= onset:
        signals = (Signal(What.CLEAR, item.ts_ms, onset),)
        kept["onset"] = None
    return Outcome(kept, signals, _due(parameters, kept, facts))


def _due(parameters: SequenceParameters, state: State, facts: Facts) -> int | None:
    """A millisecond past the time: an answer at its very end is in time. Nothing is due while it fires."""
    if state is None or state["onset"] is not None:
        return None
    if not state["open"]:
        return int(state["then"]) + OVERTAKEN_MS + 1
    waiting_since = min(received for _, received in state["open"])
    return int(max(waiting_since, facts.online_since_ms) + parameters.within_s * 1000) + 1


def tick(parameters: SequenceParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Of a device that is offline nothing is known; once it is back it is given the whole time again."""
    due = _due(parameters, state, facts)
    if state is None or due is None or now_ms < due:
        return Outcome(state, due_ms=due)
    if not state["open"]:
        return NOTHING
    if not facts.online:
        return Outcome(state, due_ms=now_ms + _RECHECK_MS)
    onset, received_ms = min(state["open"], key=lambda asked: (asked[1], asked[0]))
    # Said in the device's time, which lags behind by as long as its message was on the way.
    return Outcome({**state, "onset": onset}, (Signal(What.FIRE, now_ms - received_ms + onset, onset),))


def reason(kind: DeviceKind, parameters: SequenceParameters, signal: Signal) -> Label:
    first, then = event_label(kind, parameters.event), event_label(kind, parameters.then)
    return Label(
        f"“{first.zh}”后 {span_zh(parameters.within_s)}内未发生“{then.zh}”",
        f"“{first.en}” was not followed by “{then.en}” within {span_en(parameters.within_s)}",
    )


def observes(state: dict[str, Any]) -> State:
    """As RuleKind.observes: answers are heard all the time, so that one which overtook its question still counts."""
    return {"open": [], "then": state["then"], "onset": None} if state["then"] else None


KIND = RuleKind(SequenceParameters, step, tick, reads=(Event,), reason=reason, observes=observes)
