"""Timetables on a timeline: their edges, holes, late data, the clock, and holidays nobody knows yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.domain.devices import BY_NAME
from services.domain.rules.evaluation import Facts, Signal, What
from services.domain.rules.parameters import ScheduleParameters
from services.domain.rules.reasons import why
from services.domain.rules.schedule import check, rests
from tests.unit.test_rules_kinds import MIN, S, Timeline

AFTER_HOURS = ScheduleParameters("open", 0.0, days="workday", from_hour=22, to_hour=6, for_s=600)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai")).timestamp() * 1000)


FRIDAY_22 = at("2026-11-20T22:00:00")


def test_schedule_fires_after_exactly_for_s_within_the_hours_only() -> None:
    line = Timeline(AFTER_HOURS)
    points = [(FRIDAY_22 + n * MIN, 1.0) for n in range(-30, 15)]
    assert line.series("open", points) == [(FRIDAY_22 + 10 * MIN, "fire")]
    assert line.said[0].onset_ms == FRIDAY_22
    short = Timeline(replace(AFTER_HOURS, for_s=600.001))
    assert short.series("open", points[:41]) == []


def test_schedule_clears_when_it_stands_right_or_the_hours_are_over() -> None:
    line = Timeline(AFTER_HOURS)
    line.series("open", [(FRIDAY_22 + n * MIN, 1.0) for n in range(11)])
    assert line.read(FRIDAY_22 + 20 * MIN, open=0.0) == ["clear"]
    line = Timeline(AFTER_HOURS)
    night = [(FRIDAY_22 + n * MIN, 1.0) for n in range(8 * 60 + 5)]
    assert line.series("open", night) == [(FRIDAY_22 + 10 * MIN, "fire"), (at("2026-11-21T06:00:00"), "clear")]
    assert line.state is None


def test_schedule_one_right_reading_starts_it_anew() -> None:
    line = Timeline(AFTER_HOURS)
    points = [(FRIDAY_22 + n * MIN, 0.0 if n == 9 else 1.0) for n in range(25)]
    assert line.series("open", points) == [(FRIDAY_22 + 20 * MIN, "fire")]


def test_schedule_does_not_bridge_a_hole() -> None:
    line = Timeline(AFTER_HOURS)
    assert line.series("open", [(FRIDAY_22, 1.0), (FRIDAY_22 + 3 * MIN, 1.0)]) == []
    assert line.state is not None and line.state["since"] == FRIDAY_22
    assert line.read(FRIDAY_22 + 6 * MIN + 1, open=1.0) == []
    assert line.state["since"] == FRIDAY_22 + 6 * MIN + 1


def test_schedule_late_missing_and_repeated_readings_say_nothing() -> None:
    line = Timeline(AFTER_HOURS)
    line.series("open", [(FRIDAY_22 + n * MIN, 1.0) for n in range(10)])
    before = line.state
    assert line.read(FRIDAY_22 + 10 * MIN, late=True, open=1.0) == []
    assert line.read(FRIDAY_22 + 10 * MIN, other=1.0) == []
    assert line.state == before
    assert line.read(FRIDAY_22 + 9 * MIN, open=1.0) == []
    assert line.read(FRIDAY_22 + 10 * MIN, open=1.0) == ["fire"]
    assert line.read(FRIDAY_22 + 10 * MIN, open=1.0) == []
    assert line.read(FRIDAY_22 + 11 * MIN, late=True, open=0.0) == []


def test_schedule_keeps_to_holidays_and_made_up_days() -> None:
    for day, fires in (("2026-10-01", False), ("2026-10-10", True), ("2026-11-21", False), ("2026-11-23", True)):
        line = Timeline(AFTER_HOURS)
        begin = at(f"{day}T22:30:00")
        said = line.series("open", [(begin + n * MIN, 1.0) for n in range(12)])
        assert [what for _, what in said] == (["fire"] if fires else []), day


def test_schedule_by_the_sun_is_silent_in_twilight() -> None:
    lamp = ScheduleParameters("on", 1.0, daylight=False, for_s=600)
    line = Timeline(lamp, Facts(interval_ms=10 * MIN, latitude=29.7, longitude=116.0))
    start = at("2026-11-22T16:00:00")
    said = line.series("on", [(start + n * 10 * MIN, 0.0) for n in range(15)])
    assert said == [(at("2026-11-22T18:00:00"), "fire")]  # civil dusk ends at 17:47
    # towards dawn: neither day nor night, then day
    dawn = at("2026-11-23T06:30:00")
    assert line.read(dawn, on=0.0) == []
    assert line.read(dawn + 90 * MIN, on=0.0) == ["clear"]


def test_schedule_shorter_than_the_interval_is_run_out_by_the_clock_within_the_hours() -> None:
    quick = replace(AFTER_HOURS, for_s=30)
    line = Timeline(quick)
    line.read(FRIDAY_22, open=1.0, delay=500)
    assert line.due == FRIDAY_22 + 500 + 30 * S
    assert line.tick(line.due - 1) == []
    assert line.tick(FRIDAY_22 + 500 + 30 * S) == ["fire"]
    assert line.said[0].ts_ms == FRIDAY_22 + 30 * S
    line = Timeline(quick)
    line.read(at("2026-11-21T05:59:40"), open=1.0)
    assert line.tick(at("2026-11-21T06:00:10")) == []
    assert line.state is None


def test_schedule_rests_at_the_expected_value_alone() -> None:
    metric, low, high = rests(AFTER_HOURS)
    assert metric == "open"
    assert low < 0.0 < high
    assert not low < 1.0 < high and not low < 1e-9 < high


def test_schedule_says_why_and_that_holidays_are_only_assumed() -> None:
    gate = BY_NAME["lamp_post"]
    rule = ScheduleParameters("on", 0.0, days="workday", from_hour=9, to_hour=17.5, for_s=600)
    known = why(gate, rule, Signal(What.FIRE, 0, 0, 1.0), 600, "东门")
    assert known.zh == "工作日 09:00–17:30 亮灯：是（应为否）已 10 分钟，东门"
    assert known.en == "On: yes (should be no) on working days 09:00–17:30 for 10 min, 东门"
    line = Timeline(replace(rule, for_s=0))
    assert line.read(at("2061-11-21T12:00:00"), on=1.0) == ["fire"]
    assumed = why(gate, rule, line.said[0], 600, "")
    assert "2061 年节假日安排未载入" in assumed.zh and "2061" in assumed.en
    plain = Timeline(replace(rule, for_s=0, days="weekday"))
    plain.read(at("2061-11-21T12:00:00"), on=1.0)
    assert "2061" not in why(gate, rule, plain.said[0], 600, "").zh
    power = ScheduleParameters("power", 0.0, days="sun", daylight=True)
    assert why(gate, power, Signal(What.FIRE, 0, 0, 40.0), 600, "").zh == "sun白天功率：40 W（应为0 W）已 10 分钟"


@pytest.mark.parametrize("wrong", [{"days": "holiday"}, {"from_hour": 24.0}, {"to_hour": 25.0}, {"for_s": -1.0}])
def test_schedule_refuses_what_is_no_timetable(wrong: dict[str, float]) -> None:
    check(AFTER_HOURS)
    with pytest.raises(ValueError, match=r"day|hours|for_s"):
        check(replace(AFTER_HOURS, **wrong))  # type: ignore[arg-type]
