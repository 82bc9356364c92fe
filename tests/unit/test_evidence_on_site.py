"""Whether somebody is there: distances on the plan, vague positions, codes that are made up or from elsewhere."""

from __future__ import annotations

import math
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.evidence import (
    Box,
    Datum,
    Ground,
    Here,
    PlaceCode,
    Position,
    Reach,
    Signer,
    Site,
    Unproven,
    judge,
    on_plan,
    references,
)
from services.domain.evidence.place_codes import PREFIX
from services.domain.evidence.plan import M_PER_DEGREE, as_gcj02, as_wgs84

GROUND = Ground(29.7, 116.0, 600.0, 400.0)
REACH = Reach(radius_m=60.0, accuracy_m=100.0)
BUILDING = Box(100.0, 100.0, 40.0, 12.0)
AT_BUILDING = Site(GROUND, None, BUILDING, "b1")


def seen(site: Site, x: float, y: float, accuracy_m: float = 5.0, reach: Reach = REACH) -> Here | Unproven | None:
    return judge(site, "c", position=Position(accuracy_m, x=x, y=y), code=None, scanned=False, reach=reach)


def code(**more: object) -> PlaceCode:
    given_: dict[str, object] = {
        "id": "k", "community_id": "c", "building_id": "b1", "place": "1号楼", "x": 120.0, "y": 106.0, "revoked": False,
    }  # fmt: skip
    return PlaceCode(**(given_ | more))  # type: ignore[arg-type]


def scan(site: Site, found: PlaceCode | None, position: Position | None = None, reach: Reach = REACH) -> object:
    return judge(site, "c", position=position, code=found, scanned=True, reach=reach)


@pytest.mark.parametrize(
    ("x", "y", "accuracy_m", "distance"),
    [
        (110, 105, 5, 0.0),  # inside the building
        (100, 60, 5, 40.0),
        (100, 35, 5, 65.0),  # 65 m, but the position may be 5 m off
        (100, 34.9, 5, None),
        (100, 0, 50, 100.0),
        (100, 0, 39, None),
        (204, 106, 5, 64.0),
        (110, 105, 101, None),  # as vague as that, it proves nothing even in the middle
        (110, 105, math.inf, None),
        (110, 105, -1, None),
        (math.nan, 105, 5, None),
    ],
)
def test_position_is_near_enough_within_radius_and_its_own_error(
    x: float, y: float, accuracy_m: float, distance: float | None
) -> None:
    found = seen(AT_BUILDING, x, y, accuracy_m)
    if distance is None:
        assert isinstance(found, Unproven) and found.reason.zh and found.reason.en
    else:
        assert isinstance(found, Here)
        assert found.detail == {"by": "position", "distance_m": distance, "accuracy_m": accuracy_m}


def test_refusal_names_the_distance() -> None:
    found = seen(AT_BUILDING, 100, 2100)
    assert isinstance(found, Unproven)
    assert "2.0 公里" in found.reason.zh and "2.0 km" in found.reason.en
    near = seen(AT_BUILDING, 100, 312)
    assert isinstance(near, Unproven) and "200 米" in near.reason.zh


def test_order_without_a_place_asks_for_the_community_and_with_both_for_the_nearer() -> None:
    anywhere = Site(GROUND)
    assert isinstance(seen(anywhere, 599, 399), Here)
    assert isinstance(seen(anywhere, 700, 399), Unproven)
    both = Site(GROUND, (500.0, 300.0), BUILDING, "b1")
    assert isinstance(seen(both, 500, 300), Here) and isinstance(seen(both, 110, 105), Here)
    assert isinstance(seen(both, 300, 200), Unproven)


@given(st.floats(-2000, 2000), st.floats(-2000, 2000))
def test_degrees_and_plan_say_the_same(x: float, y: float) -> None:
    """Back from the plan, as the simulator places its devices."""
    latitude = GROUND.latitude - y / M_PER_DEGREE
    longitude = GROUND.longitude + x / (M_PER_DEGREE * math.cos(math.radians(GROUND.latitude)))
    for datum, point in (
        (Datum.WGS84, (latitude, longitude)),
        (Datum.GCJ02, as_gcj02(latitude, longitude)),
    ):
        back = on_plan(GROUND, *point, datum)
        assert back is not None
        assert math.hypot(back[0] - x, back[1] - y) < 0.01


def test_chinese_datums_lie_hundreds_of_metres_off_and_are_turned_back() -> None:
    """Known pair of the centre of Beijing: WGS-84 39.90960, 116.39723 is about GCJ-02 39.91100, 116.40347."""
    north, east = as_gcj02(39.90960, 116.39723)
    assert (north, east) == pytest.approx((39.91100, 116.40347), abs=2e-5)
    beside = on_plan(GROUND, *as_gcj02(29.7, 116.0))
    assert beside is not None and 100 < math.hypot(*beside) < 800
    assert as_wgs84(51.5, -0.12, Datum.GCJ02) == pytest.approx((51.5, -0.12))
    north, east = as_wgs84(39.91734, 116.40985, Datum.BD09)
    assert (north, east) == pytest.approx((39.90960, 116.39723), abs=1e-4)


@pytest.mark.parametrize("point", [(0.0, 0.0), (91.0, 0.0), (0.0, 181.0), (math.nan, 116.0), (math.inf, 1.0)])
def test_what_is_no_position_is_none(point: tuple[float, float]) -> None:
    assert on_plan(GROUND, *point) is None
    found = judge(AT_BUILDING, "c", position=Position(5, *point), code=None, scanned=False, reach=REACH)
    assert isinstance(found, Unproven)


def test_code_is_good_for_its_place_alone() -> None:
    assert isinstance(scan(AT_BUILDING, code()), Here)
    assert isinstance(scan(AT_BUILDING, None), Unproven)
    assert isinstance(scan(AT_BUILDING, code(community_id="d")), Unproven)
    revoked = scan(AT_BUILDING, code(revoked=True))
    assert isinstance(revoked, Unproven) and "作废" in revoked.reason.zh
    # The house next door, ten metres away, has a code of its own.
    assert isinstance(scan(AT_BUILDING, code(building_id="b2", x=150.0)), Unproven)
    # One at no building is good for what is near it.
    assert isinstance(scan(AT_BUILDING, code(building_id=None, x=150.0)), Here)
    assert isinstance(scan(AT_BUILDING, code(building_id=None, x=300.0)), Unproven)
    assert isinstance(scan(Site(GROUND, (150.0, 106.0)), code()), Here)


def test_code_and_position_must_both_hold_where_both_are_shown() -> None:
    far, near = Position(5, x=100, y=390), Position(5, x=110, y=105)
    both = scan(AT_BUILDING, code(), near)
    assert isinstance(both, Here) and both.detail["by"] == "code" and both.detail["position_m"] == 0.0
    assert isinstance(scan(AT_BUILDING, code(), far), Unproven)
    strict = Reach(60, 100, code_needs_position=True)
    assert isinstance(scan(AT_BUILDING, code(), None, strict), Unproven)
    assert isinstance(scan(AT_BUILDING, code(), near, strict), Here)


def test_nothing_shown_is_nothing_found() -> None:
    assert judge(AT_BUILDING, "c", position=None, code=None, scanned=False, reach=REACH) is None


def test_codes_are_read_back_and_nothing_else_is() -> None:
    signer, other = Signer("k" * 32), Signer("l" * 32)
    for _ in range(50):
        id = uuid4()
        made = signer.code(id)
        assert signer.read(made) == id == signer.read(f" {made.lower()}\n")
        assert other.read(made) is None
    assert len(made) == 55 and made == made.upper()


@given(st.integers(0, 54), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_no_code_with_one_letter_changed_is_taken(place: int, letter: str) -> None:
    signer, id = Signer("k" * 32), UUID(int=77)
    made = signer.code(id)
    changed = made[:place] + letter + made[place + 1 :]
    assert signer.read(changed) == (id if changed == made else None)


@given(st.text(max_size=80) | st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=48, max_size=48).map(PREFIX.__add__))
def test_made_up_codes_are_refused(text: str) -> None:
    assert Signer("k" * 32).read(text) is None


def test_references_are_names_that_a_device_gave_and_bounded() -> None:
    trigger = {"data": {"clip": "clip/a.mp4", "photo": 7, "picture": "", "video": "x" * 9000, "floor": "9"}}
    assert dict(references(trigger)) == {"clip": "clip/a.mp4", "video": "x" * 512}
    assert list(references({"data": ["clip"]})) == list(references({})) == []
