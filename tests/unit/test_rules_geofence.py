"""Geofences on a timeline: sides, edges, jitter, dwelling, holes and positions that are none."""

from __future__ import annotations

from dataclasses import replace
from math import cos, inf, nan, radians

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.devices import BY_NAME
from services.domain.ids import DeviceNo
from services.domain.rules.evaluation import Facts, Reading, Signal, What
from services.domain.rules.geofence import M_PER_DEGREE, check, distance_m, outside_m
from services.domain.rules.parameters import Edge, GeofenceParameters
from services.domain.rules.reasons import why
from tests.unit.test_rules_kinds import MIN, T0, S, Timeline

HOME = (29.7, 116.0)
CIRCLE = GeofenceParameters(Edge.EXIT, (HOME,), radius_m=1000, margin_m=50)
SQUARE = GeofenceParameters(Edge.ENTER, ((29.70, 116.0), (29.71, 116.0), (29.71, 116.01), (29.70, 116.01)), margin_m=20)
# an L: its inner corner at (29.71, 116.01) is reflex
BENT = (
    (29.70, 116.00),
    (29.72, 116.00),
    (29.72, 116.01),
    (29.71, 116.01),
    (29.71, 116.02),
    (29.70, 116.02),
)


def away(metres: float) -> dict[str, float]:
    """A position so far north of home."""
    return {"latitude": HOME[0] + metres / M_PER_DEGREE, "longitude": HOME[1]}


def facts(interval_ms: int = MIN) -> Facts:
    return Facts(interval_ms=interval_ms, latitude=HOME[0], longitude=HOME[1])


def walk(line: Timeline, *metres: float, start: int = T0, every: int = MIN) -> list[tuple[int, str]]:
    said = []
    for n, far in enumerate(metres):
        said += [(n, what) for what in line.values(start + n * every, away(far))]
    return said


def test_geofence_exit_fires_beyond_the_margin_and_clears_inside() -> None:
    line = Timeline(CIRCLE, facts())
    assert walk(line, 0, 999, 1049, 1051, 1500, 1049, 1001, 999, 1051) == [(3, "fire"), (7, "clear"), (8, "fire")]
    assert line.said[0].value is None and not line.said[0].data


def test_geofence_jitter_on_the_edge_says_nothing() -> None:
    line = Timeline(CIRCLE, facts())
    assert walk(line, 0, *(1000 + 40 * (-1) ** n for n in range(50))) == []


def test_geofence_first_position_sets_the_side_without_firing() -> None:
    outside = Timeline(CIRCLE, facts())
    assert walk(outside, 2000, 2100, 2000) == []
    assert walk(outside, 0, 2000, start=T0 + 3 * MIN) == [(1, "fire")]
    inside = Timeline(replace(CIRCLE, edge=Edge.ENTER), facts())
    assert walk(inside, 0, 10, 2000, 0) == [(3, "fire")]
    undecided = Timeline(CIRCLE, facts())
    assert walk(undecided, 1020) == []
    assert undecided.state is None
    assert walk(undecided, 1100, start=T0 + MIN) == []


def test_geofence_enter_counts_the_edge_itself_as_inside() -> None:
    line = Timeline(SQUARE, facts())
    line.read(T0, latitude=29.705, longitude=115.99)
    assert line.read(T0 + MIN, latitude=29.705, longitude=115.9999) == []
    assert line.read(T0 + 2 * MIN, latitude=29.705, longitude=116.0) == ["fire"]
    ten_m_out = 116.0 - 10 / (M_PER_DEGREE * cos(radians(29.705)))
    assert line.read(T0 + 3 * MIN, latitude=29.705, longitude=ten_m_out) == []
    assert line.read(T0 + 4 * MIN, latitude=29.705, longitude=115.99) == ["clear"]


def test_geofence_duration_is_met_at_exactly_its_length_and_a_return_ends_it() -> None:
    slow = replace(CIRCLE, for_s=300)
    line = Timeline(slow, facts())
    assert walk(line, 0, *([2000] * 7)) == [(6, "fire")]
    assert line.said[0].onset_ms == T0 + MIN
    line = Timeline(slow, facts())
    assert walk(line, 0, 2000, 2000, 2000, 0, 2000, 2000, 2000, 2000, 2000) == []
    line = Timeline(replace(slow, for_s=300.001), facts())
    assert walk(line, 0, *([2000] * 6)) == []


def test_geofence_dwell_counts_from_the_first_position_inside() -> None:
    dwell = GeofenceParameters(Edge.DWELL, (HOME,), radius_m=1000, for_s=300)
    line = Timeline(dwell, facts())
    assert walk(line, *([0] * 7), 2000) == [(5, "fire"), (7, "clear")]
    assert walk(line, *([0] * 6), start=T0 + 8 * MIN) == [(5, "fire")]


def test_geofence_hole_forgets_how_long_but_not_which_side() -> None:
    slow = replace(CIRCLE, for_s=300)
    line = Timeline(slow, facts())
    walk(line, 0, 2000, 2000)
    after = T0 + 2 * MIN + 3 * MIN + 1
    assert walk(line, *([2000] * 5), start=after) == []
    assert walk(line, 2000, start=after + 5 * MIN) == [(0, "fire")]
    assert line.said[0].onset_ms == after
    quick = Timeline(CIRCLE, facts())
    walk(quick, 0)
    assert walk(quick, 2000, start=T0 + 600 * MIN) == [(0, "fire")]


@pytest.mark.parametrize(
    "bad",
    [
        {"latitude": 0.0, "longitude": 0.0},
        {"latitude": 91.0, "longitude": 116.0},
        {"latitude": 29.7, "longitude": 181.0},
        {"latitude": nan, "longitude": 116.0},
        {"latitude": 29.7, "longitude": inf},
        {"latitude": 29.7},
        {"longitude": 116.0},
        {"heart_rate": 70.0},
    ],
)
def test_geofence_a_position_that_is_none_says_nothing(bad: dict[str, float]) -> None:
    line = Timeline(CIRCLE, facts())
    walk(line, 0)
    before = line.state
    assert line.values(T0 + MIN, bad) == []
    assert line.state == before
    walk(line, 2000, start=T0 + 2 * MIN)
    assert line.state is not None and "onset" in line.state
    assert line.values(T0 + 3 * MIN, bad) == []


def test_geofence_late_positions_page_nobody_and_end_nothing() -> None:
    line = Timeline(CIRCLE, facts())
    walk(line, 0)
    assert line.values(T0 + MIN, away(2000), late=True) == []
    walk(line, 2000, start=T0 + 2 * MIN)
    assert line.values(T0 + 3 * MIN, away(0), late=True) == []
    assert line.values(T0 + 3 * MIN, away(2000)) == []


def test_geofence_shorter_than_the_interval_is_run_out_by_the_clock() -> None:
    line = Timeline(replace(CIRCLE, for_s=60), facts(5 * MIN))
    walk(line, 0)
    line.values(T0 + 5 * MIN, away(2000), delay=2 * S)
    assert line.due == T0 + 6 * MIN + 2 * S
    assert line.tick(line.due - 1) == []
    assert line.tick(T0 + 6 * MIN + 2 * S) == ["fire"]
    away_long = Timeline(replace(CIRCLE, for_s=60), facts(5 * MIN))
    walk(away_long, 0, 2000, every=5 * MIN)
    assert away_long.tick(T0 + 5 * MIN + 15 * MIN + 1) == []
    assert walk(away_long, 2000, 2000, start=T0 + 30 * MIN) == [(1, "fire")]


def test_geofence_around_the_community_needs_no_area() -> None:
    line = Timeline(GeofenceParameters(Edge.EXIT, radius_m=1000), facts())
    assert walk(line, 0, 1500) == [(1, "fire")]


def test_geofence_at_rest_writes_nothing() -> None:
    rule = Timeline(CIRCLE, facts())
    walk(rule, 0)
    state = rule.state
    reading = rule.kind.step(CIRCLE, state, _position(T0 + MIN, away(5)), rule.facts, T0 + MIN)
    assert reading.state is state


def _position(ts: int, values: dict[str, float]) -> Reading:
    return Reading(DeviceNo(7), ts, ts, list(values.values()), {name: n for n, name in enumerate(values)})


def test_geofence_distance_is_that_of_the_great_circle() -> None:
    # Beijing to Shanghai, city centres: 1,067 km
    assert distance_m((39.9042, 116.4074), (31.2304, 121.4737)) == pytest.approx(1_067_300, rel=1e-3)
    assert distance_m(HOME, HOME) == 0
    assert distance_m((0, 0), (0, 180)) == pytest.approx(20_015_100, rel=1e-4)


def test_geofence_bent_polygon() -> None:
    area = GeofenceParameters(Edge.ENTER, BENT)

    def far(lat: float, lon: float) -> float:
        return outside_m(area, (lat, lon), facts())

    assert far(29.715, 116.005) == 0 and far(29.705, 116.015) == 0
    assert far(29.715, 116.015) == pytest.approx(0.005 * M_PER_DEGREE * cos(radians(29.715)), rel=1e-3)
    for corner in BENT:
        assert far(*corner) == 0
    assert far(29.71, 116.015) == 0 and far(29.70, 116.01) == 0
    assert far(29.69, 116.01) == pytest.approx(0.01 * M_PER_DEGREE, rel=1e-6)
    assert outside_m(GeofenceParameters(Edge.ENTER, tuple(reversed(BENT))), (29.705, 116.015), facts()) == 0


@given(st.floats(29.69, 29.73), st.floats(115.99, 116.03))
def test_geofence_polygon_and_its_parts_agree(lat: float, lon: float) -> None:
    """The L is two rectangles: inside means inside one of them."""
    first = 29.70 <= lat <= 29.72 and 116.00 <= lon <= 116.01
    second = 29.70 <= lat <= 29.71 and 116.00 <= lon <= 116.02
    far = outside_m(GeofenceParameters(Edge.ENTER, BENT), (lat, lon), facts())
    assert (far <= 0.01) if first or second else far >= 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"area": ((29.7, 116.0), (29.8, 116.0))},
        {"radius_m": 0.0},
        {"area": ((116.0, 29.7),), "radius_m": 10.0},
        {"margin_m": -1.0},
        {"for_s": -1.0},
    ],
)
def test_geofence_refuses_what_is_no_area(wrong: dict[str, float]) -> None:
    check(CIRCLE)
    check(SQUARE)
    with pytest.raises(ValueError, match=r"area|circle|corners|margin"):
        check(replace(CIRCLE, **wrong))  # type: ignore[arg-type]


def test_geofence_says_why_without_a_position() -> None:
    band = BY_NAME["wristband"]
    fired = Signal(What.FIRE, 0, 0)
    said = why(band, GeofenceParameters(Edge.EXIT, radius_m=1000, for_s=300), fired, 300, "1号楼101室")
    assert said.zh == "老人手环离开社区周边 1 公里已 5 分钟，1号楼101室"
    assert said.en == "Wristband left 1 km around the community for 5 min, 1号楼101室"
    assert why(band, replace(SQUARE, for_s=0), fired, 300, "").en == "Wristband entered the area"
    assert why(band, replace(SQUARE, edge=Edge.DWELL, for_s=60), fired, 300, "").zh == "老人手环停留在划定区域已 1 分钟"
    near = GeofenceParameters(Edge.ENTER, radius_m=200)
    assert why(band, near, fired, 300, "").en == "Wristband entered 200 m around the community"
