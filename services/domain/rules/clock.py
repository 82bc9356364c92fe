"""Clock rules: a device whose clock runs ahead cannot be believed about when anything happened."""

from __future__ import annotations

from services.domain.rules.evaluation import (
    NOTHING,
    Clock,
    Event,
    Facts,
    Item,
    Outcome,
    Reading,
    Reply,
    RuleKind,
    Signal,
    State,
    Status,
    What,
)
from services.domain.rules.parameters import ClockParameters


def step(parameters: ClockParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """State: `{"onset", "received"}`, server times, since the device's are what is wrong."""
    if isinstance(item, Clock):
        if abs(item.offset_ms) <= parameters.limit_s * 1000 or state is not None:
            return Outcome(state)
        fired = Signal(What.FIRE, item.received_ms, item.received_ms, item.offset_ms / 1000)
        return Outcome({"onset": item.received_ms, "received": item.received_ms}, (fired,))
    if state is None or not _tells_the_time(item, facts) or item.received_ms <= state["received"]:
        return Outcome(state)
    if abs(item.received_ms - item.ts_ms) > parameters.limit_s * 1000:
        return Outcome(state)
    cleared = Signal(What.CLEAR, item.received_ms, state["onset"], (item.ts_ms - item.received_ms) / 1000)
    return Outcome(None, (cleared,))


def _tells_the_time(item: Item, facts: Facts) -> bool:
    """Whether the device's own clock stamped it just now.

    Of a status only that of a new connection: a last will has the time of the connection that it ends. Neither a
    status nor an answer counts where a gateway gives it for the device, or where the format has no time for it and it
    was stamped as it arrived.
    """
    if isinstance(item, Reading | Event):
        return True
    if not isinstance(item, Status | Reply) or (isinstance(item, Status) and not item.online):
        return False
    return facts.gateway is None and item.ts_ms != item.received_ms


def tick(parameters: ClockParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Time alone mends no clock."""
    return NOTHING if state is None else Outcome(state)


KIND = RuleKind(ClockParameters, step, tick, reads=(Clock,), reads_active=(Reading, Event, Status, Reply))
