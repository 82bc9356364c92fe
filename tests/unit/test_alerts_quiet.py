"""Taking quiet readings by the row decides, remembers and counts what taking them one by one does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.adapters.rules import load_defaults
from services.domain.devices import BY_NAME, CATALOGUE
from services.domain.engine.core import Engine
from services.domain.engine.entries import LogRow, items_of
from services.domain.engine.quiet import Quiet, apply_readings
from services.domain.engine.subjects import Roster, Seen
from services.domain.ids import DeviceNo
from services.domain.rules.evaluation import Event, Reading, Status
from tests.unit.test_alerts_core import GATEWAY, MIN, T0, S, device, roster

FIRST = 100
KINDS = [kind.name for kind in CATALOGUE]
STRANGER = 999


def everything() -> Roster:
    """A device of each kind, in turn by itself and behind the gateway."""
    return roster(*(device(FIRST + n, kind, gateway_no=GATEWAY if n % 2 else None) for n, kind in enumerate(KINDS)))


def limits(kind: str, position: int) -> list[float]:
    """Values about which the rules of the metric turn over."""
    metric = BY_NAME[kind].metrics[position]
    told = [rule.parameters for rule in load_defaults()[kind] if getattr(rule.parameters, "metric", "") == metric.name]
    edges = [getattr(p, name) for p in told for name in ("limit", "clear_limit", "and_limit") if hasattr(p, name)]
    return [edge + step for edge in edges if edge is not None for step in (-0.5, 0.0, 0.5)] or [metric.low, 1.0]


@st.composite
def one_reading(draw: st.DrawFn, kinds: st.SearchStrategy[str]) -> tuple[int, int, int, list[float | None]]:
    kind = draw(kinds)
    width = len(BY_NAME[kind].metrics)
    vals = [draw(st.none() | st.sampled_from(limits(kind, position))) for position in range(width)]
    # A row from before a metric was added is narrower than the kind.
    vals = vals[: draw(st.integers(0, width))] if draw(st.integers(0, 9)) == 0 else vals
    number = STRANGER if draw(st.integers(0, 19)) == 0 else FIRST + KINDS.index(kind)
    return number, draw(st.integers(-2 * MIN, 2 * MIN)), draw(st.sampled_from([0, 0, 0, S, 11 * MIN])), vals


def steps(kinds: list[str]) -> st.SearchStrategy[Any]:
    among = st.sampled_from(kinds)
    return st.one_of(
        st.tuples(st.just("row"), st.lists(one_reading(among), min_size=1, max_size=4)),
        st.tuples(st.just("row"), st.lists(one_reading(among), min_size=1, max_size=4)),
        st.tuples(st.just("status"), among, st.booleans()),
        st.tuples(st.just("status"), st.none(), st.booleans()),
        st.tuples(st.just("event"), among, st.sampled_from(["alarm", "pressed", "displaced", "leak"])),
        st.tuples(st.just("tick")),
    )


def log_row(readings: list[Any], now: int) -> LogRow:
    numbers, offsets, delays, vals = (list(column) for column in zip(*readings, strict=True))
    times = [now + offset for offset in offsets]
    arrived = [ts + delay for ts, delay in zip(times, delays, strict=True)]
    flat = [value for row in vals for value in row]
    return LogRow(1, 1, None, numbers, times, arrived, [len(row) for row in vals], flat, [])  # type: ignore[arg-type]


def known(engine: Engine) -> Any:
    subjects = [*engine.roster.devices.values(), *engine.roster.places.values()]
    facts = [
        (
            s.key,
            s.facts.made_ms,
            s.states,
            s.dues,
            s.facts.seen_ms,
            s.facts.online,
            s.facts.online_since_ms,
            s.facts.session,
        )
        for s in subjects
    ]
    return facts, engine.roster.line, engine.evaluations, engine.overtaken


def scripts(kinds: list[str]) -> st.SearchStrategy[Any]:
    numbers = [GATEWAY, *(DeviceNo(FIRST + KINDS.index(kind)) for kind in kinds)]
    before = st.dictionaries(st.sampled_from(numbers), st.booleans())
    return st.tuples(st.lists(steps(kinds), max_size=25), before)


@settings(max_examples=100)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=2).flatmap(scripts))
def test_quiet_readings_come_to_the_same_by_the_row(
    told_of: tuple[list[Any], dict[DeviceNo, bool]],
) -> None:
    script, before = told_of
    by_row, by_item = Engine(everything()), Engine(everything())
    now = T0
    for engine in (by_row, by_item):
        engine.restore([], {number: Seen(T0 - 1, online) for number, online in before.items()})
    for what, *told in script:
        now += 20 * S
        if what == "row":
            row = log_row(told[0], now)
            strangers = [by_item.apply(item) for item in items_of(row, by_item.roster)]  # type: ignore[arg-type]
            assert apply_readings(by_row, row) == strangers.count(False)
        elif what == "tick":
            now += 4 * MIN
            for engine in (by_row, by_item):
                engine.tick(now)
        else:
            number = GATEWAY if told[0] is None else DeviceNo(FIRST + KINDS.index(told[0]))
            for engine in (by_row, by_item):
                if what == "status":
                    engine.apply(Status(number, now, now, told[1], now))
                else:
                    engine.apply(Event(number, now, now, told[1]))
        assert by_row.take() == by_item.take()
        assert known(by_row) == known(by_item)


def test_quiet_readings_are_not_looked_at_one_by_one() -> None:
    """Where the short way is not taken the rest would still be right, only slow."""
    engine, seen = Engine(everything()), []
    number = FIRST + KINDS.index("manhole")
    quiet = [(number, n * S, 0, [1.0, 10.0, 80.0]) for n in range(5)]
    whole = engine.apply
    engine.apply = lambda item: seen.append(item) or whole(item)  # type: ignore[method-assign, func-returns-value]
    assert apply_readings(engine, log_row(quiet, T0)) == 0
    # The first one brings the device to life; the others move four times.
    assert [item.ts_ms for item in seen if isinstance(item, Reading)] == [T0]
    assert engine.roster.devices[DeviceNo(number)].facts.made_ms == T0 + 4 * S
    assert apply_readings(engine, log_row([(number, MIN, 0, [95.0, 10.0, 80.0])], T0)) == 0
    assert len(seen) == 2 and engine.take().decisions


@pytest.mark.parametrize("gateway", ["will", "offline"])
def test_a_quiet_reading_speaks_for_its_gateway_too(gateway: str) -> None:
    child = next(n for n, kind in enumerate(KINDS) if n % 2 and compiled(kind) is not None)
    quiet = log_row([(FIRST + child, 0, 0, [])], T0)
    by_row, by_item = Engine(everything()), Engine(everything())
    for engine in (by_row, by_item):
        engine.restore([], {GATEWAY: Seen(T0 - MIN, gateway == "will"), DeviceNo(FIRST + child): Seen(T0 - MIN, True)})
        if gateway == "will":
            engine.apply(Status(GATEWAY, T0 - S, T0 - S, False))
            assert engine.roster.devices[GATEWAY].states
    apply_readings(by_row, quiet)
    for item in items_of(quiet, by_item.roster):
        by_item.apply(item)  # type: ignore[arg-type]
    assert known(by_row) == known(by_item)
    assert not by_row.roster.devices[GATEWAY].states and by_row.roster.devices[GATEWAY].facts.online


def compiled(kind: str) -> Quiet | None:
    return everything().devices[DeviceNo(FIRST + KINDS.index(kind))].rules.quiet
