"""Gathering rules: many devices of one place in trouble at the same time are one trouble of the place."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from services.domain.rules.evaluation import NOTHING, Facts, Gathered, Item, Outcome, RuleKind, Signal, State, What
from services.domain.rules.parameters import GatheringParameters
from services.domain.rules.words import span_en, span_zh
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind


def step(parameters: GatheringParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """Counts the devices whose alert stands, those that began within `window_s` of the newest of them.

    State: `{"onset", "first", "told"}` while it fires: since when, the first beginning that counts, how many were last
    told of; `{"over"}`, the last onset, for the moment in which it ended. Over when fewer than `count` of those that
    began no earlier than `first` are left. It repeats whenever the number has doubled, so that a thousand meters going
    off are ten repeats.
    """
    if not isinstance(item, Gathered):
        return Outcome(state)
    rises = item.rises
    if state is not None and "onset" in state:
        return _standing(parameters, state, item)
    first = bisect_left(rises, rises[-1] - parameters.window_s * 1000) if rises and parameters.window_s else 0
    if len(rises) - first < parameters.count:
        return Outcome(state, due_ms=_due(state))
    # Two gatherings of one millisecond are two alerts.
    onset = item.received_ms if state is None else max(item.received_ms, state["over"] + 1)
    together = len(rises) - first
    fired: State = {"onset": onset, "first": rises[first], "told": together}
    return Outcome(fired, (Signal(What.FIRE, item.ts_ms, onset, float(together), {"since_ms": rises[first]}),))


def _standing(parameters: GatheringParameters, state: dict[str, int], item: Gathered) -> Outcome:
    together = len(item.rises) - bisect_left(item.rises, state["first"])
    if together < parameters.count:
        over: State = {"over": state["onset"]}
        return Outcome(over, (Signal(What.CLEAR, item.ts_ms, state["onset"], float(together)),), _due(over))
    if together >= 2 * state["told"]:
        data = {"since_ms": state["first"]}
        more = Signal(What.REPEAT, item.ts_ms, state["onset"], float(together), data)
        return Outcome({**state, "told": together}, (more,))
    return Outcome(state)


def _due(state: State) -> int | None:
    return None if state is None or "over" not in state else int(state["over"]) + 1


def tick(parameters: GatheringParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    due = _due(state)
    return NOTHING if due is not None and now_ms >= due else Outcome(state, due_ms=due)


_WHERE = {
    "gateway": Label("同一网关下", "behind one gateway"),
    "building": Label("同一楼栋内", "in one building"),
    "grid": Label("同一网格内", "in one grid"),
    "community": Label("本社区内", "in the community"),
}


def reason(kind: DeviceKind, parameters: GatheringParameters, signal: Signal) -> Label:
    where, count = _WHERE[parameters.within], int(signal.value or parameters.count)
    if parameters.window_s:
        return Label(
            f"{where.zh} {count} 台设备在 {span_zh(parameters.window_s)}内相继告警",
            f"{count} devices {where.en} raised alerts within {span_en(parameters.window_s)}",
        )
    return Label(f"{where.zh} {count} 台设备同时告警", f"{count} devices {where.en} have alerts at the same time")


# No `observes`: who is in trouble comes with each item; it remembers nothing but its own alert.
KIND = RuleKind(
    GatheringParameters, step, tick, reads=(Gathered,), place=lambda parameters: parameters.within, reason=reason
)
