"""Offline rules: nothing heard for three intervals, or a last will; a device behind a dead gateway is not blamed."""

from __future__ import annotations

from typing import Any

from services.domain.rules.evaluation import (
    Clock,
    Event,
    Facts,
    Flood,
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
from services.domain.rules.parameters import OfflineParameters

WILL_GRACE_MS = 10_000
"""A device that reconnects at once (new network, restart) publishes a last will too; it gets this long to return."""
LINE_SILENT_MS = 10 * 60_000
"""While nothing at all comes through, it may be the way that is broken and not the device: wait this much longer."""
STRAGGLER_MS = 10 * 60_000
"""What was said before a device went may be received so long after it: telemetry waits behind events, and behind an
outage. What comes later than that revives it however old it says to be: then it is its clock that is wrong."""
_RECHECK_MS = 5_000
_STILL_OFF_MS = 60_000
"""How often a device known to be offline is looked for: a bare heartbeat may come back without a line in the log."""


def step(parameters: OfflineParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """State: `{"will"}` in the grace after a last will; `{"off", "fired"}` while offline; `"said"`: when it was last
    said to be gone. Times are the server's: a wrong device clock must not make a living device look dead.
    """
    if isinstance(item, Status) and not item.online:
        if state is not None:
            still = {**state, "said": max(item.received_ms, _gone_ms(state))}
            return Outcome(still, due_ms=_due(parameters, still, facts))
        if item.session < facts.session or _spoke_after(item.received_ms, facts):
            return Outcome(state, due_ms=_due(parameters, state, facts))
        willed: State = {"will": item.received_ms, "said": item.received_ms}
        return Outcome(willed, due_ms=_due(parameters, willed, facts))
    if state is None:
        return Outcome(None, due_ms=_due(parameters, None, facts))
    if not revives(state, item):
        return Outcome(state, due_ms=_due(parameters, state, facts))
    back = _back(state, item.received_ms)
    return Outcome(None, back, item.received_ms + parameters.missed * facts.interval_ms + 1)


def revives(state: dict[str, Any], item: Item) -> bool:
    """Whether a device taken for gone is there again, now that this was received of it.

    After it was said to be gone, what it had said before may still be on its way, or be sent again. A status says of
    which connection it is, and only a new one comes to here.
    """
    gone_ms = _gone_ms(state)
    if item.received_ms <= gone_ms:
        return False
    if "said" not in state or isinstance(item, Status):
        return True
    return item.ts_ms > gone_ms or item.received_ms > gone_ms + STRAGGLER_MS


def _gone_ms(state: dict[str, Any]) -> int:
    """Up to when it is known to be gone; what is older says nothing."""
    return max(int(state[name]) for name in ("will", "off", "said") if name in state)


def _spoke_after(gone_ms: int, facts: Facts) -> bool:
    """Telemetry is read apart from events: what came, and was made, after the will may have been read before it."""
    return facts.seen_ms is not None and facts.seen_ms > gone_ms and facts.made_ms > gone_ms


def _back(state: dict[str, int], at_ms: int) -> tuple[Signal, ...]:
    if "off" not in state:
        return ()
    online = Signal(What.ONLINE, at_ms, state["off"])
    return (online, Signal(What.CLEAR, at_ms, state["off"])) if state["fired"] else (online,)


def _due(parameters: OfflineParameters, state: State, facts: Facts) -> int | None:
    patience_ms = parameters.missed * facts.interval_ms
    settled_ms = facts.line.since_ms + min(patience_ms, facts.line.settle_ms)
    if state is None:
        return None if facts.seen_ms is None else max(facts.seen_ms + patience_ms, settled_ms) + 1
    if "will" in state:
        grace_ms = int(state["will"]) + WILL_GRACE_MS
        return grace_ms if state["will"] >= facts.line.since_ms else max(grace_ms, settled_ms)
    return 0


def tick(parameters: OfflineParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    if state is not None and "off" in state:
        # A bare heartbeat. One that was said to be gone first says that it is back; else what is heard may be old.
        if "said" not in state and facts.seen_ms is not None and facts.seen_ms > state["off"]:
            return Outcome(None, _back(state, facts.seen_ms), _due(parameters, None, facts))
        return _while_off(parameters, state, facts, now_ms)
    due = _due(parameters, state, facts)
    if due is None or now_ms < due:
        return Outcome(state, due_ms=due)
    if state is not None:
        return _conclude(state["will"], facts, now_ms, said={"said": _gone_ms(state)})
    seen = facts.seen_ms or 0
    expected = seen + parameters.missed * facts.interval_ms
    if facts.line.heard_ms <= expected and now_ms < due + LINE_SILENT_MS:
        return Outcome(None, due_ms=now_ms + _RECHECK_MS)
    if _gateway_unsure(seen, facts, now_ms, due):
        return Outcome(None, due_ms=now_ms + _RECHECK_MS)
    return _conclude(expected, facts, now_ms)


def _gateway_unsure(seen_ms: int, facts: Facts, now_ms: int, due_ms: int) -> bool:
    """The gateway has not been heard since either, so it may be the one that died: its own rule will tell.

    Bounded by twice the gateway's own patience, so that a device can not hide behind it for good.
    """
    gateway = facts.gateway
    if gateway is None or not gateway.online or gateway.seen_ms is None:
        return False
    silent = gateway.seen_ms <= seen_ms + facts.interval_ms
    return silent and now_ms < due_ms + 6 * gateway.interval_ms


def _conclude(at_ms: int, facts: Facts, now_ms: int, said: dict[str, int] | None = None) -> Outcome:
    offline = Signal(What.OFFLINE, at_ms, at_ms)
    if _gateway_down(facts):
        return Outcome({"off": at_ms, "fired": False} | (said or {}), (offline,), now_ms + _RECHECK_MS)
    fired = Signal(What.FIRE, at_ms, at_ms)
    return Outcome({"off": at_ms, "fired": True} | (said or {}), (offline, fired), now_ms + _STILL_OFF_MS)


def _while_off(parameters: OfflineParameters, state: dict[str, int], facts: Facts, now_ms: int) -> Outcome:
    """Once the gateway is back the device has three intervals of its own to speak; then it is to blame. Where the
    gateway says itself that the device does not answer, the grace of a last will is enough."""
    if state["fired"]:
        return Outcome(state, due_ms=now_ms + _STILL_OFF_MS)
    if _gateway_down(facts):
        return Outcome(state, due_ms=now_ms + _RECHECK_MS)
    since = state["off"] if facts.gateway is None else max(state["off"], facts.gateway.online_since_ms)
    limit = since + parameters.missed * facts.interval_ms
    if facts.gateway is not None and state.get("said", 0) > facts.gateway.online_since_ms:
        limit = min(limit, state["said"] + WILL_GRACE_MS)
    if now_ms <= limit:
        return Outcome(state, due_ms=limit + 1)
    fired: State = {**state, "fired": True}
    return Outcome(fired, (Signal(What.FIRE, limit, state["off"]),), now_ms + _STILL_OFF_MS)


def _gateway_down(facts: Facts) -> bool:
    return facts.gateway is not None and not facts.gateway.online


def observes(state: dict[str, Any]) -> State:
    """As RuleKind.observes: whether the device is there is known all the time; only nobody is told."""
    return {**state, "fired": False} if "off" in state else state


KIND = RuleKind(
    OfflineParameters,
    step,
    tick,
    reads=(Status,),
    reads_active=(Reading, Event, Clock, Flood, Reply),
    starts=True,
    observes=observes,
)
