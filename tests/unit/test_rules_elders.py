"""Elders living alone: what counts as silence, and what only looks like it; what readings of no worth must not do."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from services.domain.rules.evaluation import Facts, Item, Reading
from services.domain.rules.parameters import (
    AbsenceParameters,
    Compare,
    ConsumptionParameters,
    EventParameters,
    RateParameters,
    SequenceParameters,
)
from tests.unit.rules_support import Fold, Said, at, event, offline, online, read, spoken

HOUR, QUARTER = 3600, 900
WATER = ConsumptionParameters("v", 12 * HOUR, Compare.AT_MOST, 0.01, max_per_h=3.125)
OVERUSE = ConsumptionParameters("v", 24 * HOUR, Compare.AT_LEAST, 2, max_per_h=3.125)


def meter(*totals: tuple[float, float]) -> list[Item]:
    """Readings every quarter of an hour up to each hour given, showing the total that stands beside it."""
    found: list[Item] = []
    now = 0
    for until, total in totals:
        while now <= until * HOUR:
            found.append(read(now, total))
            now += QUARTER
    return found


def hours(said: Said) -> list[tuple[float, str]]:
    return [(seconds / HOUR, what) for seconds, what in said]


class Home:
    """A meter at a home that people leave and come back to."""

    def __init__(self, rule: ConsumptionParameters = WATER) -> None:
        self.fold = Fold(rule, Facts(interval_ms=QUARTER * 1000), restarts=True)

    def hear(self, items: Iterable[Item], away_until: float | None = None) -> list[tuple[float, str]]:
        """`away_until`: what the registry says while these are heard, in hours."""
        self.fold.facts.away_until_ms = None if away_until is None else at(away_until * HOUR)
        before = len(self.fold.said)
        for item in items:
            self.fold.hear(item)
        return hours(spoken(self.fold.said[before:]))


def between(items: Iterable[Item], since: float, until: float) -> list[Item]:
    return [item for item in items if at(since * HOUR) <= item.ts_ms < at(until * HOUR)]


STILL = meter((48, 5.0))


def test_silence_begins_anew_with_the_first_reading_after_the_return() -> None:
    assert Home().hear(STILL, away_until=10) == [(22, "fire")]
    assert Home().hear(STILL, away_until=10.1) == [(22.25, "fire")]


def test_silence_away_until_a_time_that_has_passed_is_at_home() -> None:
    assert Home().hear(STILL, away_until=0) == [(12, "fire")]
    assert Home().hear(STILL, away_until=-100) == [(12, "fire")]


def test_silence_away_switch_set_late_still_counts() -> None:
    """They left at eight and thought of the switch at half past six."""
    home = Home()
    assert home.hear(between(STILL, 0, 10.5)) == []
    assert home.hear(between(STILL, 10.5, 30), away_until=30) == []
    assert home.hear(between(STILL, 30, 42)) == []
    assert home.hear(between(STILL, 42, 48)) == [(42, "fire")]


def test_silence_that_turns_out_to_be_absence_is_over() -> None:
    home = Home()
    assert home.hear(between(STILL, 0, 13)) == [(12, "fire")]
    assert home.hear(between(STILL, 13, 20), away_until=20) == [(13, "clear")]
    assert home.hear(between(STILL, 20, 48)) == [(32, "fire")]


def test_silence_away_switched_off_early_counts_from_then() -> None:
    home = Home()
    home.hear(between(STILL, 0, 6), away_until=40)
    assert home.hear(between(STILL, 6, 48)) == [(18, "fire")]


def test_silence_of_an_offline_meter_is_unknown_and_stands_once_told() -> None:
    """Nothing fires and nothing clears because the meter fell silent; afterwards the whole window is watched again."""
    home = Home()
    assert home.hear(between(STILL, 0, 11.5)) == []
    assert home.hear(between(STILL, 20, 31.9)) == []
    assert home.hear(between(STILL, 32, 33)) == [(32, "fire")]
    assert home.hear(between(STILL, 40, 48)) == []


def test_silence_is_not_ended_by_a_wild_reading_or_a_new_meter() -> None:
    wild = [*meter((13, 5.0)), read(13.25 * HOUR, 90_000), read(13.5 * HOUR, 5.0)]
    assert Home().hear(wild) == [(12, "fire")]
    swapped = [*meter((13, 5.0)), read(13.25 * HOUR, 0.0), read(13.5 * HOUR, 0.0), read(13.75 * HOUR, 0.0)]
    assert Home().hear(swapped) == [(12, "fire")]


@pytest.mark.parametrize("wild", [90_000.0, 0.0, 900.0])
def test_overuse_is_not_found_in_a_wild_reading(wild: float) -> None:
    items = [*meter((25, 500.0)), read(25.25 * HOUR, wild), *(read((25.5 + n / 4) * HOUR, 500.01) for n in range(8))]
    assert Home(OVERUSE).hear(items) == []


def test_overuse_is_not_found_in_a_swapped_meter_but_in_what_it_counts_then() -> None:
    items = [*meter((25, 500.0)), *(read((25.25 + n / 4) * HOUR, 37.0) for n in range(100))]
    assert Home(OVERUSE).hear(items) == []
    after = [read((50.25 + n / 4) * HOUR, 37.0 + n / 4) for n in range(12)]
    assert [what for _, what in Home(OVERUSE).hear([*items, *after])] == ["fire"]


def test_overuse_goes_on_counting_over_a_reset() -> None:
    """From zero again after a power cut: what it shows has gone through since."""
    used = [read(n * QUARTER, 500 + 0.01 * n) for n in range(97)]
    reset = [read((96 + n) * QUARTER, 0.6 * n) for n in range(1, 4)]
    said = Home(OVERUSE).hear([*used, *reset])
    assert said == [(24.5, "fire")]


def test_door_of_a_device_that_was_offline_waits_for_what_it_could_not_send() -> None:
    rule = AbsenceParameters("opened", 9, 19)
    evening = 11 * HOUR
    resent: list[Item] = [offline(9000), online(evening - 5), event(9600, "opened", delay=evening + 20 - 9600)]
    assert spoken(Fold(rule, Facts(interval_ms=21_600_000)).run(resent, evening + HOUR)) == []
    nothing = spoken(Fold(rule, Facts(interval_ms=21_600_000)).run(resent[:2], evening + HOUR))
    assert nothing == [(evening, "fire")]


def test_event_that_is_over_is_forgotten_once_nothing_older_can_page() -> None:
    fold = Fold(EventParameters("sos", clear_after_s=60), Facts(interval_ms=60_000))
    fold.run([event(0, "sos")], 60)
    assert fold.state == {"over": at(0)}
    fold.clocks(at(HOUR))
    assert fold.state is not None
    fold.clocks(at(HOUR + 1))
    assert fold.state is None


def test_reading_of_no_number_is_a_reading_without_the_metric() -> None:
    one = read(0, float("nan"))
    assert isinstance(one, Reading)
    assert (one.value("v"), read(0, float("-inf")).value("v"), read(0, 0.0).value("v")) == (None, None, 0.0)


def test_rate_late_reading_that_shows_the_change_goes_on_interrupts_the_recovery() -> None:
    """It pages nobody, but nobody may say any more that it was steady all the while."""
    rule = RateParameters("v", Compare.AT_LEAST, 10, 60, clear_for_s=120)
    calm: list[Item] = [read(0, 0), read(60, 10), read(120, 10), read(180, 10)]
    assert spoken(Fold(rule, Facts(60_000)).run([*calm, read(240, 10)], 0))[-1] == (240, "clear")
    late = [*calm, read(200, 20, delay=601), read(270, 20), read(330, 20), read(390, 20), read(450, 20)]
    said = spoken(Fold(rule, Facts(60_000)).run(late, 0))
    assert said == [(60, "fire"), (120, "recover"), (390, "clear")]


def test_sequence_answer_to_an_earlier_question_does_not_end_the_alert_of_the_one_that_waited() -> None:
    """The later question came in first, and it is the one that ran out."""
    asked = [event(10, "opened"), event(5, "opened", delay=15), event(7, "closed", delay=73), event(90, "closed")]
    fold = Fold(SequenceParameters("opened", "closed", 60), Facts(60_000), restarts=True)
    assert spoken(fold.run(asked, 300)) == [(70.001, "fire"), (90, "clear")]
    assert fold.said[0].onset_ms == at(10)
