"""When a rule counts: its hours (`During`) and its guard, before its kind is asked.

What becomes of an item of the log, at its own time (a status: when it was received):

- it counts (True): the kind's `step` is called as ever.
- not known (None; the guard needs what the item does not carry, or twilight where daylight is asked for): the kind is
  not called. Nothing fires, nothing clears, nothing pending goes on or ends; a longer run of such items is a gap.
- it does not count (False; outside the hours, or the guard says no):
  - the rule's alert on this subject stands: the kind is called as ever, so that the alert repeats, recovers and clears
    by its own condition; the clock on the wall and the guard never end an alert. It can not fire anew.
  - otherwise nothing may begin. A kind whose memory is only what is pending forgets it. One whose memory is knowledge
    (`RuleKind.observes`: a baseline, a window, a position) goes on observing; what is pending or fired is taken back.

A clock that runs out asks the hours alone, at the moment for which it was set; a guard speaks of items.
A rule at rest whose kind has `rests` is not asked at all for a quiet reading: gate or not, it would come to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from services.domain.calendar import check_hours, counts_at, hour_of, is_workday, local_time
from services.domain.rules.evaluation import NOTHING, Event, Item, Outcome, Reading, RuleKind, Status, What
from services.domain.rules.guards import Guard, check_guard, compile_guard
from services.domain.rules.rule import During, Rule

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind
    from services.domain.engine.subjects import Compiled, Subject


@dataclass(frozen=True, slots=True)
class Gate:
    """A rule's hours and its guard, compiled. `broken`: why the guard can not be used; found when the rule was read by
    somebody else, it faults the rule aloud instead of letting it be silent."""

    during: During | None
    guard: Guard | None
    broken: Exception | None = None


def compile_gate(rule: Rule) -> Gate | None:
    """None where the rule always counts, which then costs nothing."""
    if rule.during is None and rule.guard is None:
        return None
    try:
        return Gate(rule.during, compile_guard(rule.guard) if rule.guard is not None else None)
    except ValueError as error:
        return Gate(rule.during, None, error)


def check_gate(rule: Rule, device_kind: DeviceKind, kind: RuleKind[Any]) -> None:
    """Raises ValueError (GuardError with the place) where hours or guard of a rule make no sense."""
    if rule.life_safety and (rule.during is not None or rule.guard is not None):
        raise ValueError(f"{rule.id}: what people's lives hang on counts always: no during, no guard")
    if rule.during is not None:
        check_hours(rule.during)
    if rule.guard is not None:
        check_guard(rule.guard, device_kind, reads_values=Reading in kind.reads, reads_events=Event in kind.reads)


def gate(one: Compiled, subject: Subject, item: Item) -> bool | None:
    """Whether the item counts for the rule. `subject`: the device that sent it, also where a building is judged."""
    gated = one.gate
    if gated is None:
        return True
    if gated.broken is not None:
        raise gated.broken
    counts: bool | None = True
    if gated.during is not None:
        at_ms = item.received_ms if isinstance(item, Status) else item.ts_ms
        counts = counts_at(gated.during, at_ms, subject.facts)
        if counts is False:
            return False
    if gated.guard is not None:
        held = gated.guard.holds(lambda name, fields: _variable(name, fields, subject, item))
        return held if counts is True or held is False else None
    return counts


def gate_at(one: Compiled, subject: Subject, at_ms: int) -> bool | None:
    """Whether the rule counts at that moment, whatever the guard would say of an item."""
    if one.gate is None or one.gate.during is None:
        return True
    return counts_at(one.gate.during, at_ms, subject.facts)


def restrain(one: Compiled, outcome: Outcome, standing: bool) -> Outcome:
    """What is left of what a kind said where the rule does not count."""
    fired = any(signal.what is What.FIRE for signal in outcome.signals)
    if standing and not fired:
        return outcome
    signals = tuple(signal for signal in outcome.signals if signal.what is not What.FIRE)
    if one.kind.observes is None:
        return replace(NOTHING, signals=signals)
    state = None if outcome.state is None else one.kind.observes(outcome.state)
    return Outcome(state, signals, outcome.due_ms)


def _variable(name: str, fields: Iterable[str], subject: Subject, item: Item) -> Any:
    """Only what there is: a missing metric, a device without a floor are missing keys, and so not known."""
    match name:
        case "values":
            read = {field: item.value(field) for field in fields} if isinstance(item, Reading) else {}
            return {field: value for field, value in read.items() if value is not None}
        case "event":
            return item.event if isinstance(item, Event) else ""
        case "data":
            data = item.data if isinstance(item, Event) else {}
            return {field: data[field] for field in fields if data.get(field) is not None}
        case "device":
            known = {field: _of_device(field, subject) for field in fields}
            return {field: value for field, value in known.items() if value is not None}
        case "household":
            return {field: _of_household(field, subject, item) for field in fields}
        case "hour":
            return hour_of(local_time(item.ts_ms, subject.facts.zone))
        case _:
            return is_workday(local_time(item.ts_ms, subject.facts.zone).date())


def _of_device(field: str, subject: Subject) -> Any:
    device = subject.device
    match field:
        case "place":
            return subject.place
        case "building":
            return subject.building_id
        case "grid":
            return subject.grid_id
        case "tags":
            return sorted(device.tags) if device is not None else []
        case _:
            return getattr(device, field, None)


def _of_household(field: str, subject: Subject, item: Item) -> Any:
    if field == "tags":
        return sorted(subject.device.person_tags) if subject.device is not None else []
    away_ms = subject.facts.away_until_ms
    return away_ms is not None and away_ms > item.received_ms
