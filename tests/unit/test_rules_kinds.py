"""Each rule kind on a timeline: its edges, holes, late, repeated and reordered data, and a restart in the middle."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from services.domain import rules
from services.domain.ids import DeviceNo
from services.domain.rules import BY_PARAMETERS, KINDS, parameters
from services.domain.rules.evaluation import (
    Clock,
    Event,
    Facts,
    Flood,
    Item,
    Line,
    Reading,
    Reply,
    Signal,
    State,
    Status,
)
from services.domain.rules.offline import STRAGGLER_MS
from services.domain.rules.parameters import (
    AbsenceParameters,
    ClockParameters,
    Compare,
    ConsumptionParameters,
    CorrelationParameters,
    EventParameters,
    FloodParameters,
    NOfMParameters,
    OfflineParameters,
    Parameters,
    ThresholdParameters,
)

S = 1000
MIN = 60 * S
HOUR = 60 * MIN
T0 = int(datetime(2026, 11, 22, 0, 0, tzinfo=UTC).timestamp() * 1000)
"""08:00 in Shanghai."""
NO = DeviceNo(7)


class Timeline:
    """One rule on one subject. Between any two steps its state goes through JSON, as over a restart."""

    def __init__(self, rule: Parameters, facts: Facts | None = None) -> None:
        self.rule = rule
        self.kind = BY_PARAMETERS[type(rule)]
        self.facts = facts or Facts(interval_ms=MIN)
        self.state: State = None
        self.due: int | None = None
        self.said: list[Signal] = []

    def give(self, item: Item) -> list[str]:
        return self._take(self.kind.step(self.rule, self.state, item, self.facts, item.received_ms))

    def tick(self, now_ms: int) -> list[str]:
        return self._take(self.kind.tick(self.rule, self.state, self.facts, now_ms))

    def _take(self, outcome: Any) -> list[str]:
        before = json.dumps(outcome.state)
        self.state = json.loads(before)
        assert len(before) < 4000
        self.due = outcome.due_ms
        self.said += outcome.signals
        return [signal.what.value for signal in outcome.signals]

    def read(self, at_ms: int, *, late: bool = False, delay: int = 0, **values: float) -> list[str]:
        return self.values(at_ms, values, late, delay)

    def values(self, at_ms: int, values: dict[str, float], late: bool = False, delay: int = 0) -> list[str]:
        names = list(values)
        positions = {name: place for place, name in enumerate(names)}
        return self.give(Reading(NO, at_ms, at_ms + delay, [values[name] for name in names], positions, late))

    def event(self, at_ms: int, name: str, *, device: int = 7, late: bool = False, delay: int = 0) -> list[str]:
        return self.give(Event(DeviceNo(device), at_ms, at_ms + delay, name, {}, late))

    def series(self, metric: str, points: Iterable[tuple[int, float]]) -> list[tuple[int, str]]:
        return [(at, what) for at, value in points for what in self.values(at, {metric: value})]


def test_rule_kinds_every_file_is_registered() -> None:
    """A new file without its line in the tuple, or parameters without behaviour, stops here."""
    shared = {"__init__", "evaluation", "parameters", "reasons", "rule", "rulebook", "words"}
    shared |= {"checks", "document", "editing", "faults", "fields", "guards", "spans", "writing"}
    files = {path.stem for path in Path(rules.__file__).parent.glob("*.py")} - shared
    assert files == {kind.step.__module__.rpartition(".")[2] for kind in KINDS}
    assert set(BY_PARAMETERS) == set(get_args(parameters.Parameters))


# event


def test_event_fires_repeats_and_clears_after_the_last_repeat() -> None:
    line = Timeline(EventParameters("alarm", clear_after_s=300))
    assert line.event(T0, "alarm") == ["fire"]
    assert line.event(T0 + 100 * S, "alarm") == ["repeat"]
    assert line.due == T0 + 400 * S
    assert line.tick(T0 + 400 * S - 1) == []
    assert line.tick(T0 + 400 * S) == ["clear"]
    assert line.said[-1].onset_ms == T0


def test_event_other_names_do_not_count() -> None:
    assert Timeline(EventParameters("alarm")).event(T0, "fault") == []


def test_event_late_report_fires_nothing_but_a_late_end_ends() -> None:
    line = Timeline(EventParameters("forced", clear_event="closed"))
    assert line.event(T0, "forced", late=True) == []
    assert line.event(T0 + S, "forced") == ["fire"]
    assert line.tick(T0 + 10 * HOUR) == []
    assert line.event(T0 + 2 * S, "closed", late=True) == ["clear"]


def test_event_overtaken_by_its_own_end_stays_over() -> None:
    line = Timeline(EventParameters("forced", clear_event="closed"))
    assert line.event(T0 + 10 * S, "closed") == []
    assert line.event(T0 + 5 * S, "forced") == []
    assert line.event(T0 + 11 * S, "forced") == ["fire"]
    assert line.event(T0 + 10 * S, "closed") == []


def test_event_resent_after_clearing_does_not_fire_again() -> None:
    line = Timeline(EventParameters("sos", clear_after_s=60))
    line.event(T0, "sos")
    line.tick(T0 + 60 * S)
    assert line.event(T0, "sos", delay=70 * S) == []
    assert line.event(T0 + 61 * S, "sos") == ["fire"]


# threshold

LEL = ThresholdParameters("lel", Compare.AT_LEAST, 10, for_s=300, clear_limit=5, clear_for_s=120)


def test_threshold_includes_the_limit_itself() -> None:
    at_once = ThresholdParameters("t", Compare.AT_LEAST, 10)
    assert Timeline(at_once).read(T0, t=10) == ["fire"]
    assert Timeline(at_once).read(T0, t=9.999) == []
    assert Timeline(ThresholdParameters("t", Compare.AT_MOST, 10)).read(T0, t=10) == ["fire"]


def test_threshold_duration_is_met_at_exactly_its_length() -> None:
    line = Timeline(LEL)
    assert line.series("lel", [(T0 + step * MIN, 12) for step in range(6)]) == [(T0 + 5 * MIN, "fire")]
    assert line.said[0].onset_ms == T0
    early = Timeline(replace(LEL, for_s=300.001))
    assert early.series("lel", [(T0 + step * MIN, 12) for step in range(6)]) == []


def test_threshold_duration_starts_again_after_one_good_reading() -> None:
    points = [(T0 + step * MIN, 12.0) for step in range(10)]
    points[3] = (points[3][0], 9.0)
    assert Timeline(LEL).series("lel", points) == [(T0 + 9 * MIN, "fire")]


def test_threshold_duration_does_not_bridge_a_hole() -> None:
    """Three intervals are bridged, more are not: nobody knows what was in between."""
    bridged = [(T0, 12.0), (T0 + 3 * MIN, 12.0), (T0 + 5 * MIN, 12.0)]
    holed = [(T0, 12.0), (T0 + 3 * MIN + 1, 12.0), (T0 + 5 * MIN, 12.0)]
    assert Timeline(LEL).series("lel", bridged) == [(T0 + 5 * MIN, "fire")]
    assert Timeline(LEL).series("lel", holed) == []


def test_threshold_never_fires_on_stale_data() -> None:
    line = Timeline(LEL)
    line.read(T0, lel=12)
    assert [line.tick(T0 + minutes * MIN) for minutes in (1, 5, 60)] == [[], [], []]


def test_threshold_duration_shorter_than_the_interval_runs_out_by_the_clock() -> None:
    line = Timeline(ThresholdParameters("lel", Compare.AT_LEAST, 10, for_s=5), Facts(interval_ms=5 * MIN))
    assert line.read(T0, delay=200, lel=18) == []
    assert line.due == T0 + 5200
    assert line.tick(T0 + 5199) == []
    assert line.tick(T0 + 5200) == ["fire"]
    assert (line.said[0].onset_ms, line.said[0].value) == (T0, 18)


def test_threshold_short_duration_is_forgotten_when_the_engine_was_away() -> None:
    line = Timeline(ThresholdParameters("lel", Compare.AT_LEAST, 10, for_s=5), Facts(interval_ms=MIN))
    line.read(T0, lel=18)
    assert line.tick(T0 + 10 * MIN) == []
    assert line.state is None


def test_threshold_hysteresis_holds_between_the_limits() -> None:
    line = Timeline(replace(LEL, for_s=0))
    assert line.read(T0, lel=12) == ["fire"]
    assert line.read(T0 + MIN, lel=7) == []
    assert line.read(T0 + 2 * MIN, lel=5) == ["recover"]
    assert line.read(T0 + 3 * MIN, lel=7) == []
    assert line.read(T0 + 4 * MIN, lel=5) == []
    assert line.read(T0 + 5 * MIN, lel=5) == []
    assert line.read(T0 + 6 * MIN, lel=5) == ["clear"]


def test_threshold_relapse_while_recovering_repeats() -> None:
    line = Timeline(replace(LEL, for_s=0))
    line.read(T0, lel=12)
    assert line.read(T0 + MIN, lel=4) == ["recover"]
    assert line.read(T0 + 2 * MIN, lel=10) == ["repeat"]
    assert line.said[-1].onset_ms == T0


def test_threshold_guard_decides_whether_it_counts() -> None:
    line = Timeline(ThresholdParameters("power", Compare.AT_MOST, 0, guard_metric="on"))
    assert line.read(T0, power=0, on=0) == []
    assert line.read(T0 + MIN, power=0) == []
    assert line.read(T0 + 2 * MIN, power=0, on=1) == ["fire"]
    assert line.read(T0 + 3 * MIN, power=0) == []
    assert line.read(T0 + 4 * MIN, power=0, on=0) == ["clear"]


def test_threshold_late_reading_neither_fires_nor_clears() -> None:
    line = Timeline(replace(LEL, for_s=0))
    assert line.read(T0, late=True, lel=50) == []
    line.read(T0 + MIN, lel=12)
    assert line.read(T0 + 2 * MIN, late=True, lel=0) == []
    assert line.state is not None


def test_threshold_by_day_sleeps_through_twilight_and_night() -> None:
    facts = Facts(interval_ms=30 * MIN, latitude=29.7, longitude=116.0)
    line = Timeline(ThresholdParameters("power", Compare.AT_MOST, 0, for_s=1800, daylight=True), facts)
    night = int(datetime(2026, 11, 21, 20, 0, tzinfo=UTC).timestamp() * 1000)
    fired = line.series("power", [(night + step * 30 * MIN, 0.0) for step in range(12)])
    assert [what for _, what in fired] == ["fire"]
    local_hour = (fired[0][0] / HOUR + 8) % 24
    assert 7.5 <= local_hour <= 8.5
    assert line.series("power", [(T0 + 12 * HOUR, 0.0), (T0 + 13 * HOUR, 50.0)]) == []


def test_threshold_other_metrics_alone_change_nothing() -> None:
    line = Timeline(LEL)
    line.read(T0, lel=12)
    before = line.state
    assert line.read(T0 + MIN, battery=50) == []
    assert line.state == before


# n of m

BAND = NOfMParameters("hr", Compare.AT_LEAST, 111, n=2, m=3, and_compare=Compare.AT_MOST, and_limit=130)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([111, 111], [1]),
        ([111, 90, 130], [2]),
        ([111, 90, 90, 111], []),
        ([131, 131, 131], []),
        ([110, 110, 111], []),
    ],
)
def test_n_of_m_counts_the_last_readings_of_the_band(values: list[float], expected: list[int]) -> None:
    line = Timeline(BAND)
    fired = [place for place, value in enumerate(values) if line.read(T0 + place * MIN, hr=value) == ["fire"]]
    assert fired == expected


def test_n_of_m_clears_when_fewer_hold_and_ignores_doubles_and_holes() -> None:
    line = Timeline(BAND)
    line.read(T0, hr=120)
    assert line.read(T0, hr=120) == []
    assert line.read(T0 + 10 * MIN, hr=120) == []
    assert line.read(T0 + 11 * MIN, hr=120) == ["fire"]
    assert line.read(T0 + 12 * MIN, hr=80) == []
    assert line.read(T0 + 13 * MIN, hr=80) == ["clear"]
    line.read(T0 + 14 * MIN, hr=80)
    line.read(T0 + 15 * MIN, hr=80)
    assert line.state is None


def test_n_of_m_does_not_count_late_readings() -> None:
    line = Timeline(BAND)
    line.read(T0, late=True, hr=120)
    assert line.read(T0 + MIN, hr=120) == []


# consumption

SILENCE = ConsumptionParameters("total", 12 * 3600, Compare.AT_MOST, 0.01)
LEAK = ConsumptionParameters("total", 24 * 3600, Compare.AT_LEAST, 0.001, every_s=1800)
QUARTER = Facts(interval_ms=15 * MIN)


def quarters(hours: float, start: float = 100.0, each: float = 0.0, begin: int = T0) -> list[tuple[int, float]]:
    return [(begin + step * 15 * MIN, start + each * step) for step in range(int(hours * 4) + 1)]


def test_consumption_silence_fires_when_the_whole_window_was_watched() -> None:
    assert Timeline(SILENCE, QUARTER).series("total", quarters(13)) == [(T0 + 12 * HOUR, "fire")]


def test_consumption_limit_itself_counts() -> None:
    exact = [(at, 0.0 if at < T0 + HOUR else 0.01) for at, _ in quarters(12)]
    assert Timeline(SILENCE, QUARTER).series("total", exact) == [(T0 + 12 * HOUR, "fire")]
    above = [(at, 0.0 if at < T0 + HOUR else 0.0101) for at, _ in quarters(12)]
    assert Timeline(SILENCE, QUARTER).series("total", above) == []


def test_consumption_use_ends_the_silence() -> None:
    line = Timeline(SILENCE, QUARTER)
    line.series("total", quarters(12))
    assert line.read(T0 + 12 * HOUR + 15 * MIN, total=100.5) == ["clear"]


def test_consumption_hole_starts_the_window_anew() -> None:
    points = [point for point in quarters(20) if not T0 + 5 * HOUR < point[0] < T0 + 6 * HOUR]
    assert Timeline(SILENCE, QUARTER).series("total", points) == [(T0 + 18 * HOUR, "fire")]


def test_consumption_late_readings_fill_the_window_but_do_not_page() -> None:
    line = Timeline(SILENCE, QUARTER)
    for at, total in quarters(12):
        assert line.read(at, late=True, total=total) == []
    assert line.read(T0 + 12 * HOUR + 15 * MIN, total=100) == ["fire"]


def test_consumption_away_is_not_silence() -> None:
    facts = replace(QUARTER, away_until_ms=T0 + 10 * HOUR)
    assert Timeline(SILENCE, facts).series("total", quarters(23)) == [(T0 + 22 * HOUR, "fire")]


def test_consumption_reset_counts_what_went_through_since() -> None:
    rule = ConsumptionParameters("total", 3600, Compare.AT_LEAST, 1.0)
    line = Timeline(rule, QUARTER)
    totals = [500.0, 500.3, 0.2, 0.6, 0.9]
    fired = line.series("total", [(T0 + step * 15 * MIN, total) for step, total in enumerate(totals)])
    assert fired == [(T0 + HOUR, "fire")]
    assert line.said[0].value == pytest.approx(1.2)


def test_consumption_in_every_slice_needs_all_of_them() -> None:
    assert Timeline(LEAK, QUARTER).series("total", quarters(25, each=0.001)) == [(T0 + 24 * HOUR, "fire")]
    dry = [(at, at - T0 - max(0, min(at, T0 + 11 * HOUR) - (T0 + 10 * HOUR))) for at, _ in quarters(30)]
    litres = [(at, ran / HOUR * 0.004) for at, ran in dry]
    assert Timeline(LEAK, QUARTER).series("total", litres) == []
    assert Timeline(LEAK, QUARTER).series("total", litres[:40]) == []


def test_consumption_in_every_slice_begins_with_a_whole_slice() -> None:
    begin = T0 + 10 * MIN
    fired = Timeline(LEAK, QUARTER).series("total", quarters(25, each=0.001, begin=begin))
    assert fired[0][0] >= T0 + 30 * MIN + 24 * HOUR


def test_consumption_leak_clears_with_the_first_dry_slice() -> None:
    line = Timeline(LEAK, QUARTER)
    points = quarters(25, each=0.001)
    line.series("total", points)
    last = points[-1]
    after = [(last[0] + step * 15 * MIN, last[1]) for step in range(1, 5)]
    assert [what for _, what in line.series("total", after)] == ["clear"]


# offline


def test_offline_fires_after_three_intervals_by_the_servers_clock() -> None:
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, line=Line(T0 + HOUR)))
    assert line.tick(T0 + 3 * MIN) == []
    assert line.due == T0 + 3 * MIN + 1
    assert line.tick(T0 + 3 * MIN + 1) == ["offline", "fire"]
    assert line.tick(T0 + HOUR) == []
    assert line.read(T0 + HOUR, x=1) == ["online", "clear"]


def test_offline_bare_heartbeat_brings_it_back() -> None:
    """The server heard it, though the log has nothing of it."""
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, line=Line(T0 + HOUR)))
    line.tick(T0 + 4 * MIN)
    assert line.tick(T0 + 6 * MIN) == []
    line.facts.seen_ms = T0 + 7 * MIN
    assert line.tick(T0 + 8 * MIN) == ["online", "clear"]
    assert line.due == T0 + 10 * MIN + 1


def test_offline_never_seen_is_not_offline() -> None:
    assert Timeline(OfflineParameters(), Facts(interval_ms=MIN)).tick(T0) == []


def test_offline_waits_while_the_whole_line_is_silent() -> None:
    """When ingest or the broker is down every device looks dead: that is one trouble, not thousands."""
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, line=Line(T0)))
    assert line.tick(T0 + 4 * MIN) == []
    assert line.tick(T0 + 13 * MIN) == []
    assert line.tick(T0 + 13 * MIN + 1) == ["offline", "fire"]


def test_offline_after_a_restart_silence_counts_anew() -> None:
    """Both were down for an hour; what speaks within its own patience is not reported."""
    since = T0 + HOUR
    facts = Facts(interval_ms=MIN, seen_ms=T0, line=Line(since + 10 * MIN, since_ms=since))
    line = Timeline(OfflineParameters(), facts)
    assert line.tick(since + 3 * MIN) == []
    assert line.tick(since + 3 * MIN + 1) == ["offline", "fire"]
    assert line.said[-1].onset_ms == T0 + 3 * MIN


def test_offline_after_a_restart_a_rare_reporter_is_waited_for_an_hour_only() -> None:
    since = T0 + 18 * HOUR
    facts = Facts(interval_ms=6 * HOUR, seen_ms=T0, line=Line(since + HOUR, since_ms=since))
    line = Timeline(OfflineParameters(), facts)
    assert line.tick(since + HOUR) == []
    assert line.tick(since + HOUR + 1) == ["offline", "fire"]


def test_offline_last_will_from_before_a_restart_waits_for_the_device_to_return() -> None:
    since = T0 + HOUR
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, session=1, line=Line(since_ms=since)))
    line.give(will(T0 + S))
    assert line.tick(since + 3 * MIN - 1) == []
    assert line.tick(since + 3 * MIN) == ["offline", "fire"]


def will(at_ms: int, session: int = 1) -> Status:
    return Status(NO, T0, at_ms, False, session)


def test_offline_last_will_is_believed_after_a_short_grace() -> None:
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, session=1))
    assert line.give(will(T0 + S)) == []
    assert line.due == T0 + 11 * S
    assert line.tick(T0 + 11 * S) == ["offline", "fire"]
    assert line.said[-1].onset_ms == T0 + S


def test_offline_reconnect_within_the_grace_says_nothing() -> None:
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, session=1))
    line.give(will(T0 + S))
    assert line.give(Status(NO, T0 + 3 * S, T0 + 3 * S, True, 2)) == []
    assert line.tick(T0 + 20 * S) == []


def test_offline_will_of_an_older_session_is_ignored() -> None:
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, session=2))
    line.give(will(T0 + S, session=1))
    assert line.tick(T0 + 30 * S) == []


def test_offline_reading_sent_before_the_will_does_not_revive() -> None:
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, session=1))
    line.give(will(T0 + 5 * S))
    line.read(T0 + 4 * S, x=1)
    assert line.tick(T0 + 15 * S) == ["offline", "fire"]


def gone() -> Timeline:
    """Said to be gone at T0 + S, and taken for offline."""
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, made_ms=T0, session=1))
    line.give(will(T0 + S))
    assert line.tick(T0 + 11 * S) == ["offline", "fire"]
    return line


def test_offline_said_again_in_the_grace_neither_begins_it_anew_nor_ends_it() -> None:
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, session=1))
    line.give(will(T0 + S))
    assert line.give(will(T0 + 5 * S, session=5)) == []
    line.facts.seen_ms = T0 + 5 * S  # as the database has it: of this device, something was received
    assert line.tick(T0 + 11 * S) == ["offline", "fire"]


def test_offline_said_again_while_it_is_offline_is_no_sign_of_life() -> None:
    line = gone()
    for minute in range(1, 6):
        line.give(will(T0 + minute * MIN, session=1 + minute))
        line.facts.seen_ms = T0 + minute * MIN
        assert line.tick(T0 + minute * MIN + S) == []
    assert line.give(Status(NO, T0 + 6 * MIN, T0 + 6 * MIN, True, 9)) == ["online", "clear"]


def test_offline_what_was_made_before_the_will_and_comes_after_it_does_not_revive() -> None:
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, session=1))
    line.give(will(T0 + 5 * S))
    assert line.read(T0 + 4 * S, delay=3 * S, x=1) == []
    line.facts.seen_ms = T0 + 7 * S
    assert line.tick(T0 + 15 * S) == ["offline", "fire"]
    assert line.read(T0 + 3 * S, delay=MIN, x=1) == []
    line.facts.seen_ms = T0 + 3 * S + MIN
    assert line.tick(T0 + 2 * MIN) == []


def test_offline_what_was_made_after_the_will_revives_at_once() -> None:
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, session=1))
    line.give(will(T0 + 5 * S))
    assert line.read(T0 + 6 * S, x=1) == []
    assert line.tick(T0 + 15 * S) == []
    assert gone().read(T0 + 12 * S, x=1) == ["online", "clear"]


def test_offline_a_device_whose_clock_is_slow_is_believed_to_live_when_nothing_can_be_on_its_way_any_more() -> None:
    line = gone()
    assert line.read(T0 - HOUR, delay=HOUR + STRAGGLER_MS, x=1) == []
    assert line.read(T0 - HOUR, delay=HOUR + STRAGGLER_MS + 2 * S, x=1) == ["online", "clear"]


def test_offline_will_read_after_telemetry_that_came_later_but_was_made_before_is_believed() -> None:
    late = Facts(interval_ms=MIN, seen_ms=T0 + 2 * S, made_ms=T0, session=1)
    line = Timeline(OfflineParameters(), late)
    line.give(will(T0 + S))
    assert line.tick(T0 + 11 * S) == ["offline", "fire"]
    line = Timeline(OfflineParameters(), replace(late, made_ms=T0 + 2 * S))
    line.give(will(T0 + S))
    assert line.tick(T0 + 11 * S) == [], "it spoke after that"


def test_offline_said_by_a_gateway_that_is_just_back_is_raised_after_the_grace() -> None:
    """After a power cut: silent as long as its gateway was; then the gateway is back and does not find it."""
    gateway = Facts(interval_ms=MIN, seen_ms=T0, online=False)
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, gateway=gateway, line=Line(T0 + HOUR)))
    assert line.tick(T0 + 4 * MIN) == ["offline"]
    gateway.online, gateway.online_since_ms, gateway.seen_ms = True, T0 + HOUR, T0 + HOUR
    line.give(will(T0 + HOUR + S))
    line.facts.seen_ms = T0 + HOUR + S
    assert line.tick(T0 + HOUR + 11 * S) == []
    assert line.tick(T0 + HOUR + 11 * S + 1) == ["fire"]


def test_offline_behind_a_dead_gateway_is_not_blamed_until_the_gateway_is_back() -> None:
    gateway = Facts(interval_ms=MIN, seen_ms=T0, online=False)
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, gateway=gateway, line=Line(T0 + HOUR)))
    assert line.tick(T0 + 4 * MIN) == ["offline"]
    assert line.tick(T0 + HOUR) == []
    gateway.online, gateway.online_since_ms, gateway.seen_ms = True, T0 + HOUR, T0 + HOUR
    assert line.tick(T0 + HOUR + 3 * MIN) == []
    assert line.tick(T0 + HOUR + 3 * MIN + 1) == ["fire"]


def test_offline_returning_behind_its_gateway_is_only_online_again() -> None:
    gateway = Facts(interval_ms=MIN, seen_ms=T0, online=False)
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, gateway=gateway, line=Line(T0 + HOUR)))
    line.tick(T0 + 4 * MIN)
    assert line.read(T0 + 5 * MIN, x=1) == ["online"]


def test_offline_waits_for_a_gateway_that_fell_silent_at_the_same_time() -> None:
    gateway = Facts(interval_ms=5 * MIN, seen_ms=T0, online=True)
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, gateway=gateway, line=Line(T0 + HOUR)))
    assert line.tick(T0 + 4 * MIN) == []
    gateway.online = False
    assert line.tick(T0 + 16 * MIN) == ["offline"]


def test_offline_dead_device_behind_a_living_gateway_is_blamed() -> None:
    gateway = Facts(interval_ms=MIN, seen_ms=T0 + 4 * MIN, online=True)
    line = Timeline(OfflineParameters(), Facts(interval_ms=MIN, seen_ms=T0, gateway=gateway, line=Line(T0 + HOUR)))
    assert line.tick(T0 + 4 * MIN) == ["offline", "fire"]


# absence

OPENED = AbsenceParameters("opened", 7, 19)
DAWN = T0 - 2 * HOUR
EVENING = T0 + 11 * HOUR


def door(online: bool = True, **more: Any) -> Timeline:
    line = Timeline(OPENED, Facts(interval_ms=6 * HOUR, online=online, **more))
    line.tick(DAWN)
    return line


def test_absence_fires_at_the_end_of_the_local_window() -> None:
    line = door()
    assert line.due == EVENING
    assert line.tick(EVENING - 1) == []
    assert line.tick(EVENING) == ["fire"]
    assert line.tick(EVENING + HOUR) == []


@pytest.mark.parametrize(("at", "expected"), [(-3 * HOUR, ["fire"]), (-HOUR, []), (11 * HOUR - 1, [])])
def test_absence_counts_only_events_of_the_day(at: int, expected: list[str]) -> None:
    line = door()
    line.event(T0 + at, "opened")
    assert line.tick(EVENING) == expected


def test_absence_of_an_offline_device_is_unknown_until_it_is_back() -> None:
    line = door(online=False)
    assert line.tick(EVENING) == []
    line.facts.online = True
    assert line.tick(EVENING + HOUR) == ["fire"]


def test_absence_away_or_half_watched_day_says_nothing() -> None:
    assert door(away_until_ms=T0 + HOUR).tick(EVENING) == []
    started_at_noon = Timeline(OPENED, Facts(interval_ms=6 * HOUR, online=True))
    started_at_noon.tick(T0 + 4 * HOUR)
    assert started_at_noon.tick(EVENING) == []


def test_absence_is_not_raised_on_the_next_day_by_an_engine_that_was_down() -> None:
    assert door().tick(EVENING + 13 * HOUR) == []


def test_absence_clears_when_the_event_comes_late_or_next() -> None:
    line = door()
    line.tick(EVENING)
    assert line.event(EVENING - HOUR, "opened", late=True, delay=2 * HOUR) == ["clear"]
    other = door()
    other.tick(EVENING)
    assert other.event(EVENING + HOUR, "opened") == ["clear"]


def test_absence_comes_again_the_next_day_only_after_clearing() -> None:
    line = door()
    line.tick(EVENING)
    line.event(EVENING + HOUR, "opened")
    assert line.tick(EVENING + 24 * HOUR) == ["fire"]


# correlation

FIRE = CorrelationParameters("alarm", 2, 180)


def test_correlation_needs_different_devices_within_the_window() -> None:
    line = Timeline(FIRE)
    assert line.event(T0, "alarm", device=1) == []
    assert line.event(T0 + 10 * S, "alarm", device=1) == []
    assert line.event(T0 + 190 * S, "alarm", device=2) == ["fire"]
    assert line.said[0].data["devices"] == [1, 2]


def test_correlation_window_includes_its_edge_and_not_more() -> None:
    edge = Timeline(FIRE)
    edge.event(T0, "alarm", device=1)
    assert edge.event(T0 + 180 * S, "alarm", device=2) == ["fire"]
    beyond = Timeline(FIRE)
    beyond.event(T0, "alarm", device=1)
    assert beyond.event(T0 + 180 * S + 1, "alarm", device=2) == []


def test_correlation_order_of_arrival_does_not_matter() -> None:
    line = Timeline(FIRE)
    line.event(T0 + 100 * S, "alarm", device=1)
    assert line.event(T0, "alarm", device=2) == ["fire"]


def test_correlation_third_device_repeats_and_silence_clears() -> None:
    line = Timeline(FIRE)
    line.event(T0, "alarm", device=1)
    line.event(T0 + S, "alarm", device=2)
    assert line.event(T0 + 2 * S, "alarm", device=3) == ["repeat"]
    assert line.tick(T0 + 302 * S - 1) == []
    assert line.tick(T0 + 302 * S) == ["clear"]


def test_correlation_ignores_late_reports() -> None:
    line = Timeline(FIRE)
    line.event(T0, "alarm", device=1)
    assert line.event(T0, "alarm", device=2, late=True) == []


# clock


def test_clock_fires_beyond_the_limit_and_clears_when_right_again() -> None:
    line = Timeline(ClockParameters(300))
    assert line.give(Clock(NO, T0 + 300 * S, T0, 300 * S)) == []
    assert line.give(Clock(NO, T0 + 301 * S, T0, 301 * S)) == ["fire"]
    assert line.give(Clock(NO, T0 + 400 * S, T0 + S, 399 * S)) == []
    assert line.read(T0 - HOUR, delay=HOUR + 2 * S, x=1) == []
    assert line.read(T0 + 3 * S, x=1) == ["clear"]
    assert line.said[0].onset_ms == T0


def test_clock_is_believed_again_by_a_new_connection_or_an_answer_that_the_device_stamped_itself() -> None:
    def wrong() -> Timeline:
        line = Timeline(ClockParameters(300))
        assert line.give(Clock(NO, T0 + 301 * S, T0, 301 * S)) == ["fire"]
        return line

    assert wrong().give(Status(NO, T0 + HOUR - S, T0 + HOUR, True, 2)) == ["clear"]
    assert wrong().give(Status(NO, T0 + HOUR - 300 * S, T0 + HOUR, True, 2)) == ["clear"]
    assert wrong().give(Status(NO, T0 + HOUR - 300 * S - 1, T0 + HOUR, True, 2)) == []
    assert wrong().give(Status(NO, T0 - 1, T0, True, 2)) == [], "no newer than what showed that it is wrong"
    assert wrong().give(Status(NO, T0 + HOUR - S, T0 + HOUR, False, 2)) == [], "a last will is as old as its connection"
    assert wrong().give(Status(NO, T0 + HOUR, T0 + HOUR, True, 2)) == [], "stamped as it arrived"
    assert wrong().give(Reply(NO, T0 + HOUR - S, T0 + HOUR)) == ["clear"]
    assert wrong().give(Reply(NO, T0 + HOUR - 301 * S, T0 + HOUR)) == []
    behind = wrong()
    behind.facts.gateway = Facts(60_000)
    assert behind.give(Reply(NO, T0 + HOUR - S, T0 + HOUR)) == [], "the gateway's clock, not the device's"


# flood


def test_flood_fires_once_lasts_while_it_goes_on_and_clears_by_the_servers_clock() -> None:
    line = Timeline(FloodParameters(300))
    assert line.give(Flood(NO, T0 - 9 * HOUR, T0, 870)) == ["fire"]
    assert (line.said[0].value, line.said[0].onset_ms) == (870, T0)
    assert line.give(Flood(NO, T0, T0 + 60 * S, 54_000)) == []
    assert line.tick(T0 + 360 * S - 1) == []
    assert line.tick(T0 + 360 * S) == ["clear"]
    assert line.tick(T0 + 900 * S) == []
    assert line.give(Flood(NO, T0, T0 + 901 * S, 1)) == ["fire"]


def test_parameters_of_every_kind_are_frozen_data() -> None:
    for kind in KINDS:
        assert fields(kind.parameters)
