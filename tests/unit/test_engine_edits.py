"""What becomes of an open alert when its rule is edited: at once in a running engine, and over a restart the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.domain.devices import BY_NAME
from services.domain.engine.core import Engine
from services.domain.engine.decisions import Clear, Decision, Ease, OpenAlert, Raise, Repeat, StateChange
from services.domain.engine.edits import NO_RULE, OTHER_WATCH, shape_of
from services.domain.engine.subjects import Seen
from services.domain.ids import RuleId
from services.domain.rules import parameters as p
from services.domain.rules.evaluation import Item
from services.domain.rules.parameters import Compare
from services.domain.rules.rule import Mode, Rule, Scope
from services.domain.rules.rulebook import Rulebook
from services.domain.vocabulary import Label, Severity, Team
from tests.unit.test_alerts_core import T0, S, decided, reading, roster

UP = Compare.AT_LEAST
TILT = p.ThresholdParameters("tilt", UP, 10, for_s=10)
RULE = Rule(RuleId("manhole.lean"), Label("斜", "leans"), Severity.MINOR, Team.GENERAL, TILT, family="manhole.lean")
MANHOLE = 4
Swap = Callable[[Engine, Rule | None], Engine]


def engine_of(rule: Rule | None, opened: Any = ()) -> Engine:
    return Engine(roster(rulebook=Rulebook({"manhole": (rule,) if rule else ()})), opened)


def tilted(at: int, tilt: float = 20.0, **more: float) -> Item:
    return reading(MANHOLE, "manhole", T0 + at * S, 0, tilt=tilt, **more)


def running(before: Engine, rule: Rule | None) -> Engine:
    """As the worker does when the registry tells of a new version."""
    after = engine_of(rule, before.alerts.open.values())
    after.carry_over(before)
    return after


def restarted(before: Engine, rule: Rule | None) -> Engine:
    """As a new process finds it in the database."""
    states = [
        StateChange(id, subject.key, json.loads(json.dumps(state)), subject.rules.by_id[id].shape)
        for subject in before.roster.subjects()
        for id, state in subject.states.items()
    ]
    opened = [replace_open(alert) for alert in before.alerts.open.values()]
    after = engine_of(rule, opened)
    seen = {
        number: Seen(
            one.facts.seen_ms, one.facts.online, one.facts.online_since_ms, one.facts.session, one.facts.made_ms
        )
        for number, one in before.roster.devices.items()
    }
    after.restore(states, seen)
    return after


def replace_open(a: OpenAlert) -> OpenAlert:
    return OpenAlert(
        a.id,
        a.family,
        a.subject,
        a.severity,
        a.state,
        list(a.active),
        a.correlation,
        a.onset_ms,
        a.life_safety,
        a.shadow,
    )


@pytest.fixture(params=[running, restarted], ids=["running", "restarted"])
def swap(request: pytest.FixtureRequest) -> Swap:
    change: Swap = request.param
    return change


def standing(rule: Rule = RULE) -> tuple[Engine, Raise]:
    engine = engine_of(rule)
    found = decided(engine, tilted(0), tilted(10))
    assert isinstance(found[-1], Raise)
    return engine, found[-1]


def after(engine: Engine, *items: Item, at: int = 20) -> list[Decision]:
    """The first tick after the edit, then what comes."""
    engine.tick(T0 + at * S)
    return [*engine.take().decisions, *decided(engine, *items)]


def edited(rule: Rule = RULE, **parameters: Any) -> Rule:
    return replace(rule, version=2, parameters=replace(rule.parameters, **parameters))


def test_edit_that_lengthens_for_leaves_the_alert_open(swap: Swap) -> None:
    engine, _ = standing()
    changed = swap(engine, edited(for_s=600.0))
    assert after(changed, tilted(60)) == []
    assert [type(one) for one in after(changed, tilted(90, 0))] == [Clear]


def test_edit_that_lengthens_for_makes_what_is_pending_wait_as_long(swap: Swap) -> None:
    engine = engine_of(RULE)
    decided(engine, tilted(0))
    changed = swap(engine, edited(for_s=40.0))
    assert after(changed, tilted(20), tilted(39)) == []
    assert [type(one) for one in after(changed, tilted(40), at=40)] == [Raise]


def test_edit_that_raises_the_limit_is_judged_by_the_next_reading(swap: Swap) -> None:
    engine, raised = standing()
    changed = swap(engine, edited(limit=30.0))
    assert after(changed) == []
    over = after(changed, tilted(30))[0]
    assert isinstance(over, Clear) and (over.id, over.reason) == (raised.id, "")


def test_edit_that_makes_it_graver_tells_whoever_is_on_the_way(swap: Swap) -> None:
    engine, raised = standing()
    changed = swap(engine, replace(RULE, version=2, severity=Severity.CRITICAL))
    worse = after(changed)[0]
    assert isinstance(worse, Repeat)
    assert (worse.alert.id, worse.worse, worse.alert.rule_version) == (raised.id, Severity.CRITICAL, 2)
    assert after(changed, tilted(30)) == []


def test_edit_that_makes_it_milder_eases_the_alert(swap: Swap) -> None:
    engine, raised = standing(replace(RULE, severity=Severity.CRITICAL))
    eased = after(swap(engine, replace(RULE, version=2)))[0]
    assert isinstance(eased, Ease) and (eased.id, eased.severity) == (raised.id, Severity.MINOR)


@pytest.mark.parametrize(
    "rule",
    [None, replace(RULE, mode=Mode.OFF), replace(RULE, scope=Scope(device_tags=frozenset({"deep"})))],
    ids=["removed", "off", "out of scope"],
)
def test_edit_that_removes_the_rule_clears_the_alert_and_says_why(swap: Swap, rule: Rule | None) -> None:
    engine, _ = standing()
    changed = swap(engine, rule)
    cleared = after(changed)
    assert [(type(one), getattr(one, "reason", "")) for one in cleared] == [(Clear, NO_RULE)]
    assert not changed.alerts.open
    assert after(changed, tilted(60), tilted(90)) == []


def test_edit_of_what_is_watched_clears_and_starts_anew(swap: Swap) -> None:
    engine, raised = standing()
    changed = swap(engine, edited(metric="level_cm") if "level_cm" in metrics() else edited(metric=metrics()[1]))
    cleared = after(changed)[0]
    assert isinstance(cleared, Clear) and (cleared.id, cleared.reason) == (raised.id, OTHER_WATCH)
    other = metrics()[1]
    again = decided(changed, tilted(60, 0, **{other: 50.0}), tilted(70, 0, **{other: 50.0}))
    assert [type(one) for one in again] == [Raise]
    assert isinstance(again[0], Raise) and again[0].onset_ms == T0 + 60 * S


def metrics() -> list[str]:
    return [metric.name for metric in BY_NAME["manhole"].metrics]


def test_edit_to_another_kind_of_rule_starts_anew(swap: Swap) -> None:
    engine, raised = standing()
    changed = swap(engine, replace(RULE, version=2, parameters=p.NOfMParameters("tilt", UP, 10, 2, 3)))
    cleared, again = after(changed, tilted(30), tilted(35))
    assert isinstance(cleared, Clear) and (cleared.id, cleared.reason) == (raised.id, OTHER_WATCH)
    assert isinstance(again, Raise) and again.onset_ms == T0 + 30 * S


def test_rule_off_trial_speaks_up_about_what_stands(swap: Swap) -> None:
    engine, tried = standing(replace(RULE, mode=Mode.SHADOW))
    assert tried.shadow
    found = after(swap(engine, replace(RULE, version=2)), tilted(30), tilted(40))
    assert [type(one) for one in found] == [Clear, Raise]
    assert isinstance(found[1], Raise) and not found[1].shadow


def test_edit_of_the_family_moves_what_stands_into_it(swap: Swap) -> None:
    engine, raised = standing()
    changed = swap(engine, replace(RULE, version=2, family="manhole.trouble"))
    cleared, again = after(changed, tilted(30), tilted(40))
    assert isinstance(cleared, Clear) and (cleared.id, cleared.reason) == (raised.id, NO_RULE)
    assert isinstance(again, Raise) and again.family == "manhole.trouble"
    assert [type(one) for one in after(changed, tilted(60, 0), at=50)] == [Clear]


def test_edit_of_words_alone_changes_nothing(swap: Swap) -> None:
    engine, _ = standing()
    changed = swap(engine, replace(RULE, version=2, title=Label("倾", "tilts"), note="said better"))
    assert after(changed, tilted(30)) == []
    assert [type(one) for one in after(changed, tilted(60, 0))] == [Clear]


def test_edit_ends_the_pause_of_a_failing_rule() -> None:
    engine = engine_of(RULE)
    subject = engine.roster.devices[MANHOLE]  # type: ignore[index]
    subject.remember(RULE.id, {"phase": "?"})
    decided(engine, tilted(0))
    assert len(engine.aside)
    assert running(engine, RULE).aside
    assert not running(engine, edited(limit=15.0)).aside


def test_shape_tells_what_is_watched_and_not_from_where_on() -> None:
    assert shape_of(RULE) == shape_of(edited(limit=99.0, for_s=1.0, clear_limit=5.0))
    assert shape_of(RULE) != shape_of(edited(compare=Compare.AT_MOST))
    daily = p.ConsumptionParameters("total", 60, UP, 1)
    others: list[p.Parameters] = [
        daily,
        replace(daily, every_s=10.0),
        p.EventParameters("a"),
        p.EventParameters("b"),
        p.OfflineParameters(),
    ]
    assert len({shape_of(replace(RULE, parameters=one)) for one in others}) == len(others)
