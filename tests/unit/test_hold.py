"""Held back, never lost: each reason, its end, a restart in the middle of it, and life safety, which none can hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, time
from typing import Any

import pytest

from services.domain.engine.decisions import Answered, Asked, Clear, Decision, Ease, Hold, Raise, Release, Repeat
from services.domain.engine.hold import caps as cap
from services.domain.engine.hold import flapping
from services.domain.engine.hold.caps import Caps
from services.domain.engine.hold.inhibition import grace_ms
from services.domain.engine.hold.settling import Start, without_passed
from services.domain.engine.hold.silences import Matcher, Recurring, matcher_of, recurring_of
from services.domain.rules.rule import Ask, Mode, Mutes, Rule, Within
from services.domain.vocabulary import Severity
from tests.hold_kit import (
    GRAVER,
    HOUR,
    MIN,
    ROOM,
    SAFETY,
    T0,
    VOLTAGE,
    Drive,
    S,
    held,
    rule,
    sent,
    silence,
    suppressed,
)

ROOT = rule("root", "lel", 10, mutes=(Mutes(("meter.*",), Within.BUILDING),))
ASKED = replace(VOLTAGE, ask=Ask(1800))

Step = tuple[float, int, float]
"""(minutes since T0, device, voltage of a meter or LEL of the detector)."""


@dataclass(frozen=True)
class Case:
    """`before`: what makes the reason; the alert in question is meter 1's at `at`; held as `reasons`, out at `out`."""

    at: float
    out: float
    reasons: tuple[str, ...]
    rules: tuple[Rule, ...] = (VOLTAGE,)
    before: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)


def _flapping() -> tuple[Step, ...]:
    return tuple((minute, 1, 260.0 if minute % 2 == 0 else 200.0) for minute in range(10))


CASES = {
    "silence": Case(1, 60, ("silence:s1",), more={"silences": (silence(T0, T0 + HOUR),)}),
    "maintenance": Case(
        1,
        90,
        ("maintenance:s1",),
        more={
            "silences": (
                silence(
                    T0, T0 + 24 * HOUR, "maintenance", Recurring(time(23, 30), time(1, 30), frozenset(range(1, 8)))
                ),
            )
        },
    ),
    "inhibited": Case(1, 12, ("inhibited",), before=((0, ROOM, 20),), after=((10, ROOM, 0),), more={"root": ROOT}),
    "flapping": Case(10, 40, ("flapping",), before=_flapping()),
    "cap:device": Case(14, 60 + 2, ("cap:device",), before=((2, 1, 260), (3, 1, 200)), more={"caps": Caps(1, 30)}),
    "cap:community": Case(1, 60.9, ("cap:community",), before=((0, 2, 260),), more={"caps": Caps(6, 1)}),
    "settling": Case(0.1, 0.5, ("settling",), more={"start": Start(T0, 30_000)}),
    "asking": Case(1, 31, ("asking",), rules=(ASKED,)),
}


def run(drive: Drive, *steps: Step) -> list[Decision]:
    found: list[Decision] = []
    for minutes, number, value in steps:
        metric = {"lel": value} if number == ROOM else {"voltage": value, "current": 0.0}
        found += drive.read(number, T0 + round(minutes * MIN), **metric)
    return found


def drive_of(case: Case, *extra: Rule, restarting: bool = False) -> Drive:
    return Drive(*case.rules, *extra, restarting=restarting, **case.more)


def reasons_of(one: Raise | Hold) -> tuple[str, ...]:
    return tuple("inhibited" if reason.startswith("inhibited:") else reason for reason in one.held)


@pytest.mark.parametrize("restarting", [False, True], ids=["one life", "killed after every turn"])
@pytest.mark.parametrize("name", CASES)
def test_hold_every_reason_holds_and_lets_go_when_it_is_over(name: str, restarting: bool) -> None:
    case = CASES[name]
    drive = drive_of(case, restarting=restarting)
    run(drive, *case.before)
    raised = [one for one in run(drive, (case.at, 1, 260)) if isinstance(one, Raise) and one.rule_id == "meter.high"]
    assert [reasons_of(one) for one in raised] == [case.reasons]
    found = run(drive, *case.after) + drive.until(T0 + round(case.out * MIN) - 1)
    assert not [one for one in found if isinstance(one, Release)]
    found = drive.until(T0 + round((case.out + 0.1) * MIN))
    released = [one for one in found if isinstance(one, Release)]
    assert [(one.alert.id, one.alert.held) for one in released] == [(raised[0].id, ())]
    assert T0 + round(case.out * MIN) <= released[0].at_ms <= T0 + round((case.out + 1) * MIN)
    assert not drive.engine.alerts.book.held
    assert not [one for one in drive.until(T0 + 5 * HOUR) if isinstance(one, Release)]


@pytest.mark.parametrize("name", CASES)
def test_hold_what_is_over_while_it_is_held_never_sends_anybody(name: str) -> None:
    case = CASES[name]
    drive = drive_of(case)
    run(drive, *case.before)
    run(drive, (case.at, 1, 260))
    found = run(drive, (case.at + 0.2, 1, 200)) + drive.until(T0 + 30 * HOUR)
    assert [reason.partition(":")[0] for one in suppressed(found) for reason in one] == [name.partition(":")[0]]
    assert not [one for one in found if isinstance(one, Release) and one.alert.rule_id == "meter.high"]


@pytest.mark.parametrize("restarting", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_hold_nothing_ever_holds_life_safety(name: str, restarting: bool) -> None:
    """The same steps with a meter that burns as well: its alert goes out in the very turn, whatever holds the other."""
    case = CASES[name]
    safety = replace(SAFETY, ask=Ask(1800), group_by=Within.BUILDING)
    drive = drive_of(case, safety, restarting=restarting)
    run(drive, *case.before)
    found = drive.read(1, T0 + round(case.at * MIN), voltage=260.0, current=60.0)
    burning = [one for one in found if isinstance(one, Raise) and one.life_safety]
    assert [(one.rule_id, one.held, one.sends, one.group_key) for one in burning] == [("meter.burning", (), True, None)]
    assert [one.sends for one in found if isinstance(one, Raise) and one.rule_id == "meter.high"] == [False]


@pytest.mark.parametrize("name", CASES)
def test_hold_alert_that_becomes_one_of_life_safety_goes_at_once(name: str) -> None:
    case = CASES[name]
    joins = replace(SAFETY, family="meter.voltage")
    drive = drive_of(case, joins)
    run(drive, *case.before)
    run(drive, (case.at, 1, 260))
    found = drive.read(1, T0 + round(case.at * MIN) + S, voltage=260.0, current=60.0)
    released = [one for one in found if isinstance(one, Release) and one.at_ms == T0 + round(case.at * MIN) + S]
    assert [(one.alert.life_safety, one.alert.severity) for one in released] == [(True, Severity.CRITICAL)]
    again = drive.read(1, T0 + round(case.at * MIN) + 2 * S, voltage=280.0, current=60.0)
    assert not [one for one in again if isinstance(one, Hold | Repeat) and one.held]


@pytest.mark.parametrize("name", CASES)
def test_hold_is_the_same_whether_or_not_the_engine_was_killed(name: str) -> None:
    """Decision for decision, over all that happens in the case and hours after it."""
    case = CASES[name]
    drives = [drive_of(case, restarting=restarting) for restarting in (False, True)]
    for drive in drives:
        run(drive, *case.before, (case.at, 1, 260), *case.after)
        drive.until(T0 + 5 * HOUR)
        run(drive, (301, 1, 200))
    assert drives[0].all == drives[1].all


@pytest.mark.parametrize("name", CASES)
def test_hold_survives_a_changed_registry(name: str) -> None:
    case = CASES[name]
    drives = [drive_of(case) for _ in range(2)]
    for drive in drives:
        run(drive, *case.before, (case.at, 1, 260))
        if drive is drives[1]:
            drive.reload()
        run(drive, *case.after)
        drive.until(T0 + 5 * HOUR)
    assert sent(drives[0].all) == sent(drives[1].all)


# severity, dedup


def test_alerts_step_down_to_what_still_holds_and_up_again() -> None:
    drive = Drive(VOLTAGE, GRAVER)
    found = run(drive, (0, 1, 260), (1, 1, 280), (2, 1, 260), (3, 1, 280), (4, 1, 200))
    steps = [(one.worse or "joined") for one in found if isinstance(one, Repeat)]
    eased = [(one.was, one.severity, one.rule_id) for one in found if isinstance(one, Ease)]
    assert steps == [Severity.MAJOR, Severity.MAJOR]
    assert eased == [(Severity.MAJOR, Severity.MINOR, "meter.high")]
    assert [one.active_rules for one in found if isinstance(one, Clear)][-1] == ()


def test_alerts_of_a_rule_on_trial_stand_beside_real_ones_and_send_nobody() -> None:
    trial = replace(GRAVER, id="meter.trial", severity=Severity.CRITICAL, mode=Mode.SHADOW)  # type: ignore[arg-type]
    drive = Drive(VOLTAGE, trial, restarting=True)
    found = run(drive, (0, 1, 280), (1, 1, 280), (2, 1, 200))
    raised = {one.rule_id: (one.shadow, one.sends) for one in found if isinstance(one, Raise)}
    assert raised == {"meter.high": (False, True), "meter.trial": (True, False)}
    assert len({one.id for one in found if isinstance(one, Raise)}) == 2
    assert len([one for one in found if isinstance(one, Clear) and not one.active_rules]) == 2
    assert not [one for one in found if isinstance(one, Release | Hold | Ease)]


def test_alerts_of_a_rule_taken_on_trial_end_so_that_nobody_waits_for_them() -> None:
    drive = Drive(VOLTAGE)
    run(drive, (0, 1, 260))
    drive.rules = {**drive.rules, "electricity_meter": (replace(VOLTAGE, mode=Mode.SHADOW),)}
    drive.reload()
    assert [type(one) for one in drive.until(T0 + MIN)] == [Clear]


# silences


@pytest.mark.parametrize(
    ("matcher", "fits"),
    [
        ({}, False),
        ({"rules": ("meter.*",)}, True),
        ({"rules": ("meter.voltage",)}, True),
        ({"rules": ("gas_alarm.*",)}, False),
        ({"kinds": frozenset({"electricity_meter"})}, True),
        ({"kinds": frozenset({"bin"})}, False),
        ({"devices": frozenset({"c-electricity_meter-1"})}, True),
        ({"devices": frozenset({"c-electricity_meter-2"})}, False),
        ({"buildings": frozenset({"b1"}), "grids": frozenset({"g1"})}, True),
        ({"buildings": frozenset({"b1"}), "grids": frozenset({"g2"})}, False),
        ({"households": frozenset({"h1"})}, True),
        ({"households": frozenset({"h2"})}, False),
        ({"rules": ("*",), "severity": Severity.MINOR}, True),
        ({"rules": ("*",), "severity": Severity.INFO}, False),
    ],
)
def test_silence_matches_what_it_names_and_nothing_else(matcher: dict[str, Any], fits: bool) -> None:
    raised = run(Drive(VOLTAGE), (0, 1, 260))[0]
    assert isinstance(raised, Raise)
    assert Matcher(**matcher).matches(raised, "h1") is fits
    assert not Matcher(**matcher).matches(replace(raised, life_safety=True), "h1")


def test_silence_comes_back_from_its_json_form() -> None:
    stored = {"rules": ["a.*"], "kinds": ["bin"], "severity": "minor"}
    assert matcher_of(stored) == Matcher(("a.*",), frozenset({"bin"}), severity=Severity.MINOR)
    recurs = {"weekdays": [1, 7], "from": "22:00", "to": "06:00"}
    assert recurring_of(recurs) == Recurring(time(22), time(6), frozenset({1, 7}))
    assert recurring_of({"dates": ["2026-12-01"], "from": "08:00", "to": "09:30"}) == Recurring(
        time(8), time(9, 30), dates=frozenset({date(2026, 12, 1)})
    )
    assert recurring_of(None) is None


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (-1, None),
        (0, None),  # midnight of Monday; the night of Sunday is not named
        (21 * 60, None),
        (22 * 60, 30 * 60),
        (22 * 60 + 1, 30 * 60),
        (29 * 60, 30 * 60),
        (30 * 60, None),
        (46 * 60, None),
    ],
)
def test_silence_that_recurs_holds_in_its_hours_past_midnight(at: int, until: int | None) -> None:
    """Mondays from 22 to 6 o'clock; T0 is midnight of Monday, 2026-11-23, in Shanghai."""
    recurs = silence(T0, T0 + 100 * HOUR, recurring=Recurring(time(22), time(6), frozenset({1})))
    assert recurs.until(T0 + at * MIN) == (None if until is None else T0 + until * MIN)


def test_silence_ends_at_its_last_moment_and_not_before_its_first() -> None:
    quiet = silence(T0, T0 + HOUR)
    assert (quiet.until(T0 - 1), quiet.until(T0), quiet.until(T0 + HOUR - 1), quiet.until(T0 + HOUR)) == (
        None,
        T0 + HOUR,
        T0 + HOUR,
        None,
    )


def test_silence_that_is_ended_early_lets_go_then() -> None:
    drive = Drive(VOLTAGE, silences=(silence(T0, T0 + HOUR),))
    run(drive, (1, 1, 260))
    drive.silences = (silence(T0, T0 + 10 * MIN),)
    drive.reload()
    assert sent(drive.until(T0 + 20 * MIN)) == [("meter.high", 10 * MIN)]


def test_silence_that_follows_another_keeps_it_held() -> None:
    second = replace(silence(T0 + 30 * MIN, T0 + HOUR), id="s2")
    drive = Drive(VOLTAGE, silences=(silence(T0, T0 + 30 * MIN), second))
    run(drive, (1, 1, 260))
    found = drive.until(T0 + 2 * HOUR)
    assert held(found) == [("silence:s2",)]
    assert sent(found) == [("meter.high", HOUR)]


def test_silence_holds_what_a_sent_alert_would_open_anew() -> None:
    drive = Drive(VOLTAGE, GRAVER, silences=(silence(T0 + 10 * MIN, T0 + HOUR),), restarting=True)
    assert sent(run(drive, (0, 1, 260))) == [("meter.high", 0)]
    again = [one for one in run(drive, (20, 1, 280)) if isinstance(one, Repeat)]
    assert [one.held for one in again] == [("silence:s1",)]
    assert not suppressed(run(drive, (21, 1, 200)))


# inhibition


@pytest.mark.parametrize(
    ("within", "mutes"),
    [
        (Within.BUILDING, True),
        (Within.GRID, True),
        (Within.COMMUNITY, True),
        (Within.UNIT, True),
        (Within.HOUSEHOLD, False),
        (Within.GATEWAY, False),
        (Within.DEVICE, False),
    ],
)
def test_inhibition_reaches_as_far_as_it_says(within: Within, mutes: bool) -> None:
    root = replace(ROOT, mutes=(Mutes(("meter.*",), within),))
    drive = Drive(VOLTAGE, root=root)
    found = run(drive, (0, ROOM, 20), (1, 1, 260))
    assert [bool(one.held) for one in found if isinstance(one, Raise)] == [False, mutes]


def test_inhibition_spares_other_families() -> None:
    drive = Drive(VOLTAGE, root=replace(ROOT, mutes=(Mutes(("*.offline",), Within.BUILDING),)))
    assert len(sent(run(drive, (0, ROOM, 20), (1, 1, 260)))) == 2


def test_inhibition_gives_consequences_time_to_recover_first() -> None:
    drive = Drive(VOLTAGE, root=ROOT)
    run(drive, (0, ROOM, 20), (1, 1, 260), (1, 2, 260), (10, ROOM, 0))
    found = run(drive, (11, 1, 200)) + drive.until(T0 + HOUR)
    assert len(suppressed(found)) == 1
    assert sent(found) == [("meter.high", 10 * MIN + grace_ms(60 * S))]


def test_inhibition_two_that_mute_each_other_are_not_both_lost() -> None:
    mutual = replace(VOLTAGE, mutes=(Mutes(("root",), Within.BUILDING),))
    drive = Drive(mutual, root=ROOT, restarting=True)
    assert sent(run(drive, (0, ROOM, 20), (1, 1, 260))) == [("root", 0)]


def test_inhibition_catches_what_is_still_waiting_for_something_else() -> None:
    """The meters' alerts come a moment before that of their cause; nobody was sent yet."""
    drive = Drive(ASKED, root=ROOT)
    run(drive, (0, 1, 260), (1, ROOM, 20))
    found = drive.until(T0 + HOUR)
    assert next(reasons_of(one) for one in found if isinstance(one, Hold)) == ("inhibited",)
    assert not sent(found)


def test_inhibition_grace_is_two_intervals_within_bounds() -> None:
    assert [grace_ms(seconds * S) // S for seconds in (5, 30, 60, 400, 450, 900)] == [60, 60, 120, 800, 900, 900]


# grouping


def test_group_is_worked_on_in_one_order_and_counts_once() -> None:
    drive = Drive(replace(VOLTAGE, group_by=Within.BUILDING), caps=Caps(6, 1), restarting=True)
    found = run(drive, *[(0, number, 260) for number in range(1, 7)])
    raised = [one for one in found if isinstance(one, Raise)]
    assert {one.group_key for one in raised} == {"meter.voltage|building:b1"}
    assert [one.opens for one in raised] == [True] + [False] * 5
    assert all(one.sends for one in raised)


def test_group_begins_anew_when_all_of_it_is_over() -> None:
    drive = Drive(replace(VOLTAGE, group_by=Within.BUILDING))
    found = run(drive, (0, 1, 260), (1, 2, 260), (2, 1, 200), (3, 3, 260), (4, 2, 200), (5, 3, 200), (6, 1, 260))
    assert [one.opens for one in found if isinstance(one, Raise)] == [True, False, False, True]


# flapping


def test_flapping_begins_after_five_openings_in_an_hour() -> None:
    drive = Drive(VOLTAGE)
    found = run(drive, *_flapping(), (10, 1, 260), (11, 1, 200), (12, 1, 260))
    assert [one.held for one in found if isinstance(one, Raise)] == [()] * 5 + [("flapping",)] * 2


def test_flapping_spread_over_hours_is_none() -> None:
    steps = [(minute * 8.0, 1, 260.0 if minute % 2 == 0 else 200.0) for minute in range(30)]
    found = run(Drive(VOLTAGE, caps=Caps(99, 99)), *steps)
    assert not held(found)


def test_flapping_ends_when_it_was_quiet_for_half_an_hour() -> None:
    drive = Drive(VOLTAGE, caps=Caps(99, 99))
    run(drive, *_flapping(), (10, 1, 260), (11, 1, 200))
    assert not held(run(drive, (11 + 60, 1, 260)))
    still = Drive(VOLTAGE, caps=Caps(99, 99))
    run(still, *_flapping(), (10, 1, 260), (11, 1, 200))
    assert held(run(still, (40, 1, 260))) == [("flapping",)]


def test_flapping_is_forgotten_in_time() -> None:
    drive = Drive(VOLTAGE, restarting=True)
    run(drive, *_flapping())
    drive.until(T0 + 3 * HOUR)
    assert not [key for key in drive.states if key[0].startswith("~")]


def test_flapping_state_is_bounded() -> None:
    state: dict[str, Any] | None = None
    for second in range(1000):
        state = flapping.opened(state, T0 + second)
    assert state is not None
    assert len(state["opens"]) == flapping.MOST_OPENINGS + 1


# caps


@pytest.mark.parametrize(
    ("sent_at", "limit", "now", "room"),
    [
        ([], 1, 0, 0),
        ([[0, 1]], 2, 10, 10),
        ([[0, 1]], 1, 10, HOUR),
        ([[0, 1]], 1, HOUR - 1, HOUR),
        ([[0, 1]], 1, HOUR, HOUR),
        ([[0, 1], [5, 1], [9, 1]], 2, 10, HOUR + 5),
        ([[0, 3], [5, 1]], 2, 10, HOUR),
        ([], 0, 10, 10 + HOUR),
    ],
)
def test_cap_room_comes_when_the_oldest_leaves_the_window(
    sent_at: list[list[int]], limit: int, now: int, room: int
) -> None:
    assert cap.room_at(sent_at, limit, now) == room


def test_cap_of_a_community_is_counted_by_the_minute() -> None:
    sent_at: list[list[int]] = []
    for second in range(0, 3 * 3600, 2):
        sent_at = cap.counted(sent_at, second * S, cap.STEP_MS)
    assert len(sent_at) <= 62
    assert sum(count for _, count in sent_at) >= 1800


def test_cap_grows_with_the_community() -> None:
    assert [cap.caps_of(devices).community for devices in (0, 600, 601, 20_000)] == [30, 30, 30, 1000]
    assert cap.caps_of(20_000, device=2, community=5) == Caps(2, 5)


def test_cap_lets_the_gravest_go_first_and_says_once_how_many_wait() -> None:
    drive = Drive(VOLTAGE, GRAVER, caps=Caps(6, 1), restarting=True)
    found = run(drive, (0, 1, 260), (1, 2, 260), (2, 3, 260), (3, 4, 280), (4, 5, 260))
    summary = [one for one in found if isinstance(one, Raise) and one.rule_id == "platform.capped"]
    assert [(one.subject, one.opens_order, one.trigger["suppressed"]) for one in summary] == [("community:c", False, 1)]
    said = [one.alert for one in found if isinstance(one, Repeat) and one.alert.rule_id == "platform.capped"]
    assert [alert.trigger["suppressed"] for alert in said] == [2, 4]
    out = [one.alert for one in drive.until(T0 + 4 * HOUR) if isinstance(one, Release)]
    assert [alert.subject for alert in out] == ["device:4", "device:2", "device:3"]


def test_cap_summary_is_over_when_nobody_waits_and_its_hour_is_over() -> None:
    drive = Drive(VOLTAGE, caps=Caps(6, 1))
    run(drive, (0, 1, 260), (1, 2, 260), (2, 2, 200))
    found = drive.until(T0 + 60 * MIN)
    assert not [one for one in found if isinstance(one, Clear)]
    found = drive.until(T0 + 62 * MIN)
    assert [one.at_ms - T0 for one in found if isinstance(one, Clear)] == [61 * MIN]
    assert len([one for one in drive.all if isinstance(one, Raise) and one.rule_id == "platform.capped"]) == 1


# settling


def test_settling_is_over_at_its_moment_and_new_alerts_after_it_go_at_once() -> None:
    drive = Drive(VOLTAGE, start=Start(T0, 30 * S))
    drive.read(1, T0 + 29 * S, voltage=260.0)
    drive.read(2, T0 + 30 * S, voltage=260.0)
    assert sent(drive.all) == [("meter.high", 30 * S), ("meter.high", 30 * S)]
    assert [one.held for one in drive.all if isinstance(one, Raise)] == [("settling",), ()]


def test_settling_engine_that_dies_again_and_again_still_sends() -> None:
    drive = Drive(VOLTAGE, start=Start(T0, 30 * S))
    drive.read(1, T0 + S, voltage=260.0)
    for second in range(10, 60, 10):
        drive.restart()
        drive.engine.alerts.book.start = Start(T0 + second * S, 30 * S)
        drive.until(T0 + second * S)
    assert sent(drive.all) == [("meter.high", 30 * S)]


def test_settling_what_came_and_went_in_one_turn_sends_nobody() -> None:
    drive = Drive(VOLTAGE, SAFETY)
    found: list[Decision] = []
    for second, volts, amps in ((0, 260.0, 60.0), (1, 200.0, 0.0), (2, 260.0, 0.0)):
        found += drive.read(1, T0 + second * S, voltage=volts, current=amps)
    assert sent(list(without_passed(found))) == [("meter.burning", 0), ("meter.high", 2 * S)]
    assert suppressed(list(without_passed(found))) == [("settling",)]
    assert without_passed(found[:1]) == tuple(found[:1])


# asking


def test_ask_goes_to_the_household_with_its_end() -> None:
    found = run(Drive(ASKED), (0, 1, 260))
    assert [(type(one)) for one in found] == [Raise, Asked]
    asked = found[1]
    assert isinstance(asked, Asked)
    assert (asked.household_id, asked.until_ms) == ("h1", T0 + 30 * MIN)


@pytest.mark.parametrize("restarting", [False, True])
def test_ask_answered_well_sends_nobody_until_it_worsens(restarting: bool) -> None:
    drive = Drive(ASKED, GRAVER, restarting=restarting)
    raised = run(drive, (0, 1, 260))[0]
    assert isinstance(raised, Raise)
    found = drive.answer(raised.id, True, T0 + 5 * MIN)
    assert [type(one) for one in found] == [Answered, Hold]
    assert not sent(drive.until(T0 + 5 * HOUR))
    assert sent(run(drive, (301, 1, 280))) == [("meter.higher", 301 * MIN)]


@pytest.mark.parametrize("restarting", [False, True])
def test_ask_answered_not_well_sends_at_once(restarting: bool) -> None:
    drive = Drive(ASKED, restarting=restarting)
    raised = run(drive, (0, 1, 260))[0]
    assert isinstance(raised, Raise)
    assert sent(drive.answer(raised.id, False, T0 + 5 * MIN)) == [("meter.high", 5 * MIN)]


def test_ask_may_be_answered_otherwise_afterwards() -> None:
    drive = Drive(ASKED)
    raised = run(drive, (0, 1, 260))[0]
    assert isinstance(raised, Raise)
    drive.answer(raised.id, True, T0 + 5 * MIN)
    assert sent(drive.answer(raised.id, False, T0 + 50 * MIN)) == [("meter.high", 50 * MIN)]


def test_ask_worsening_does_not_wait_for_an_answer() -> None:
    drive = Drive(ASKED, GRAVER)
    assert sent(run(drive, (0, 1, 260), (1, 1, 280))) == [("meter.higher", MIN)]


def test_ask_begins_only_when_nothing_else_holds_it() -> None:
    drive = Drive(ASKED, silences=(silence(T0, T0 + HOUR),))
    found = run(drive, (0, 1, 260)) + drive.until(T0 + 3 * HOUR)
    assert [one.until_ms - T0 for one in found if isinstance(one, Asked)] == [HOUR + 30 * MIN]
    assert sent(found) == [("meter.high", HOUR + 30 * MIN)]


def test_ask_answers_are_looked_for_only_while_somebody_is_asked() -> None:
    drive = Drive(ASKED)
    book = drive.engine.alerts.book
    assert (book.wants_answers(), book.wants_answers()) == (True, False)
    raised = run(drive, (0, 1, 260))[0]
    assert isinstance(raised, Raise)
    assert (book.wants_answers(), book.wants_answers()) == (True, True)
    drive.until(T0 + HOUR)
    assert (book.wants_answers(), book.wants_answers()) == (True, False)
    assert [type(one) for one in drive.answer(raised.id, True, T0 + HOUR)] == [Answered]


def test_hold_counts_say_how_many_wait_for_what() -> None:
    drive = Drive(ASKED, silences=(silence(T0, T0 + HOUR, devices=frozenset({"c-electricity_meter-2"})),))
    run(drive, (0, 1, 260), (0, 2, 260))
    found = {sort: count for sort, count in drive.engine.alerts.book.counts().items() if count}
    assert found == {"asking": 1, "silence": 1}
