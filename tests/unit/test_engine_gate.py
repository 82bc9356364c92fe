"""The gate before a rule: hours to their exact edge, holidays, the sun, guards, and that quiet readings stay cheap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.domain.devices import BY_NAME
from services.domain.engine import core
from services.domain.engine.core import Engine
from services.domain.engine.decisions import Clear, Decision, Presence, Raise, Recover, Repeat
from services.domain.engine.entries import LogRow
from services.domain.engine.gate import check_gate, gate
from services.domain.engine.quiet import apply_readings
from services.domain.engine.replay import replay
from services.domain.engine.subjects import BuildingRow, build_roster
from services.domain.ids import CommunityId, DeviceNo, Partition, RuleId
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.rules import BY_PARAMETERS
from services.domain.rules.evaluation import Item, Line
from services.domain.rules.guards import GuardError
from services.domain.rules.parameters import (
    Aggregate,
    BaselineParameters,
    Compare,
    ConsumptionParameters,
    CorrelationParameters,
    EventParameters,
    OfflineParameters,
    Parameters,
    RateParameters,
    SequenceParameters,
    SilenceParameters,
    ThresholdParameters,
    WindowParameters,
)
from services.domain.rules.rule import During, Rule
from services.domain.rules.rulebook import Rulebook
from services.domain.vocabulary import Label, Severity, Team
from tests.unit.test_alerts_core import device, event, reading

S, MIN, HOUR = 1000, 60_000, 3_600_000
NIGHT = During(days="workday", from_hour=22, to_hour=6)
HIGH = ThresholdParameters("power", Compare.AT_LEAST, 3000, for_s=600)
METER = "electricity_meter"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai")).timestamp() * 1000)


FRIDAY_22 = at("2026-11-20T22:00:00")
SATURDAY_6 = at("2026-11-21T06:00:00")


def rule(parameters: Parameters, **more: Any) -> Rule:
    label = Label("测试", "test")
    return Rule(RuleId("test"), label, Severity.MINOR, Team.DESK, parameters, **more)


def engine(one: Rule, kind: str = METER, *more: DeviceRow, faults: list[str] | None = None, **row: Any) -> Engine:
    rows = [device(1, kind, **row), *more]
    community = CommunityRow(CommunityId("c"), "社区", Partition(1), 29.7, 116.0, "Asia/Shanghai")
    away = {"h1": at("2026-11-30T00:00:00")} if row.get("household_id") == "h1" else {}
    roster = build_roster(
        BY_NAME, Rulebook({kind: (one,)}), [community], rows, [BuildingRow("b1", "1号楼", "g1", 0, 0)], away, Line()
    )
    told: Callable[..., None] | None = None if faults is None else lambda rule_id, key, error: faults.append(str(error))
    return Engine(roster, on_fault=told)


def powers(*points: tuple[int, float]) -> list[Item]:
    return [reading(1, METER, ts, power=value) for ts, value in points]


def minutes(start: int, first: int, last: int, value: float = 4000.0) -> list[Item]:
    """A reading a minute, from `first` to `last` minutes after start, both included."""
    return powers(*((start + n * MIN, value) for n in range(first, last + 1)))


def said(one: Engine, *items: Item) -> list[tuple[int, str]]:
    """(event time, what) of what was decided, item by item."""
    found = []
    for item in items:
        one.apply(item)
        found += [(item.ts_ms, type(decision).__name__) for decision in one.take().decisions]
    return found


# hours


def test_gate_hours_begin_anew_what_was_pending_before_them() -> None:
    one = engine(rule(HIGH, during=NIGHT))
    assert said(one, *minutes(FRIDAY_22, -30, 20)) == [(FRIDAY_22 + 10 * MIN, "Raise")]
    alert = next(iter(one.alerts.open.values()))
    assert alert.onset_ms == FRIDAY_22


def test_gate_hours_end_what_is_pending_to_the_millisecond() -> None:
    just = [*minutes(SATURDAY_6, -11, -1), *powers((SATURDAY_6 - 1, 4000.0))]
    assert said(engine(rule(HIGH, during=NIGHT)), *just) == [(SATURDAY_6 - MIN, "Raise")]
    late = minutes(SATURDAY_6, -9, 30)
    one = engine(rule(HIGH, during=NIGHT))
    assert said(one, *late) == []
    assert one.roster.devices[DeviceNo(1)].states == {}
    edge = powers(*((SATURDAY_6 - 10 * MIN + n * MIN - 1, 4000.0) for n in range(11)))
    assert said(engine(rule(HIGH, during=NIGHT)), *edge) == [(SATURDAY_6 - 1, "Raise")]
    over = powers(*((SATURDAY_6 - 10 * MIN + n * MIN, 4000.0) for n in range(11)))
    assert said(engine(rule(HIGH, during=NIGHT)), *over) == []


def test_gate_hours_do_not_end_an_alert_only_its_own_condition_does() -> None:
    one = engine(rule(HIGH, during=NIGHT))
    assert said(one, *minutes(SATURDAY_6, -20, 120)) == [(SATURDAY_6 - 10 * MIN, "Raise")]
    assert said(one, *powers((SATURDAY_6 + 121 * MIN, 10.0))) == [(SATURDAY_6 + 121 * MIN, "Clear")]
    assert not one.alerts.open
    assert said(one, *minutes(SATURDAY_6, 122, 200)) == []


def test_gate_hours_over_midnight_belong_to_their_evening() -> None:
    for text, fires in (
        ("2026-11-21T00:30:00", True),  # the night from Friday
        ("2026-11-22T00:30:00", False),  # the night from Saturday
        ("2026-10-01T00:30:00", True),  # the night before the National Day
        ("2026-10-02T00:30:00", False),
        ("2026-10-11T00:30:00", True),  # after a Saturday that was worked
    ):
        found = said(engine(rule(HIGH, during=NIGHT)), *minutes(at(text), 0, 15))
        assert [what for _, what in found] == (["Raise"] if fires else []), text


def test_gate_daylight_begins_when_the_sun_is_up_and_twilight_is_not_known() -> None:
    by_day = engine(rule(replace(HIGH, for_s=0), during=During(daylight=True)))
    day = at("2026-11-22T00:00:00")
    found = said(by_day, *minutes(day, 0, 20 * 60))
    assert [what for _, what in found] == ["Raise"]
    assert abs(found[0][0] - at("2026-11-22T07:25:00")) < 15 * MIN
    # sunset: what stands goes on standing, and clears at night by its own condition
    assert [what for _, what in said(by_day, *minutes(day, 21 * 60, 21 * 60, 0.0))][-1] == "Clear"
    # a fall in twilight is not believed either
    dusk = at("2026-11-22T17:30:00")
    one = engine(rule(replace(HIGH, for_s=0), during=During(daylight=True)))
    assert [what for _, what in said(one, *minutes(dusk, -60, -59))] == ["Raise"]
    assert said(one, *minutes(dusk, 0, 0, 0.0)) == []


def test_gate_clock_that_runs_out_after_the_hours_fires_nothing() -> None:
    quick = rule(replace(HIGH, for_s=30), during=NIGHT)
    for begin, fires in ((SATURDAY_6 - 31 * S, True), (SATURDAY_6 - 30 * S, False), (SATURDAY_6 - 10 * S, False)):
        one = engine(quick)
        decided = [d for step in replay(one, powers((begin, 4000.0)), begin + HOUR) for d in step.decisions]
        assert [type(d) for d in decided] == ([Raise] if fires else []), begin


def test_gate_offline_is_known_outside_the_hours_and_told_within() -> None:
    one = engine(rule(OfflineParameters(missed=3), during=During(from_hour=8, to_hour=20)))
    start = at("2026-11-22T03:00:00")
    decided: list[tuple[int, Decision]] = []
    one.listen(start - HOUR, 0)
    for step in replay(one, powers((start, 10.0)), at("2026-11-22T09:00:00")):
        decided += [(0, d) for d in step.decisions]
    kinds = [type(d) for _, d in decided]
    assert kinds == [Presence, Raise]
    raised = decided[1][1]
    assert isinstance(raised, Raise)
    assert at("2026-11-22T08:00:00") <= raised.fired_ms < at("2026-11-22T08:01:01")
    back = said(one, *powers((at("2026-11-22T23:00:00"), 10.0)))
    assert [what for _, what in back] == ["Presence", "Clear"]


def test_gate_what_a_kind_knows_it_goes_on_learning_outside_the_hours() -> None:
    used = ConsumptionParameters("energy_kwh", 4 * 3600.0, Compare.AT_LEAST, 10.0)
    one = engine(rule(used, during=During(from_hour=8, to_hour=9)))
    start = at("2026-11-22T03:00:00")
    items = [reading(1, METER, start + n * MIN, energy_kwh=100.0 + n / 10) for n in range(6 * 60)]
    assert said(one, *items) == [(at("2026-11-22T08:00:00"), "Raise")]
    night = engine(rule(BaselineParameters("power", floor=10.0), during=NIGHT))
    said(night, *minutes(at("2026-11-22T12:00:00"), 0, 130))
    state = night.roster.devices[DeviceNo(1)].states[RuleId("test")]
    assert state is not None and state["samples"]


def test_gate_windows_and_rates_are_followed_outside_the_hours() -> None:
    """What was seen before eight counts at eight: neither begins with an empty memory."""
    start = at("2026-11-22T06:00:00")
    items = [reading(1, METER, start + n * MIN, power=1000.0 + 10 * n) for n in range(130)]
    for parameters in (
        WindowParameters("power", Aggregate.RANGE, 3600.0, Compare.AT_LEAST, 500.0),
        RateParameters("power", Compare.AT_LEAST, 500.0, 3600.0),
    ):
        one = engine(rule(parameters, during=During(from_hour=8, to_hour=9)))
        assert said(one, *items) == [(at("2026-11-22T08:00:00"), "Raise")], parameters


def test_gate_answer_that_does_not_count_is_heard_and_may_overtake_its_question() -> None:
    asks = SequenceParameters("opened", "closed", 300.0)
    start = at("2026-11-22T08:00:00")
    asked, answer = event(1, "opened", start, 12 * S), event(1, "closed", start + 10 * S)
    for items, fires in (([answer, asked], False), ([asked], True)):
        one = engine(rule(asks, guard='event == "opened"'), "door_magnet")
        decided = [d for step in replay(one, items, start + HOUR) for d in step.decisions]
        assert any(isinstance(d, Raise) for d in decided) is fires


def test_gate_silence_is_only_pending_and_begins_with_the_hours() -> None:
    one = engine(rule(SilenceParameters("power", 1800.0), during=During(from_hour=8, to_hour=20)))
    start = at("2026-11-22T07:00:00")
    items = [reading(1, METER, start + n * MIN, voltage=228.0) for n in range(120)]
    assert said(one, *items) == [(at("2026-11-22T08:30:00"), "Raise")]


# guards


def test_gate_guard_false_begins_nothing_and_drops_what_is_pending() -> None:
    one = engine(rule(HIGH, guard="values.voltage > 210.0"))
    start = FRIDAY_22

    def with_voltage(n: int, volts: float, watts: float = 4000.0) -> Item:
        return reading(1, METER, start + n * MIN, power=watts, voltage=volts)

    assert said(one, *(with_voltage(n, 200.0 if n == 8 else 220.0) for n in range(25))) == [(start + 19 * MIN, "Raise")]
    assert said(one, *(with_voltage(n, 200.0) for n in range(25, 60))) == []
    assert one.alerts.open
    assert said(one, with_voltage(60, 200.0, 10.0))[-1] == (start + 60 * MIN, "Clear")


def test_gate_guard_not_known_freezes_and_a_long_run_of_it_is_a_hole() -> None:
    one = engine(rule(HIGH, guard="values.voltage > 210.0"))
    start = FRIDAY_22

    def item(n: int, known: bool, watts: float = 4000.0) -> Item:
        when = start + n * MIN
        return reading(1, METER, when, power=watts, voltage=220.0) if known else reading(1, METER, when, power=watts)

    assert said(one, *(item(n, n not in (3, 4)) for n in range(11))) == [(start + 10 * MIN, "Raise")]
    assert said(one, *(item(n, False, 10.0) for n in range(11, 30))) == []
    assert said(one, item(30, True, 10.0))[-1] == (start + 30 * MIN, "Clear")
    hole = engine(rule(HIGH, guard="values.voltage > 210.0"))
    assert said(hole, *(item(n, n not in (3, 4, 5)) for n in range(17))) == [(start + 16 * MIN, "Raise")]


def test_gate_guard_speaks_of_events_devices_households_and_the_hour() -> None:
    at_night = at("2026-11-20T23:15:00")
    cases = [
        ("event == 'overload' && hour >= 23 && workday", True),
        ("hour > 23.2 && hour < 23.3", True),
        ("device.kind == 'electricity_meter' && device.id == 'c-electricity_meter-1'", True),
        ("device.floor == 1 && device.building == 'b1' && device.grid == 'g1'", True),
        ("device.place.startsWith('1号楼') && 'main' in device.tags", True),
        ("'elder_living_alone' in household.tags", True),
        ("household.away", True),
        ("!household.away", False),
        ("!workday", False),
        ("data.current > 60.0", False),
    ]
    for guard, fires in cases:
        one = engine(rule(EventParameters("overload"), guard=guard), household_id="h1", tags=frozenset({"main"}))
        found = said(one, event(1, "overload", at_night))
        assert [what for _, what in found] == (["Raise"] if fires else []), guard


def test_gate_guard_of_a_building_asks_the_device_that_spoke() -> None:
    both = CorrelationParameters("alarm", 2, 180)
    other = device(2, "smoke_detector", floor=2)
    for guard, fires in (("device.floor >= 1", True), ("device.floor >= 2", False)):
        one = engine(rule(both, guard=guard), "smoke_detector", other)
        found = said(one, event(1, "alarm", FRIDAY_22), event(2, "alarm", FRIDAY_22 + S))
        assert [what for _, what in found] == (["Raise"] if fires else []), guard


def test_gate_event_that_was_over_stays_over_outside_the_hours() -> None:
    one = engine(rule(EventParameters("overload", clear_after_s=60), during=NIGHT))
    assert [what for _, what in said(one, event(1, "overload", SATURDAY_6 - 2 * MIN))] == ["Raise"]
    one.tick(SATURDAY_6 - MIN)
    assert [type(d) for d in one.take().decisions] == [Clear]
    assert said(one, event(1, "tamper", SATURDAY_6 + S)) == []
    assert said(one, event(1, "overload", SATURDAY_6 - 2 * MIN, delay=2 * MIN + 2 * S)) == []
    assert said(one, event(1, "overload", SATURDAY_6 + HOUR)) == []


def test_gate_guard_that_can_not_be_used_faults_the_rule_aloud_and_no_other() -> None:
    faults: list[str] = []
    one = engine(rule(HIGH, guard="values.power >"), faults=faults)
    assert said(one, *minutes(FRIDAY_22, 0, 20)) == []
    assert faults and all("line 1, column 15" in fault for fault in faults)


def test_gate_check_refuses_what_makes_no_sense() -> None:
    meter = BY_NAME[METER]

    def check(one: Rule) -> None:
        check_gate(one, meter, BY_PARAMETERS[type(one.parameters)])

    check(rule(HIGH, guard="values.voltage > 210.0", during=NIGHT))
    check(rule(HIGH, life_safety=True))
    with pytest.raises(GuardError, match=r"no values\.volts"):
        check(rule(HIGH, guard="values.volts > 210.0"))
    with pytest.raises(GuardError, match="never handed 'event'"):
        check(rule(HIGH, guard="event == 'overload'"))
    for more in ({"guard": "hour > 1"}, {"during": NIGHT}):
        with pytest.raises(ValueError, match="counts always"):
            check(rule(HIGH, life_safety=True, **more))
    for wrong in (During(days="never"), During(from_hour=25), During(to_hour=-1)):
        with pytest.raises(ValueError, match=r"unknown day|hours"):
            check(rule(HIGH, during=wrong))


# the quiet path


def row(*values: float) -> LogRow:
    width = len(BY_NAME[METER].metrics)
    power = BY_NAME[METER].position("power")
    assert power is not None
    flat: list[float | None] = []
    for value in values:
        one: list[float | None] = [None] * width
        one[power] = value
        flat += one
    times = [FRIDAY_22 + n * MIN for n in range(len(values))]
    return LogRow(1, 1, datetime.now(UTC), [1] * len(values), times, times, [width] * len(values), flat, [])


def test_gate_is_not_asked_for_quiet_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule with hours and a guard keeps the interval in which a reading can not matter."""
    asked: list[int] = []
    true_gate = gate

    def counted(one: Any, subject: Any, item: Any) -> bool | None:
        asked.append(item.ts_ms)
        return true_gate(one, subject, item)

    monkeypatch.setattr(core, "gate", counted)
    one = engine(rule(replace(HIGH, for_s=0), guard="values.power > 3500.0", during=NIGHT))
    one.apply(powers((FRIDAY_22 - MIN, 1.0))[0])
    asked.clear()
    assert one.roster.devices[DeviceNo(1)].rules.quiet is not None
    apply_readings(one, row(*([100.0] * 50), 3200.0, 100.0, 4000.0))
    assert asked == [FRIDAY_22 + 50 * MIN, FRIDAY_22 + 52 * MIN]
    assert [type(d) for d in one.take().decisions] == [Raise]


def test_gate_of_a_rule_without_hours_and_guard_is_none() -> None:
    compiled = next(iter(engine(rule(HIGH)).roster.devices[DeviceNo(1)].rules.by_id.values()))
    assert compiled.gate is None


def test_gate_alert_repeats_and_recovers_outside_the_hours() -> None:
    slow = rule(replace(HIGH, for_s=0, clear_for_s=600), during=NIGHT)
    one = engine(slow)
    points = [(-5, 4000.0), (5, 10.0), (6, 4000.0), (20, 10.0), (25, 10.0), (30, 10.0)]
    found: list[type] = []
    for n, value in points:
        one.apply(powers((SATURDAY_6 + n * MIN, value))[0])
        found += [type(d) for d in one.take().decisions]
    assert found[:3] == [Raise, Recover, Repeat]


def test_gate_guard_does_not_make_twilight_known() -> None:
    dusk = at("2026-11-22T17:35:00")
    for guard in ("values.power > 1.0", "values.power > 9000.0"):
        one = engine(rule(replace(HIGH, for_s=0), guard=guard, during=During(daylight=True)))
        assert said(one, *minutes(dusk, 0, 3)) == []
        assert one.roster.devices[DeviceNo(1)].states == {}
