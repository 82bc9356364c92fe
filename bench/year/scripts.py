"""What goes wrong in the year: for each rule, troubles it must find and near misses it must leave alone.

A trouble is made in the world (a level forced, a counter held, silence, an event), from the rule's own figures; what
the engine is told of it goes the way of all readings. A near miss stays just inside the limit, or ends too early, or
comes too late to mean anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from bench.year.incident import DAY, HOUR, MIN, Incident, Told
from bench.year.town import Town
from services.domain.engine.subjects import Compiled
from services.domain.ids import DeviceNo
from services.domain.registry import GATEWAY_KIND
from services.domain.rules.parameters import (
    AbsenceParameters,
    ClockParameters,
    Compare,
    ConsumptionParameters,
    CorrelationParameters,
    Edge,
    EventParameters,
    FloodParameters,
    GatheringParameters,
    GeofenceParameters,
    NOfMParameters,
    OfflineParameters,
    RateParameters,
    SilenceParameters,
    ThresholdParameters,
)

_CHINA_MS = 8 * HOUR
LATE, LATE_SAFETY = 25 * MIN, 2 * HOUR
"""How late the events of a near miss come: past what pages anybody (ten minutes, an hour for a call for help)."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a script is handed: where, which rule, when, and a die."""

    town: Town
    number: DeviceNo
    one: Compiled
    at_ms: int
    rng: random.Random

    @property
    def interval_ms(self) -> int:
        return self.town.rows[self.number].interval_s * 1000

    def incident(self, to_ms: int, *, real: bool = True, from_ms: int | None = None, **more: Any) -> Incident:
        rule = self.one.rule
        start = self.at_ms if from_ms is None else from_ms
        return Incident(self.number, rule.id, self.one.family, rule.life_safety, real, start, to_ms, **more)


def _event(case: Case, p: EventParameters) -> Incident:
    again = [Told(case.at_ms + n * MIN, p.event) for n in range(1, case.rng.randint(1, 3))]
    told = [Told(case.at_ms, p.event), *again]
    if p.clear_event:
        told.append(Told(told[-1].at_ms + 10 * MIN, p.clear_event))
    return case.incident(told[-1].at_ms, told=tuple(told))


def _event_late(case: Case, p: EventParameters) -> Incident | None:
    delay = LATE_SAFETY if case.one.rule.life_safety else LATE
    told = (Told(case.at_ms, p.event, delay),)
    return case.incident(case.at_ms + delay, real=False, told=told)


def _threshold(case: Case, p: ThresholdParameters) -> Incident:
    case = _by_daylight(case, p)
    lasts = max(int(p.for_s * 1000) + 3 * case.interval_ms, 10 * MIN)
    return case.incident(case.at_ms + lasts, forced=_guarded(p, _past(case, p, 0.12)))


def _threshold_inside(case: Case, p: ThresholdParameters) -> Incident | None:
    """An hour just inside the limit; of a switch there is nothing in between."""
    case = _by_daylight(case, p)
    value = _past(case, p, -0.03)
    if p.metric not in value or _discrete(case, p.metric):
        return None
    return case.incident(case.at_ms + HOUR, real=False, forced=value)


def _threshold_short(case: Case, p: ThresholdParameters) -> Incident | None:
    """Past the limit, but over before the duration is; only where readings can tell."""
    if p.for_s * 1000 < 3 * case.interval_ms:
        return None
    case = _by_daylight(case, p)
    lasts = int(p.for_s * 1000) - 2 * case.interval_ms
    return case.incident(case.at_ms + lasts, real=False, forced=_guarded(p, _past(case, p, 0.12)))


def _guarded(p: ThresholdParameters, forced: dict[str, float]) -> dict[str, float]:
    if p.guard_metric is not None and p.guard_metric not in forced:
        forced[p.guard_metric] = p.guard_at_least
    return forced


def _past(case: Case, p: ThresholdParameters | NOfMParameters, by: float) -> dict[str, float]:
    """A value past the limit by that share (inside it, if negative), within what the metric can be."""
    metric = next(metric for metric in case.one.device_kind.metrics if metric.name == p.metric)
    up = p.compare is Compare.AT_LEAST
    step = abs(p.limit) * abs(by) or abs(by)
    value = p.limit + (step if up is (by > 0) else -step)
    return {p.metric: min(metric.high, max(metric.low, value))}


def _discrete(case: Case, name: str) -> bool:
    metric = next(metric for metric in case.one.device_kind.metrics if metric.name == name)
    return metric.type.value in ("switch", "state")


def _by_daylight(case: Case, p: ThresholdParameters) -> Case:
    """Noon or shortly before midnight of the same day, where the rule asks for the sun."""
    if p.daylight is None:
        return case
    midnight = (case.at_ms + _CHINA_MS) // DAY * DAY - _CHINA_MS
    return replace(case, at_ms=midnight + (12 * HOUR if p.daylight else 22 * HOUR))


def _n_of_m(case: Case, p: NOfMParameters) -> Incident:
    value = _past(case, p, 0.0 if p.and_limit is not None else 0.03)
    return case.incident(case.at_ms + (p.m + 1) * case.interval_ms, forced=value)


def _n_of_m_once(case: Case, p: NOfMParameters) -> Incident | None:
    """One bad reading: a loose strap."""
    if p.n < 2:
        return None
    value = _past(case, p, 0.0 if p.and_limit is not None else 0.03)
    return case.incident(case.at_ms + case.interval_ms, real=False, forced=value)


def _consumption(case: Case, p: ConsumptionParameters) -> Incident:
    window = int(p.window_s * 1000)
    if p.compare is Compare.AT_MOST:
        return case.incident(case.at_ms + window + 2 * HOUR, forced={"flow": 0.0})
    if p.every_s is not None:
        flow = 4 * p.limit / (p.every_s / 3600)
        return case.incident(case.at_ms + window + 2 * int(p.every_s * 1000), forced={"flow": flow})
    return case.incident(case.at_ms + window, forced={"flow": 1.3 * p.limit / (p.window_s / 3600)})


def _consumption_away(case: Case, p: ConsumptionParameters) -> Incident | None:
    """Too short a silence: nobody drew water for two thirds of the time."""
    if p.compare is not Compare.AT_MOST:
        return None
    morning = (case.at_ms + _CHINA_MS) // DAY * DAY - _CHINA_MS + 10 * HOUR
    return case.incident(morning + int(p.window_s * 400), real=False, from_ms=morning, forced={"flow": 0.0})


def _consumption_switch(case: Case, p: ConsumptionParameters) -> Incident | None:
    """Three days without water, and the away switch set."""
    if p.compare is not Compare.AT_MOST:
        return None
    return case.incident(case.at_ms + 3 * DAY, real=False, forced={"flow": 0.0}, away=True)


def _rate(case: Case, p: RateParameters) -> Incident:
    step = 1.4 * p.limit if p.compare is Compare.AT_LEAST else -1.4 * abs(p.limit)
    return case.incident(case.at_ms + 3 * case.interval_ms, raised={p.metric: step})


def _rate_slow(case: Case, p: RateParameters) -> Incident:
    """Half of it."""
    return case.incident(case.at_ms + 3 * case.interval_ms, real=False, raised={p.metric: 0.4 * p.limit})


def _silence(case: Case, p: SilenceParameters) -> Incident:
    lasts = int(p.for_s * 1000) + 4 * case.interval_ms
    return case.incident(case.at_ms + lasts, dropped=frozenset({p.metric}))


def _silence_short(case: Case, p: SilenceParameters) -> Incident:
    lasts = int(p.for_s * 500)
    return case.incident(case.at_ms + lasts, real=False, dropped=frozenset({p.metric}))


def _geofence(case: Case, p: GeofenceParameters) -> Incident | None:
    if p.edge is not Edge.EXIT or p.area:
        return None
    lasts = int(p.for_s * 1000) + 4 * case.interval_ms
    north = 2 * (p.radius_m + p.margin_m) / 111_320
    return case.incident(case.at_ms + lasts, forced={"latitude": case.town.community.latitude + north})


def _geofence_near(case: Case, p: GeofenceParameters) -> Incident | None:
    """At the far end of the neighbourhood."""
    if p.edge is not Edge.EXIT or p.area:
        return None
    north = 0.7 * p.radius_m / 111_320
    return case.incident(case.at_ms + HOUR, real=False, forced={"latitude": case.town.community.latitude + north})


def _gathering(case: Case, p: GatheringParameters) -> Incident | None:
    return _many(case, p, p.count)


def _gathering_few(case: Case, p: GatheringParameters) -> Incident | None:
    """One less than it takes: alerts of their own, and nothing of the place."""
    incident = _many(case, p, p.count - 1)
    return None if incident is None else replace(incident, real=False)


def _many(case: Case, p: GatheringParameters, count: int) -> Incident | None:
    rows, place = case.town.rows, _place(case, p)
    if place is None:
        return None
    key, mates = place
    found = [(n, one) for n in mates for one in _matching(case.town, n, p.rule)]
    if len({n for n, _ in found}) < p.count:
        return None
    members = dict(found[: len(found)])
    chosen = list(members)[:count]
    first = members[chosen[0]].rule.parameters
    if isinstance(first, EventParameters):
        others = tuple((n, Told(case.at_ms + k * MIN, first.event)) for k, n in enumerate(chosen))
        return case.incident(case.at_ms + count * MIN, others=others, subject=key)
    if isinstance(first, OfflineParameters):
        slowest = max(rows[n].interval_s for n in chosen) * 1000
        end = case.at_ms + first.missed * slowest + 2 * slowest
        return case.incident(end, silent_too=tuple(chosen), subject=key)
    return None


def _place(case: Case, p: GatheringParameters) -> tuple[str, list[DeviceNo]] | None:
    rows, row = case.town.rows, case.town.rows[case.number]
    match p.within:
        case "gateway":
            gateway = case.number if row.kind == GATEWAY_KIND else row.gateway_no
            return (
                None
                if gateway is None
                else (f"gateway:{gateway}", [n for n, one in rows.items() if one.gateway_no == gateway])
            )
        case "building" if row.building_id:
            return f"building:{row.building_id}", [n for n, one in rows.items() if one.building_id == row.building_id]
        case "grid" if row.grid_id:
            return f"grid:{row.grid_id}", [n for n, one in rows.items() if one.grid_id == row.grid_id]
        case _:
            return None


def _matching(town: Town, number: DeviceNo, pattern: str) -> list[Compiled]:
    rules = town.subject(number).rules.by_id
    return [
        one
        for rule_id, one in rules.items()
        if (fnmatchcase(rule_id, pattern) or fnmatchcase(one.family, pattern))
        and isinstance(one.rule.parameters, EventParameters | OfflineParameters)
    ][:1]


def _absence(case: Case, p: AbsenceParameters) -> Incident:
    midnight = (case.at_ms + _CHINA_MS) // DAY * DAY - _CHINA_MS
    start, end = midnight + int((p.from_hour - 2) * HOUR), midnight + int((p.to_hour + 1) * HOUR)
    return case.incident(end, from_ms=start, forced={"open": 0.0})


def _correlation(case: Case, p: CorrelationParameters) -> Incident | None:
    building = case.town.rows[case.number].building_id
    near = [
        n
        for n, row in case.town.rows.items()
        if row.building_id == building and row.kind == case.one.device_kind.name and n != case.number
    ]
    if building is None or len(near) < p.count - 1:
        return None
    others = tuple((n, Told(case.at_ms + k * 40_000, p.event)) for k, n in enumerate(near[: p.count - 1], start=1))
    end = case.at_ms + 40_000 * p.count
    return case.incident(end, told=(Told(case.at_ms, p.event),), others=others, subject=f"building:{building}")


def _offline(case: Case, p: OfflineParameters) -> Incident:
    silent = p.missed * case.interval_ms
    lasts = silent + max(2 * case.interval_ms, 15 * MIN) + int(case.rng.random() * 2 * silent)
    will = case.town.rows[case.number].gateway_no is None and case.rng.random() < 0.5
    return case.incident(case.at_ms + lasts, silent=True, will=will)


def _offline_short(case: Case, p: OfflineParameters) -> Incident | None:
    """One report missing."""
    if case.interval_ms < MIN:
        return None
    return case.incident(case.at_ms + int(1.2 * case.interval_ms), real=False, silent=True)


def _clock(case: Case, p: ClockParameters) -> Incident:
    return case.incident(case.at_ms + MIN, told=(Told(case.at_ms, "~clock", number=int(p.limit_s * 1000) * 3),))


def _flood(case: Case, p: FloodParameters) -> Incident:
    return case.incident(case.at_ms + MIN, told=(Told(case.at_ms, "~flood", number=500),))


Script = Callable[[Case, Any], Incident | None]
TROUBLES: Mapping[type, Script] = {
    EventParameters: _event,
    ThresholdParameters: _threshold,
    NOfMParameters: _n_of_m,
    ConsumptionParameters: _consumption,
    AbsenceParameters: _absence,
    CorrelationParameters: _correlation,
    OfflineParameters: _offline,
    ClockParameters: _clock,
    FloodParameters: _flood,
    RateParameters: _rate,
    SilenceParameters: _silence,
    GeofenceParameters: _geofence,
    GatheringParameters: _gathering,
}
NEAR_MISSES: Mapping[type, tuple[Script, ...]] = {
    EventParameters: (_event_late,),
    ThresholdParameters: (_threshold_inside, _threshold_short),
    NOfMParameters: (_n_of_m_once,),
    ConsumptionParameters: (_consumption_away, _consumption_switch),
    OfflineParameters: (_offline_short,),
    RateParameters: (_rate_slow,),
    SilenceParameters: (_silence_short,),
    GeofenceParameters: (_geofence_near,),
    GatheringParameters: (_gathering_few,),
}
