"""Geofence rules: a device that moves enters an area, leaves it, or stays in it for long."""

from __future__ import annotations

from collections.abc import Sequence
from math import asin, cos, hypot, inf, isfinite, radians, sin, sqrt
from typing import TYPE_CHECKING, Any

from services.domain.rules.evaluation import (
    GAP_INTERVALS,
    Facts,
    Item,
    Outcome,
    Reading,
    RuleKind,
    Signal,
    State,
    What,
)
from services.domain.rules.parameters import Edge, GeofenceParameters
from services.domain.rules.words import figure, span_en, span_zh
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind

EARTH_M = 6_371_008.8
"""Mean radius of the Earth (IUGG)."""
M_PER_DEGREE = EARTH_M * radians(1)
Point = tuple[float, float]
"""Latitude and longitude, degrees WGS 84."""


def step(parameters: GeofenceParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """Which side the device is on is known from its first position and outlives a hole in the data: who was inside and
    is outside has left. How long it has been there does not: after a hole of three intervals that counts anew.

    State: `{"inside"}`, with `"since", "first", "last", "heard"` (`first` and `heard` are server times) while it is
    where the rule watches for and has not been long enough, with `"onset"` once it fired.
    """
    if not isinstance(item, Reading) or item.late:
        return Outcome(state, due_ms=_due(parameters, state, facts))
    point = fix(item.value("latitude"), item.value("longitude"))
    if point is None:
        return Outcome(state, due_ms=_due(parameters, state, facts))
    before = None if state is None else bool(state["inside"])
    inside = _side(parameters, point, before, facts)
    if inside is None:
        return Outcome(state)
    if inside is not _watched(parameters):
        ended = () if state is None or "onset" not in state else (_said(What.CLEAR, item.ts_ms, state["onset"]),)
        return Outcome(_at_rest(state, inside), ended)
    if state is not None and "onset" in state:
        return Outcome(state)
    crossed = before is not None and before is not inside
    pending = state is not None and "since" in state
    if not crossed and not pending and parameters.edge is not Edge.DWELL:
        return Outcome(_at_rest(state, inside))
    if state is None or not pending or item.ts_ms - state["last"] > GAP_INTERVALS * facts.interval_ms:
        since, first = item.ts_ms, item.received_ms
    else:
        since, first = state["since"], state["first"]
    if item.ts_ms - since >= parameters.for_s * 1000:
        return _fire(inside, since, item.ts_ms)
    waiting: State = {
        "inside": inside,
        "since": since,
        "first": first,
        "last": item.ts_ms,
        "heard": item.received_ms,
    }
    return Outcome(waiting, due_ms=_due(parameters, waiting, facts))


def _fire(inside: bool, since: int, ts_ms: int) -> Outcome:
    return Outcome({"inside": inside, "onset": since}, (_said(What.FIRE, ts_ms, since),))


def _said(what: What, ts_ms: int, onset_ms: int) -> Signal:
    """Without a figure: where somebody is, is their own affair; who is sent looks it up for a stated purpose."""
    return Signal(what, ts_ms, onset_ms)


def _at_rest(state: State, inside: bool) -> State:
    """The same object where nothing changed, so that nothing is written."""
    return state if state == {"inside": inside} else {"inside": inside}


def _watched(parameters: GeofenceParameters) -> bool:
    """The side on which the rule fires: inside, except for leaving."""
    return parameters.edge is not Edge.EXIT


def fix(latitude: float | None, longitude: float | None) -> Point | None:
    """None where there is no position: not sent, none found (receivers say 0, 0 then), or none on Earth."""
    if latitude is None or longitude is None or not (isfinite(latitude) and isfinite(longitude)):
        return None
    if abs(latitude) > 90 or abs(longitude) > 180 or (abs(latitude) < 1e-6 and abs(longitude) < 1e-6):
        return None
    return latitude, longitude


def _side(parameters: GeofenceParameters, point: Point, before: bool | None, facts: Facts) -> bool | None:
    """Inside on the edge itself; outside only beyond the margin; in between as before."""
    out_m = outside_m(parameters, point, facts)
    if out_m <= 0:
        return True
    return False if out_m > parameters.margin_m else before


def outside_m(parameters: GeofenceParameters, point: Point, facts: Facts) -> float:
    """How far outside the area the point lies, in metres; 0 inside it and on its edge."""
    if len(parameters.area) >= 3:
        return _outside_polygon_m(parameters.area, point)
    centre = parameters.area[0] if parameters.area else (facts.latitude, facts.longitude)
    return max(0.0, distance_m(centre, point) - parameters.radius_m)


def distance_m(one: Point, other: Point) -> float:
    """Along the great circle (haversine)."""
    lat1, lat2 = radians(one[0]), radians(other[0])
    turn = sin((lat2 - lat1) / 2) ** 2
    turn += cos(lat1) * cos(lat2) * sin(radians(other[1] - one[1]) / 2) ** 2
    return 2 * EARTH_M * asin(min(1.0, sqrt(turn)))


def _outside_polygon_m(corners: tuple[Point, ...], point: Point) -> float:
    """On a plane that touches the Earth at the point: exact enough for a 网格 or a town; no antimeridian."""
    if _casts_odd(corners, point):
        return 0.0
    east = cos(radians(point[0]))
    plane = [((lon - point[1]) * east * M_PER_DEGREE, (lat - point[0]) * M_PER_DEGREE) for lat, lon in corners]
    nearest = inf
    for index, (x1, y1) in enumerate(plane):
        x2, y2 = plane[index - 1]
        dx, dy = x2 - x1, y2 - y1
        length = dx * dx + dy * dy
        along = 0.0 if length == 0 else max(0.0, min(1.0, -(x1 * dx + y1 * dy) / length))
        nearest = min(nearest, hypot(x1 + along * dx, y1 + along * dy))
    # What lies on an edge but for the last bit of a float is inside.
    return 0.0 if nearest < 1e-3 else nearest


def _casts_odd(corners: Sequence[Point], point: Point) -> bool:
    """Whether a ray to the east meets the outline an odd number of times."""
    lat, lon = point
    odd = False
    for index, (lat1, lon1) in enumerate(corners):
        lat2, lon2 = corners[index - 1]
        if (lat1 > lat) is not (lat2 > lat) and lon < lon1 + (lat - lat1) * (lon2 - lon1) / (lat2 - lat1):
            odd = not odd
    return odd


def _due(parameters: GeofenceParameters, state: State, facts: Facts) -> int | None:
    """As for thresholds: only a stay shorter than the reporting interval is run out by the clock."""
    if state is None or "first" not in state or parameters.for_s * 1000 >= facts.interval_ms:
        return None
    return int(state["first"] + parameters.for_s * 1000)


def tick(parameters: GeofenceParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    due = _due(parameters, state, facts)
    if state is None or due is None or now_ms < due:
        return Outcome(state, due_ms=due)
    if now_ms - state["heard"] > GAP_INTERVALS * facts.interval_ms:
        # Nobody has said since that it is still there; the next position counts from its own time.
        return Outcome(state)
    return _fire(bool(state["inside"]), state["since"], int(state["since"] + parameters.for_s * 1000))


def observes(state: dict[str, Any]) -> State:
    """As RuleKind.observes: which side it is on."""
    return {"inside": state["inside"]}


def check(parameters: GeofenceParameters) -> None:
    """ValueError where there is no such area."""
    if len(parameters.area) == 2:
        raise ValueError("an area is one centre with radius_m, or at least three corners")
    if len(parameters.area) < 3 and parameters.radius_m <= 0:
        raise ValueError("a circle needs radius_m above 0")
    if any(fix(*corner) is None for corner in parameters.area):
        raise ValueError("corners are (latitude, longitude) in degrees")
    if parameters.margin_m < 0 or parameters.for_s < 0:
        raise ValueError("margin_m and for_s are not negative")


def reason(kind: DeviceKind, parameters: GeofenceParameters, signal: Signal) -> Label:
    area = Label("划定区域", "the area")
    if not parameters.area:
        far = parameters.radius_m
        zh, en, per = ("公里", "km", 1000) if far >= 1000 else ("米", "m", 1)
        area = Label(f"社区周边 {figure(far / per)} {zh}", f"{figure(far / per)} {en} around the community")
    lasting = Label("", "")
    if parameters.for_s:
        lasting = Label(f"已 {span_zh(parameters.for_s)}", f" for {span_en(parameters.for_s)}")
    match parameters.edge:
        case Edge.ENTER:
            return Label(f"{kind.label.zh}进入{area.zh}{lasting.zh}", f"{kind.label.en} entered {area.en}{lasting.en}")
        case Edge.EXIT:
            return Label(f"{kind.label.zh}离开{area.zh}{lasting.zh}", f"{kind.label.en} left {area.en}{lasting.en}")
        case Edge.DWELL:
            return Label(
                f"{kind.label.zh}停留在{area.zh}{lasting.zh}", f"{kind.label.en} stays in {area.en}{lasting.en}"
            )


KIND = RuleKind(GeofenceParameters, step, tick, reads=(Reading,), reason=reason, observes=observes)
