"""Reports by residents in the domain: categories as data, what is one trouble, words, ratings; how much is heard."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.orders.class_files import load_defaults
from services.adapters.reports.files import DEFAULTS, family_of, load_categories, read_text
from services.adapters.reports.opening import KIND
from services.api.reports.shared import masked_name, masked_phone
from services.api.web.limits import Buckets, Rate, ReportLimit, network_of
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import (
    Draft,
    Entry,
    Move,
    Order,
    OrderState,
    Rung,
    Source,
    created,
    fold,
    plain_terms,
    with_filing,
)
from services.domain.orders.clocks import attention_at
from services.domain.reports import (
    Category,
    CategorySort,
    Filing,
    Photo,
    Spot,
    Standing,
    Step,
    Within,
    find,
    progress,
    same,
)
from services.domain.reports import rating as ratings
from services.domain.reports.words import WORDS, said, step_of
from services.domain.vocabulary import Label, Severity, Team

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def category(**more: object) -> Category:
    base = {
        "id": "x", "sort": CategorySort.REPAIR, "title": Label("某", "x"), "team": Team.MAINTENANCE,
        "severity": Severity.MINOR, "filing": Filing.AT_ONCE, "window_s": 7200.0, "radius_m": 20.0,
    }  # fmt: skip
    return Category(**{**base, **more})  # type: ignore[arg-type]


# -- categories ----------------------------------------------------------------------------------------------------


def test_categories_hold_what_the_field_reports_and_critical_ones_say_what_to_do() -> None:
    known = load_categories()
    assert len(known) >= 25
    assert {one.sort for one in known.values()} == set(CategorySort)
    grave = {one.id for one in known.values() if one.severity is Severity.CRITICAL}
    assert grave == {"lift_trapped", "gas_smell", "smoke_fire"}
    for name in grave:
        one = known[name]
        assert one.filing is Filing.AT_ONCE and one.photo is Photo.NONE and one.safety is not None
    assert "119" in known["smoke_fire"].safety.zh and "离开" in known["gas_smell"].safety.zh  # type: ignore[union-attr]
    assert all(one.title.zh and one.title.en for one in known.values())
    assert set(family_of(known["lift_fault"])) == {"lift_fault", "lift_trapped"}


_CLASSES = {
    Severity.CRITICAL: "emergency",
    Severity.MAJOR: "report_urgent",
    Severity.MINOR: "report",
    Severity.INFO: "report",
}


@pytest.mark.parametrize("known", load_categories().values(), ids=lambda one: one.id)
def test_category_falls_into_a_class_whose_clocks_fit_it(known: Category) -> None:
    draft = Draft(
        OrderId(UUID(int=1)), CommunityId("c"), Source.RESIDENT, KIND, known.severity, known.title,
        known.team, "r@1", category=known.id,
    )  # fmt: skip
    terms = load_defaults().terms(draft, 0, "Asia/Shanghai")
    assert terms.class_id == _CLASSES[known.severity]
    assert {"accept", "arrive", "resolve", "verify"} <= set(terms.clocks), "every step has its time"
    longest = {Severity.CRITICAL: 60, Severity.MAJOR: 600}.get(known.severity, 1800)
    assert terms.clocks["accept"].due_s <= longest
    assert (not terms.spans) == (known.severity.rank >= Severity.MAJOR.rank), "the grave run around the clock"
    if known.filing is Filing.DESK:
        file = with_filing(terms).clocks["file"]
        assert file == terms.clocks["file"], "the class says itself how long the desk has"
        assert 0 < file.due_s <= 1800 and [step.rung for step in file.steps] == [Rung.DESK, Rung.STREET]
        order = fold([created(replace(draft, terms=terms), NOW, "system", "system")])
        assert attention_at(order) is not None, "nothing waits for ever"


GOOD = """categories:
  - id: a
    sort: repair
    title: {zh: 甲, en: a}
    team: patrol
    severity: minor
    filing: at_once
    window: 2h
"""


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("severity: minor", "severity: critical"), 2, "safety"),
        (("filing: at_once", "filing: desk\n    severity2: x"), 8, "severity2"),
        (("team: patrol", "team: street"), 5, "到现场"),
        (("id: a", "id: A b"), 2, "小写"),
        (("window: 2h", "window: soon"), 8, "时长"),
        (("window: 2h", "window: 2h\n    radius_m: 5000"), 9, "半径"),
        (("window: 2h", "window: 2h\n    kinds: [wristband]"), 9, "个人或家庭"),
        (("window: 2h", "window: 2h\n    kinds: [gas_alrm]"), 9, "gas_alarm"),
        (("    window: 2h\n", ""), 2, "window"),
        (("categories:", "other: 1\ncategories:"), 1, "other"),
    ],
)
def test_categories_name_the_line_of_every_fault(change: tuple[str, str], line: int, words: str) -> None:
    assert read_text(GOOD).findings == ()
    found = read_text(GOOD.replace(*change))
    assert found.categories == ()
    assert any(one.line == line and words in one.words.zh for one in found.findings), found.findings


def test_categories_cannot_share_an_id_nor_be_nothing() -> None:
    twice = GOOD + GOOD.removeprefix("categories:\n")
    assert [one.line for one in read_text(twice).findings] == [9]
    for text in ("", "categories: []", "- a", "categories: 5", "a: *b"):
        assert read_text(text).findings
    assert read_text(DEFAULTS.read_text(encoding="utf-8")).findings == ()


# -- duplicates ----------------------------------------------------------------------------------------------------

rooms = st.sampled_from([None, "1", "2"])
metres = st.floats(-100, 100)
spots = st.builds(
    lambda minutes, building, unit, household, pin: Spot(
        NOW + timedelta(minutes=minutes), building, unit, household, *(pin or (None, None))
    ),
    st.integers(-240, 240), rooms, rooms, rooms, st.none() | st.tuples(metres, metres),
)  # fmt: skip
kinds = st.builds(
    lambda radius, window, within: category(radius_m=radius, window_s=window, within=within),
    st.sampled_from([0.0, 5.0, 30.0, 120.0]), st.sampled_from([600.0, 7200.0, 36000.0]), st.sampled_from(Within),
)  # fmt: skip


@given(kinds, spots, spots)
def test_same_is_the_same_either_way_and_never_too_far_or_too_long_ago(kind: Category, one: Spot, other: Spot) -> None:
    alike = same(kind, one, other)
    assert alike == same(kind, other, one)
    if abs((one.at - other.at).total_seconds()) > kind.window_s:
        assert not alike
    levels = {Within.NOTHING: 0, Within.BUILDING: 1, Within.UNIT: 2, Within.HOUSEHOLD: 3}[kind.within]
    pairs = [
        (one.building_id, other.building_id), (one.unit_id, other.unit_id), (one.household_id, other.household_id),
    ][:levels]  # fmt: skip
    if any(a is not None and b is not None and a != b for a, b in pairs):
        assert not alike
    pinned = one.x is not None and other.x is not None
    near = pinned and math.dist((one.x, one.y), (other.x, other.y)) <= kind.radius_m  # type: ignore[arg-type]
    room = bool(pairs) and pairs[-1][0] is not None and pairs[-1][0] == pairs[-1][1]
    if alike:
        assert near or room


@given(kinds, spots, st.lists(spots, max_size=8))
def test_find_takes_the_nearest_that_fits_or_nothing(kind: Category, spot: Spot, others: list[Spot]) -> None:
    standing = [Standing(uuid4(), other) for other in others]
    fits = {one.order_id: one.spot for one in standing if same(kind, spot, one.spot)}
    found = find(kind, spot, standing)
    assert (found is None) == (not fits)
    if found is not None:
        far = {
            id: 0.0 if other.x is None or spot.x is None else math.dist((spot.x, spot.y), (other.x, other.y))  # type: ignore[arg-type]
            for id, other in fits.items()
        }
        assert far[found] == min(far.values())
    assert find(kind, spot, list(reversed(standing))) == found


def test_same_without_pins_or_rooms_is_never_said() -> None:
    nowhere = Spot(NOW)
    assert not same(category(radius_m=2000.0), nowhere, nowhere)
    assert same(category(), Spot(NOW, x=0, y=0), Spot(NOW, x=20, y=0))
    assert not same(category(), Spot(NOW, x=0, y=0), Spot(NOW, x=20.1, y=0))
    flat = category(within=Within.HOUSEHOLD)
    assert not same(flat, Spot(NOW, "1", "1", "1", 0, 0), Spot(NOW, "1", "1", "2", 0, 0)), "two flats, two leaks"


# -- words ---------------------------------------------------------------------------------------------------------


def history(*moves: tuple[Move, OrderState, str | None], source: Source = Source.RESIDENT) -> list[Entry]:
    draft = Draft(
        OrderId(UUID(int=1)), CommunityId("c"), source, "resident_report", Severity.MINOR, Label("甲", "a"),
        Team.CLEANING, "r", terms=plain_terms(Severity.MINOR),
    )  # fmt: skip
    entries = [created(draft, NOW, "system", "system")]
    for number, (move, state, reason) in enumerate(moves, 2):
        before = entries[-1].to_state
        entries.append(Entry(number, move, before, state, NOW + number * HOUR, "user-7", "desk", reason))
    return entries


S = OrderState
DONE = (
    (Move.DISPATCH, S.DISPATCHED, None), (Move.ACCEPT, S.ACCEPTED, None), (Move.ARRIVE, S.ARRIVED, None),
    (Move.RESOLVE, S.RESOLVED, "秘密"),
)  # fmt: skip


def order_after(*moves: tuple[Move, OrderState, str | None], source: Source = Source.RESIDENT) -> Order:
    return fold(history(*moves, source=source))


def test_words_tell_steps_and_no_names_and_a_reason_only_where_it_is_meant_for_them() -> None:
    entries = history(*DONE)
    lines = progress(fold(entries), entries, NOW, joined=False)
    assert [line.step for line in lines] == [
        Step.RECEIVED, Step.DISPATCHED, Step.ACCEPTED, Step.ARRIVED, Step.RESOLVED,
    ]  # fmt: skip
    assert "user-7" not in str(lines) and "秘密" not in str(lines)
    refused = history((Move.CANCEL, S.CANCELLED, "不属本社区"))
    assert progress(fold(refused), refused, NOW, joined=False)[-1].reason == "不属本社区"
    alerts = history((Move.CANCEL, S.CANCELLED, "内情"), source=Source.ALERT)
    assert progress(fold(alerts), alerts, NOW, joined=True)[-1].reason is None


def test_words_exist_for_every_step_and_every_move_is_decided() -> None:
    assert set(WORDS) == set(Step)
    assert step_of(Move.CANCEL, filed=False) is Step.REFUSED and step_of(Move.CANCEL, filed=True) is Step.CANCELLED
    silent = {move for move in Move if step_of(move, filed=True) is None}
    assert silent == {
        Move.RETURN, Move.TRANSFER, Move.ESCALATE, Move.REPEAT, Move.ASSIGN, Move.WARN, Move.BREACH, Move.EVIDENCE,
        Move.NOTE, Move.CALL_BACK, Move.RATE,
    }  # fmt: skip
    assert said(Step.REFUSED, 7, "太远").zh == "您的上报 7：不予立案。原因：太远"


# -- ratings -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_rating_of_an_order_is_the_mean_with_a_half_counted_down(given_ratings: list[int]) -> None:
    from fractions import Fraction

    mean = Fraction(sum(given_ratings), len(given_ratings))
    found = ratings.order_rating(given_ratings)
    assert found is not None and min(given_ratings) <= found <= max(given_ratings)
    assert Fraction(-1, 2) < mean - found <= Fraction(1, 2)
    assert ratings.order_rating([]) is None


def test_rating_waits_for_the_work_and_can_be_changed_for_a_week() -> None:
    order = order_after(*DONE)
    done_at = order.resolved_at
    assert done_at is not None
    nothing = ratings.Said()
    assert ratings.refuses_rating(order_after(*DONE[:2]), nothing, NOW) is not None
    assert ratings.refuses_rating(order, nothing, done_at) is None
    assert ratings.refuses_rating(order, nothing, done_at + timedelta(days=30, seconds=1)) is not None
    once = ratings.Said(3, done_at + HOUR)
    assert ratings.refuses_rating(order, once, done_at + HOUR + timedelta(days=7)) is None
    assert ratings.refuses_rating(order, once, done_at + HOUR + timedelta(days=7, seconds=1)) is not None
    before = ratings.Said(1, done_at - timedelta(days=20))
    assert ratings.refuses_rating(order, before, done_at + timedelta(days=9)) is None, "it was done again since"


def test_rework_happens_once_a_report_within_a_week_and_never_for_what_a_sensor_opened() -> None:
    order = order_after(*DONE)
    assert order.resolved_at is not None
    week = order.resolved_at + timedelta(days=7)
    assert ratings.reworks(order, ratings.Said(), week)
    assert not ratings.reworks(order, ratings.Said(), week + timedelta(seconds=1))
    assert not ratings.reworks(order, ratings.Said(reworked=True), week)
    assert not ratings.reworks(order_after(*DONE, source=Source.ALERT), ratings.Said(), week)
    assert [ratings.unsatisfied(n, None) for n in (1, 2, 3)] == [True, True, False]
    assert ratings.unsatisfied(5, False) and not ratings.unsatisfied(1, True)


def test_urge_by_a_resident_waits_until_it_is_late_and_comes_once_a_day() -> None:
    order = order_after(*DONE[:1])
    assert order.accept_due is not None
    late = order.accept_due + HOUR
    assert ratings.refuses_urge(order, None, order.accept_due - HOUR / 60) is not None
    assert ratings.refuses_urge(order, None, late) is None
    assert ratings.refuses_urge(order, late - timedelta(hours=23), late) is not None
    assert ratings.refuses_urge(order, late - timedelta(hours=24), late) is None


# -- how much is heard ---------------------------------------------------------------------------------------------


@given(st.integers(1, 20), st.floats(0.5, 500), st.lists(st.floats(0, 900), min_size=1, max_size=80))
def test_bucket_never_gives_more_than_its_burst_and_its_rate(burst: int, per_hour: float, pauses: list[float]) -> None:
    buckets, now, taken = Buckets(Rate(burst, per_hour)), 0.0, 0
    for pause in pauses:
        now += pause
        wait_s = buckets.wait_s("a", now)
        if wait_s == 0:
            buckets.take("a", now)
            taken += 1
        else:
            assert buckets.wait_s("a", now + wait_s + 1e-3) == 0, "what Retry-After promises is kept"
        assert taken <= burst + now * per_hour / 3600 + 1e-6
    assert buckets.wait_s("b", now) == 0


def test_limit_keeps_the_grave_apart_and_refuses_without_taking() -> None:
    limit = ReportLimit(Rate(2, 2), Rate(2, 2), Rate(3, 3))

    def ask(address: str, *, grave: bool = False, account: str | None = None, community: str = "c") -> bool:
        return limit.admit(account=account, address=address, community=community, grave=grave, now=0.0) == 0

    assert [ask("1.1.1.1") for _ in range(4)] == [True, True, False, False]
    assert [ask("1.1.1.2") for _ in range(2)] == [True, False]
    assert ask("1.1.1.1", grave=True) and ask("9.9.9.9", account="u") and ask("1.1.1.3", community="d")
    assert limit.wait_s(account=None, address="1.1.1.1", community="c", now=0.0) == 0, "a fire would be heard"
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2::9") != network_of("2001:db8:1:3::9")
    assert network_of("::ffff:10.0.0.1") == "10.0.0.1" and network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("?") == "?"


@given(st.text("0123456789+- ", max_size=32))
def test_masked_phone_shows_seven_digits_at_most(phone: str) -> None:
    masked = masked_phone(phone)
    assert masked is not None and sum(character.isdigit() for character in masked) in (0, 7)
    assert masked_phone(None) is None and masked_name("王秀英") == "王**" and masked_name(None) is None
