"""Rule kinds against brute force: an oracle with the whole history before it applies the definition, and the fold,
which remembers next to nothing, must agree on every fire and every clear.

Readings come at irregular times, with holes, doubles, others that were overtaken, some too late, some without the
metric; values lie about the limits. All in whole seconds, so that edges are hit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from services.domain.rules.evaluation import Event, Facts, Item, Reading, Status, past
from services.domain.rules.parameters import (
    Aggregate,
    Compare,
    ConsumptionParameters,
    NOfMParameters,
    Parameters,
    RateParameters,
    SequenceParameters,
    SilenceParameters,
    ThresholdParameters,
    WindowParameters,
)
from tests.unit.rules_support import NO, T0, Fold, Said, event, offline, online, read, spoken

INTERVAL = 60
GAP = 3 * INTERVAL
LATE = 600
FEW = settings(max_examples=120, deadline=None, derandomize=True, database=None)
LEAST, MOST = Compare.AT_LEAST, Compare.AT_MOST
COMPARES = st.sampled_from([LEAST, MOST])


@dataclass(frozen=True)
class Seen:
    """A reading of the history as the definitions see it: in order, each moment once."""

    t: float
    v: float | None
    late: bool


@st.composite
def histories(draw: st.DrawFn, values: st.SearchStrategy[float], most: int = 40, least_s: int = 1) -> list[Item]:
    """Readings in the order in which they came in, `least_s` or more apart."""
    items: list[Item] = []
    now = 0
    for _ in range(draw(st.integers(1, most))):
        step = draw(st.sampled_from([least_s, 30, 60, 60, 60, 60, 60, 61, 90, 180, 181, 400]))
        now += step
        value = draw(values)
        sort = draw(st.integers(0, 19))
        if sort == 0:
            items.append(read(now, w=1.0))
        elif sort == 1:
            items.append(read(now, value, delay=LATE + draw(st.integers(0, 2))))
        elif sort == 2:
            items += [read(now, value)] * 2
        elif sort == 3:
            items += [read(now, value), read(now - draw(st.sampled_from([1, 59, 60, 200])), draw(values))]
        else:
            items.append(read(now, value))
    return items


def seen(items: Sequence[Item]) -> list[Seen]:
    """The history without what was overtaken or told twice. Of two of one moment the first counts."""
    found: list[Seen] = []
    for item in items:
        assert isinstance(item, Reading)
        t = (item.ts_ms - T0) / 1000
        if not found or t > found[-1].t:
            found.append(Seen(t, item.value("v"), item.received_ms - item.ts_ms > LATE * 1000))
    return found


def told(rule: Parameters, items: Sequence[Item], until_s: float = 0.0) -> Said:
    """What the fold says, fires and clears alone. It must remember little, and the same after restarts."""
    plain = Fold(rule, Facts(interval_ms=INTERVAL * 1000))
    restarted = Fold(rule, Facts(interval_ms=INTERVAL * 1000), restarts=True)
    plain.run(items, until_s)
    assert restarted.run(items, until_s) == plain.said
    assert plain.largest < 5000
    onsets = [signal.onset_ms for signal in plain.said if signal.what == "fire"]
    assert len(set(onsets)) == len(onsets)
    return [(t, what) for t, what in spoken(plain.said) if what in ("fire", "clear")]


def decided(history: Sequence[Seen], holds: Callable[[int], bool | None], over: Callable[[int], bool | None]) -> Said:
    """Fires where it holds, clears where it is over, both only on readings that came in time."""
    said: Said = []
    firing = False
    for at, one in enumerate(history):
        if one.late or one.v is None:
            continue
        if not firing and holds(at):
            said.append((one.t, "fire"))
            firing = True
        elif firing and over(at):
            said.append((one.t, "clear"))
            firing = False
    return said


def run_since(history: Sequence[Seen], at: int) -> int:
    """The first reading of the stretch without a hole that ends at `at`."""
    start = at
    while start > 0 and history[start].t - history[start - 1].t <= GAP:
        start -= 1
    return start


def carrying(history: Sequence[Seen]) -> list[Seen]:
    return [one for one in history if one.v is not None]


VALUES = st.sampled_from([0.0, 4.0, 5.0, 9.0, 10.0, 11.0, 20.0])


@seed(40)
@FEW
@given(histories(VALUES), COMPARES, st.sampled_from([0, 60, 61, 300]), st.sampled_from([0, 120]))
def test_oracle_threshold_with_for(items: list[Item], compare: Compare, for_s: int, clear_for_s: int) -> None:
    back = 5.0 if compare is LEAST else 20.0
    rule = ThresholdParameters("v", compare, 10, for_s=for_s, clear_limit=back, clear_for_s=clear_for_s)
    other = MOST if compare is LEAST else LEAST
    history = carrying(seen(items))

    def lasted(at: int, since: int, length: float, true: Callable[[float], bool]) -> bool:
        """True from some reading after `since` to `at`, without a hole or anything unknown, for that long."""
        start = at
        while (
            start > since + 1
            and true(history[start - 1].v or 0.0)
            and history[start].t - history[start - 1].t <= GAP
            and not history[start - 1].late
        ):
            start -= 1
        return true(history[at].v or 0.0) and history[at].t - history[start].t >= length

    said: Said = []
    firing, since = False, -1
    for at, one in enumerate(history):
        if one.late:
            continue
        if not firing and lasted(at, since, for_s, lambda v: past(compare, v, 10)):
            said.append((one.t, "fire"))
            firing, since = True, at
        elif firing and lasted_back(history, at, since, clear_for_s, lambda v: past(other, v, back)):
            said.append((one.t, "clear"))
            firing, since = False, at
    assert told(rule, items) == said


def lasted_back(history: Sequence[Seen], at: int, since: int, length: float, over: Callable[[float], bool]) -> bool:
    """As `lasted`, save that a late reading in between says nothing and breaks nothing but the hole it leaves."""
    fresh = [one for place, one in enumerate(history[: at + 1]) if place > since and not one.late]
    start = len(fresh) - 1
    if not over(fresh[start].v or 0.0):
        return False
    while start > 0 and over(fresh[start - 1].v or 0.0) and fresh[start].t - fresh[start - 1].t <= GAP:
        start -= 1
    return fresh[-1].t - fresh[start].t >= length


@seed(41)
@FEW
@given(histories(st.integers(0, 9).map(float)), COMPARES, st.sampled_from([60, 61, 300]), st.sampled_from([0, 60, 120]))
def test_oracle_rate(items: list[Item], compare: Compare, within_s: int, clear_for_s: int) -> None:
    limit = 6.0 if compare is LEAST else -6.0
    history = carrying(seen(items))

    def changed(at: int) -> bool | None:
        """True: there is such a change; False: the whole window was observed and there is none."""
        start = run_since(history, at)
        now = history[at]
        window = [one for one in history[start:at] if one.t >= now.t - within_s]
        if any(past(compare, (now.v or 0.0) - (one.v or 0.0), limit) for one in window):
            return True
        return False if history[start].t <= now.t - within_s else None

    said: Said = []
    back: float | None = None
    firing = False
    for at, one in enumerate(history):
        change, hole = changed(at), at > 0 and one.t - history[at - 1].t > GAP
        back = None if hole or change else back
        if one.late:
            continue
        if change and not firing:
            said.append((one.t, "fire"))
            firing = True
        elif change is None:
            back = None
        elif firing and change is False:
            back = one.t if back is None else back
            if one.t - back >= clear_for_s:
                said.append((one.t, "clear"))
                firing, back = False, None
    assert told(RateParameters("v", compare, limit, within_s, clear_for_s), items) == said


def aggregate(sort: Aggregate, history: Sequence[Seen], at: int, window_s: int) -> float:
    now = history[at].t
    inside = [one.v or 0.0 for one in history[: at + 1] if now - window_s < one.t]
    match sort:
        case Aggregate.SUM:
            return sum(inside)
        case Aggregate.COUNT:
            return len(inside)
        case Aggregate.MIN:
            return min(inside)
        case Aggregate.MAX:
            return max(inside)
        case Aggregate.RANGE:
            return max(inside) - min(inside)
        case Aggregate.MEAN:
            area = 0.0
            for before, after in itertools.pairwise(history[: at + 1]):
                area += (before.v or 0.0) * max(0.0, after.t - max(before.t, now - window_s))
            return area / window_s


@seed(42)
@FEW
@given(
    histories(st.sampled_from([0.0, 2.0, 8.0, 10.0, 12.0]), most=40),
    st.sampled_from(list(Aggregate)),
    COMPARES,
    st.sampled_from([60, 300, 480]),
    st.sampled_from([None, 2.0]),
    st.sampled_from([2.0, 6.0, 8.0, 10.0]),
)
def test_oracle_window(
    items: list[Item], sort: Aggregate, compare: Compare, window_s: int, apart: float | None, limit: float
) -> None:
    """So many readings fit whole into what is remembered: there the fold is exact."""
    clear_limit = None if apart is None else limit - apart if compare is LEAST else limit + apart
    history = carrying(seen(items))
    other = MOST if compare is LEAST else LEAST

    def whole(at: int) -> bool:
        return history[run_since(history, at)].t <= history[at].t - window_s

    def holds(at: int) -> bool | None:
        return past(compare, aggregate(sort, history, at, window_s), limit) if whole(at) else None

    def over(at: int) -> bool | None:
        if not whole(at):
            return None
        value = aggregate(sort, history, at, window_s)
        return not past(compare, value, limit) if clear_limit is None else past(other, value, clear_limit)

    rule = WindowParameters("v", sort, window_s, compare, limit, clear_limit)
    assert told(rule, items) == decided(history, holds, over)


@seed(43)
@settings(FEW, max_examples=30)
@given(
    st.lists(st.sampled_from([0.0, 2.0, 8.0, 10.0, 12.0]), min_size=150, max_size=260),
    st.sampled_from(list(Aggregate)),
    COMPARES,
)
def test_oracle_window_of_many_readings_is_never_wrong(values: list[float], sort: Aggregate, compare: Compare) -> None:
    """More readings than are remembered: it may say something later, or nothing, but never what is not so."""
    items: list[Item] = [read(10 * place, value) for place, value in enumerate(values)]
    limit = {Aggregate.SUM: 780.0, Aggregate.COUNT: 119.0, Aggregate.MEAN: 6.5, Aggregate.MIN: 0.0}.get(sort, 12.0)
    history = seen(items)
    said = told(WindowParameters("v", sort, 1200, compare, limit), items)
    for t, what in said:
        met = past(compare, aggregate(sort, history, round(t / 10), 1200), limit)
        assert met is (what == "fire"), (t, what)
    margin = 0.12 * abs(limit)
    for at in range(120, len(values)):
        firing = sum(1 if what == "fire" else -1 for t, what in said if t <= 10 * at) > 0
        value = aggregate(sort, history, at, 1200)
        if sort in (Aggregate.SUM, Aggregate.MEAN) and abs(value - limit) > margin:
            assert firing is past(compare, value, limit), (at, value)


def _walks(least: int) -> st.SearchStrategy[list[int]]:
    """Steps of a random walk without a drift, and of two that climb or fall, so that nearly all of it matters."""
    step = st.integers(-30, 30) if least == 30 else st.integers(-1, 3) if least == 3 else st.integers(-3, 1)
    return st.lists(step, min_size=200, max_size=260)


@seed(44)
@settings(FEW, max_examples=24)
@given(st.sampled_from([30, 3, 1]).flatmap(_walks), COMPARES)
def test_oracle_rate_of_many_readings_is_never_wrong(steps: list[int], compare: Compare) -> None:
    """More readings than are remembered: a change is found over 30/31 of the window at the least, over all at most."""
    values = [float(sum(steps[: place + 1])) for place in range(len(steps))]
    limit = 120.0 if compare is LEAST else -120.0
    said = told(
        RateParameters("v", compare, limit, 1000), [read(5 * place, value) for place, value in enumerate(values)]
    )
    fired = {t for t, what in said if what == "fire"}

    def changed(at: int, within: float) -> bool:
        return any(
            past(compare, values[at] - values[other], limit) for other in range(at) if 5 * (at - other) <= within
        )

    firing = False
    for at in range(len(values)):
        if 5 * at in fired:
            assert changed(at, 1000)
        firing = 5 * at in fired or (firing and (5 * at, "clear") not in said)
        assert firing or not changed(at, 1000 * 30 / 31)


@seed(45)
@FEW
@given(
    st.lists(
        st.tuples(st.sampled_from([60, 60, 60, 180, 181]), st.sampled_from(["with", "without", "without", "late"])),
        max_size=40,
    ),
    st.sampled_from([120, 300]),
)
def test_oracle_silence(points: list[tuple[int, str]], for_s: int) -> None:
    items: list[Item] = []
    now = 0
    for step, sort in points:
        now += step
        lacking = read(now, w=1.0, delay=LATE + 1 if sort == "late" else 0)
        items.append(read(now, 1) if sort == "with" else lacking)
    history = seen(items) if items else []

    def silent(at: int) -> bool:
        start = at
        while start > 0 and history[start - 1].v is None and history[start].t - history[start - 1].t <= GAP:
            start -= 1
        return history[at].v is None and history[at].t - history[start].t >= for_s

    said: Said = []
    firing = False
    for at, one in enumerate(history):
        if one.late:
            continue
        if firing and one.v is not None:
            said.append((one.t, "clear"))
            firing = False
        elif not firing and silent(at):
            said.append((one.t, "fire"))
            firing = True
    assert told(SilenceParameters("v", for_s), items) == said


@seed(46)
@FEW
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 20, 60, 61, 100]),
            st.sampled_from(["A", "A", "B", "off", "on"]),
            st.sampled_from([0, 0, 0, 30, 700]),
        ),
        max_size=25,
    )
)
def test_oracle_sequence(points: list[tuple[int, str, int]]) -> None:
    """Second by second, with everything that was said so far before it."""
    items: list[Item] = []
    now = 0
    for step, sort, delay in points:
        now += step
        if sort in ("A", "B"):
            items.append(event(now - delay, sort, delay=delay))
        else:
            items.append(offline(now) if sort == "off" else online(now))
    end = now + 400
    said = [what for _, what in told(SequenceParameters("A", "B", 60), items, end)]
    fires = _sequence_by_hand(items, end)
    assert said == fires


def _sequence_by_hand(items: Sequence[Item], end: int) -> list[str]:
    """An A stands open from when it came in until a B of its own time or after it came in. Whoever has been open and
    online for a minute and a millisecond fires; that is over with the first B that answers it."""
    said: list[str] = []
    firing: int | None = None
    recheck = 0.0
    times = sorted({(item.received_ms - T0) / 1000 for item in items})
    is_online, online_since = True, 0.0
    asked: list[tuple[int, float]] = []
    answered = 0
    moments = iter([*times, float(end)])
    last = 0.0
    for moment in moments:
        # what runs out before the next thing is heard
        while firing is None and asked:
            due = max(max(min(r for _, r in asked), online_since) + 60.001, recheck)
            if due > moment:
                break
            last = due
            if not is_online:
                recheck = due + 60
                continue
            firing = min(asked, key=lambda one: (one[1], one[0]))[0]
            said.append("fire")
        for item in items:
            if (item.received_ms - T0) / 1000 != moment:
                continue
            if isinstance(item, Status):
                if item.online and not is_online:
                    online_since = moment
                is_online = item.online
                continue
            assert isinstance(item, Event)
            if item.event == "B":
                answered = max(answered, item.ts_ms)
                asked = [one for one in asked if one[0] > item.ts_ms]
                if firing is not None and item.ts_ms >= firing:
                    said.append("clear")
                    firing = None
            elif item.received_ms - item.ts_ms <= LATE * 1000 and item.ts_ms not in {
                answered,
                *(ts for ts, _ in asked),
            }:
                asked += [(item.ts_ms, moment)] if item.ts_ms > answered else []
            if not asked:
                recheck = 0.0
    assert last <= end
    return said


@seed(47)
@FEW
@given(histories(VALUES), st.sampled_from([(1, 1), (2, 3), (3, 3), (3, 5)]))
def test_oracle_n_of_m(items: list[Item], counts: tuple[int, int]) -> None:
    n, m = counts
    history = [one for one in carrying(seen(items)) if not one.late]

    def recent(at: int) -> list[bool]:
        start = max(run_since(history, at), at - m + 1)
        return [(one.v or 0.0) >= 10 for one in history[start : at + 1]]

    def over(at: int) -> bool:
        said = recent(at)
        return sum(said) + (m - len(said)) < n

    expected = decided(history, lambda at: sum(recent(at)) >= n, over)
    assert told(NOfMParameters("v", LEAST, 10, n=n, m=m), items) == expected


@seed(48)
@FEW
@given(histories(st.sampled_from([0.0, 0.0, 0.0, 1.0, 4.0]), least_s=5), COMPARES, st.sampled_from([300, 480]))
def test_oracle_consumption(items: list[Item], compare: Compare, window_s: int) -> None:
    """A counter that only grows; the values drawn are what went through. No two readings are closer than a 96th of the
    window, the finest that is remembered of it."""
    counter, grown = 0.0, {}
    for item in sorted((item for item in items if isinstance(item, Reading)), key=lambda item: item.ts_ms):
        if item.ts_ms not in grown:
            counter += item.value("v") or 0.0
            grown[item.ts_ms] = counter
    counted: list[Item] = [
        Reading(NO, i.ts_ms, i.received_ms, [grown[i.ts_ms]], {"v": 0}) if i.value("v") is not None else i
        for i in items
        if isinstance(i, Reading)
    ]
    history = carrying(seen(counted))

    def used(at: int) -> tuple[float, float] | None:
        """Between which figures the use of the window lies: since the readings on either side of its edge."""
        start, now = run_since(history, at), history[at]
        edge = now.t - window_s
        if history[start].t > edge:
            return None
        before = max(place for place in range(start, at + 1) if history[place].t <= edge)
        after = min(place for place in range(start, at + 1) if history[place].t >= edge)
        return (now.v or 0.0) - (history[after].v or 0.0), (now.v or 0.0) - (history[before].v or 0.0)

    def holds(at: int) -> bool | None:
        amounts = used(at)
        return None if amounts is None else all(past(compare, amount, 5) for amount in amounts)

    def over(at: int) -> bool | None:
        amounts = used(at)
        return None if amounts is None else not any(past(compare, amount, 5) for amount in amounts)

    assert told(ConsumptionParameters("v", window_s, compare, 5), counted) == decided(history, holds, over)


@pytest.mark.parametrize("bad", [(LEAST, 0.0), (LEAST, -1.0), (MOST, 1.0)])
def test_rate_that_contradicts_itself_is_refused(bad: tuple[Compare, float]) -> None:
    with pytest.raises(ValueError, match="limit"):
        RateParameters("v", *bad, 60)
