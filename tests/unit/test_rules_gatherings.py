"""Gathering rules in the engine: who counts for which place, however it was cut, restarted or rebuilt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from services.domain.devices import BY_NAME
from services.domain.engine.core import Engine
from services.domain.engine.decisions import Clear, Decision, OpenAlert, Raise, Repeat, StateChange
from services.domain.engine.subjects import BuildingRow, Roster, Seen, build_roster
from services.domain.ids import CommunityId, DeviceNo, Partition, RuleId
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.rules.evaluation import Event, Item, Line
from services.domain.rules.parameters import EventParameters, GatheringParameters
from services.domain.rules.rule import Mode, Rule, Scope
from services.domain.rules.rulebook import Rulebook
from services.domain.vocabulary import Label, Severity, Team
from tests.unit.test_alerts_core import MIN, T0, S, device

GATEWAY = DeviceNo(20)
LEAK = Rule(
    RuleId("water_meter.leak"), Label("漏", "Leak"), Severity.MINOR, Team.MAINTENANCE, EventParameters("leak", 600)
)
TAMPER = replace(LEAK, id=RuleId("water_meter.tamper"), parameters=EventParameters("tamper", 600))


def gathering(
    within: str, count: int = 3, window_s: float = 0.0, pattern: str = "water_meter.leak", **more: Any
) -> Rule:
    return Rule(
        RuleId("water_meter.many"),
        Label("多", "Many"),
        Severity.MAJOR,
        Team.MAINTENANCE,
        GatheringParameters(pattern, count, within, window_s),
        **more,
    )


def meters() -> list[DeviceRow]:
    """1 to 4 lie in building b1 and behind the gateway, 5 and 6 in b2 of the same grid."""
    near = [device(n, "water_meter", gateway_no=GATEWAY) for n in range(1, 5)]
    return [*near, *(device(n, "water_meter", building_id="b2") for n in (5, 6)), device(GATEWAY, "gateway")]


def town(rows: Iterable[DeviceRow], *rules: Rule) -> Roster:
    communities = [CommunityRow(CommunityId("c"), "社区", Partition(1), 29.7, 116.0, "Asia/Shanghai")]
    buildings = [BuildingRow(f"b{n}", f"{n}号楼", "g1", 5.0, 5.0) for n in (1, 2)]
    book = Rulebook({"water_meter": (LEAK, TAMPER, *rules), "platform": ()})
    return build_roster(BY_NAME, book, communities, rows, buildings, {}, Line())


def leak(number: int, seconds: float, name: str = "leak") -> Event:
    at = T0 + round(seconds * S)
    return Event(DeviceNo(number), at, at, name)


def many(decisions: Iterable[Decision]) -> list[tuple[str, str]]:
    """What was said of places: (what, of which)."""
    of: dict[Any, str] = {}
    found: list[tuple[str, str]] = []
    for one in decisions:
        if isinstance(one, Raise) and one.rule_id == "water_meter.many":
            of[one.id] = one.subject
            found.append(("raise", one.subject))
        elif isinstance(one, Repeat) and one.alert.rule_id == "water_meter.many":
            found.append(("repeat", one.alert.subject))
        elif isinstance(one, Clear) and one.id in of:
            found.append(("clear", of[one.id]))
    return found


def run(engine: Engine, *items: Item) -> list[Decision]:
    for item in items:
        assert engine.apply(item)
    return list(engine.take().decisions)


@pytest.mark.parametrize(
    ("within", "numbers", "expected"),
    [
        ("building", (1, 2, 3), [("raise", "building:b1")]),
        ("building", (1, 2, 5, 6), []),
        ("gateway", (1, 2, 3), [("raise", "gateway:20")]),
        ("gateway", (1, 2, 5), []),
        ("grid", (1, 2, 5), [("raise", "grid:g1")]),
        ("community", (1, 5, 6), [("raise", "community:c")]),
        ("community", (1, 1, 1, 2), []),
    ],
)
def test_gathering_counts_the_devices_of_its_place(
    within: str, numbers: tuple[int, ...], expected: list[tuple[str, str]]
) -> None:
    engine = Engine(town(meters(), gathering(within)))
    assert many(run(engine, *(leak(n, place) for place, n in enumerate(numbers)))) == expected


def test_gathering_says_where_how_many_and_since_when() -> None:
    engine = Engine(town(meters(), gathering("building", window_s=60)))
    raised = run(engine, leak(1, 0), leak(2, 1), leak(3, 2))[-1]
    assert isinstance(raised, Raise)
    assert (raised.device_no, raised.building_id, raised.place) == (None, "b1", "1号楼")
    assert raised.why.zh == "同一楼栋内 3 台设备在 1 分钟内相继告警，1号楼"
    assert raised.why.en == "3 devices in one building raised alerts within 1 min, 1号楼"
    assert raised.trigger["data"] == {"since_ms": T0}
    assert raised.onset_ms == T0 + 2 * S


def test_gathering_is_over_when_too_few_are_left_and_comes_again_as_another() -> None:
    engine = Engine(town(meters(), gathering("building")))
    first = run(engine, leak(1, 0), leak(2, 1), leak(3, 2))[-1]
    engine.tick(T0 + 600 * S)
    assert [what for what, _ in many([first, *engine.take().decisions])] == ["raise", "clear"]
    second = run(engine, leak(1, 600.5))[-1]
    assert isinstance(first, Raise)
    assert isinstance(second, Raise)
    assert (second.subject, second.id != first.id) == ("building:b1", True)


def test_gathering_device_with_two_alerts_counts_once_and_until_both_are_over() -> None:
    engine = Engine(town(meters(), gathering("building", pattern="water_meter.*")))
    assert many(run(engine, leak(1, 0), leak(1, 100, "tamper"), leak(2, 500))) == []
    found = run(engine, leak(3, 550))
    assert many(found) == [("raise", "building:b1")]
    engine.tick(T0 + 699 * S)
    assert many([*found, *engine.take().decisions]) == [("raise", "building:b1")]
    engine.tick(T0 + 700 * S)
    assert many([*found, *engine.take().decisions]) == [("raise", "building:b1"), ("clear", "building:b1")]


def test_gathering_device_with_two_alerts_began_with_the_first() -> None:
    engine = Engine(town(meters(), gathering("building", window_s=60, pattern="water_meter.*")))
    assert many(run(engine, leak(1, 0), leak(1, 100, "tamper"), leak(2, 120), leak(3, 130))) == []
    assert many(run(engine, leak(4, 140))) == [("raise", "building:b1")]


def test_gathering_counts_only_whom_its_scope_names_and_no_rule_on_trial() -> None:
    rows = [replace(row, tags=frozenset({"roof"})) if row.device_no in (1, 2) else row for row in meters()]
    scoped = gathering("building", count=2, scope=Scope(device_tags=frozenset({"roof"})))
    engine = Engine(town(rows, scoped))
    assert many(run(engine, leak(1, 0), leak(3, 1), leak(4, 2))) == []
    assert many(run(engine, leak(2, 3))) == [("raise", "building:b1")]
    trial = town(meters(), gathering("building"))
    for subject in trial.devices.values():
        ruled = {**subject.rules.by_id}
        if LEAK.id in ruled:
            one = replace(ruled[LEAK.id], rule=replace(LEAK, mode=Mode.SHADOW))
            subject.rules = replace(subject.rules, reads={Event: (one,)}, by_id={**ruled, LEAK.id: one})
    assert many(run(Engine(trial), leak(1, 0), leak(2, 1), leak(3, 2))) == []


def restored(former: Engine, roster: Roster) -> Engine:
    """As after a restart: open alerts and states come back through the database, the crowd does not."""
    opened = [replace(alert, active=list(alert.active)) for alert in former.alerts.open.values()]
    engine = Engine(roster, opened)
    states = [StateChange(r, s.key, state) for s in former.roster.subjects() for r, state in s.states.items()]
    engine.restore(states, {no: Seen(T0, True, T0) for no in roster.devices})
    return engine


@pytest.mark.parametrize("cut", range(6))
def test_gathering_restart_in_the_middle_changes_nothing(cut: int) -> None:
    items = [leak(1, 0), leak(2, 1), leak(3, 2), leak(4, 3), leak(1, 10), leak(2, 590)]
    rule = gathering("building", window_s=30)

    def told(engines: Iterable[Engine]) -> list[tuple[str, str]]:
        found: list[Decision] = []
        for engine, part in zip(engines, (items[:cut], items[cut:]), strict=True):
            found += run(engine, *part)
            last = engine
        last.tick(T0 + 20 * MIN)
        return many([*found, *last.take().decisions])

    whole = Engine(town(meters(), rule))
    first = Engine(town(meters(), rule))

    def halves() -> Iterable[Engine]:
        yield first
        yield restored(first, town(meters(), rule))

    assert told(halves()) == told([whole, whole]) == [("raise", "building:b1"), ("clear", "building:b1")]


def test_gathering_of_devices_that_left_is_over_at_the_next_tick() -> None:
    former = Engine(town(meters(), gathering("building")))
    found = run(former, leak(1, 0), leak(2, 1), leak(3, 2))
    moved = [replace(row, building_id="b2") if row.device_no == 3 else row for row in meters()]
    engine = restored(former, town(moved, gathering("building")))
    engine.tick(T0 + 3 * S)
    assert many([*found, *engine.take().decisions]) == [("raise", "building:b1"), ("clear", "building:b1")]


def test_gathering_of_a_mass_outage_repeats_as_it_doubles() -> None:
    rows = [device(n, "water_meter") for n in range(1, 301)]
    engine = Engine(town(rows, gathering("building")))
    said = [what for what, _ in many(run(engine, *(leak(n, n / 10) for n in range(1, 301))))]
    assert said == ["raise", *["repeat"] * 6]
    state = engine.roster.places["building:b1"].states[RuleId("water_meter.many")]
    assert len(str(state)) < 100


def test_gathering_open_alert_of_a_place_is_one_of_its_family() -> None:
    engine = Engine(town(meters(), gathering("building")))
    run(engine, leak(1, 0), leak(2, 1), leak(3, 2))
    kept = [alert for alert in engine.alerts.open.values() if isinstance(alert, OpenAlert)]
    assert sorted(alert.subject for alert in kept) == ["building:b1", "device:1", "device:2", "device:3"]
