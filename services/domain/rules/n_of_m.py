"""N-of-M rules: one bad reading may be a loose strap; two of the last three are not."""

from __future__ import annotations

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
    past,
    short_of,
)
from services.domain.rules.parameters import NOfMParameters


def step(parameters: NOfMParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """State: `{"recent": [[ts, 0 or 1], …at most m], "onset": ms or None}`; none while all recent readings are good.

    Readings older than a hole of three intervals say nothing about now and are forgotten; a late one is not counted.
    Over only once fewer than `n` of the last `m` hold whatever the forgotten ones would have said.
    """
    if not isinstance(item, Reading):
        return Outcome(state)
    value = item.value(parameters.metric)
    if value is None or item.late:
        return Outcome(state)
    hit = _hit(parameters, value)
    if state is None and not hit:
        return NOTHING
    recent = list(state["recent"]) if state else []
    onset = state["onset"] if state else None
    if recent and item.ts_ms <= recent[-1][0]:
        return Outcome(state)
    if recent and item.ts_ms - recent[-1][0] > GAP_INTERVALS * facts.interval_ms:
        recent = []
    recent = [*recent, [item.ts_ms, int(hit)]][-parameters.m :]
    hits = [ts for ts, bad in recent if bad]
    if onset is None and len(hits) >= parameters.n:
        fired = Signal(What.FIRE, item.ts_ms, hits[0], value, {"hits": len(hits), "of": len(recent)})
        return Outcome({"recent": recent, "onset": hits[0]}, (fired,))
    forgotten = parameters.m - len(recent)
    if onset is not None and len(hits) + forgotten < parameters.n:
        kept: State = {"recent": recent, "onset": None} if hits else None
        return Outcome(kept, (Signal(What.CLEAR, item.ts_ms, onset, value),))
    return Outcome({"recent": recent, "onset": onset} if hits or onset is not None else None)


def _hit(parameters: NOfMParameters, value: float) -> bool:
    if not past(parameters.compare, value, parameters.limit):
        return False
    if parameters.and_compare is None or parameters.and_limit is None:
        return True
    return past(parameters.and_compare, value, parameters.and_limit)


def tick(parameters: NOfMParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Only readings speak here."""
    return Outcome(state)


def rests(parameters: NOfMParameters) -> tuple[str, float, float]:
    """As RuleKind.rests."""
    return parameters.metric, *short_of(parameters.compare, parameters.limit)


KIND = RuleKind(NOfMParameters, step, tick, reads=(Reading,), rests=rests)
