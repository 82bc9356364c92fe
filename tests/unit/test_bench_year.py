"""A week of the year whose troubles are known, and the scorer that would tell if one were missed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from rich.console import Console

from bench.year.__main__ import FROM_MS, run
from bench.year.incident import DAY, MIN, Incident
from bench.year.planning import plan_year
from bench.year.score import Score, Scorer
from bench.year.town import Town, build_town
from services.adapters.rules import default_rulebook
from services.domain.engine.core import Engine
from services.domain.engine.decisions import Decision, Raise
from services.domain.engine.replay import replay
from services.domain.ids import RuleId
from services.domain.rules.evaluation import Event

AT = FROM_MS + 3 * DAY


def test_year_a_week_of_it_misses_nothing_and_says_nothing_for_nothing() -> None:
    _, score, items, _, unprovoked = run(8, 0.3, 1, seed=5, console=Console(quiet=True))
    rows = score.by_kind.values()
    assert items > 100_000
    assert sum(row.incidents for row in rows) > 40
    assert not score.missed
    assert not score.false
    assert sum(row.safety_found for row in rows) == sum(row.safety for row in rows) > 3
    assert not unprovoked


@pytest.fixture(scope="module")
def town() -> Town:
    return build_town(default_rulebook(), seed=1, scale=0.1)


@pytest.fixture(scope="module")
def said(town: Town) -> Raise:
    """What the engine says of an SOS."""
    number = town.numbers("sos_button")[0]
    engine = Engine(town.roster)
    engine.restore([], {})
    found: list[Decision] = []
    for decided in replay(engine, [Event(number, AT, AT + 100, "pressed")], AT + 1000):
        found += decided.decisions
    return next(one for one in found if isinstance(one, Raise))


def _trouble(town: Town, rule: str = "sos_button.pressed", real: bool = True) -> Incident:
    number = town.numbers(rule.split(".")[0])[0]
    return Incident(number, RuleId(rule), rule, True, real, AT, AT + MIN)


def _score(town: Town, incidents: list[Incident], *alerts: Raise) -> Score:
    scorer = Scorer(town, incidents)
    scorer.take(alerts)
    return scorer.finish()


def test_year_counts_what_was_found_missed_and_said_for_nothing(town: Town, said: Raise) -> None:
    trouble = _trouble(town)
    found = _score(town, [trouble], said)
    assert (found.by_kind["sos_button"].found, found.missed, found.false) == (1, [], [])
    assert found.delays_ms == [100]
    assert _score(town, [trouble]).missed == [trouble]
    assert _score(town, [], said).false == [said]
    assert _score(town, [trouble], replace(said, fired_ms=AT + 3 * DAY)).missed == [trouble]


def test_year_counts_an_alert_of_a_near_miss_as_said_for_nothing(town: Town, said: Raise) -> None:
    near = _trouble(town, real=False)
    assert _score(town, [near], said).false == [said]
    assert _score(town, [replace(near, rule_id=RuleId("sos_button.offline"))], said).by_kind["sos_button"].follow == 1


def test_year_never_plans_two_troubles_of_one_device_at_once(town: Town) -> None:
    planned, _ = plan_year(town, FROM_MS, FROM_MS + 60 * DAY, 2, seed=3)
    assert len(planned) > 100
    for number in town.rows:
        own = [incident for incident in planned if incident.device_no == number]
        assert all(before.to_ms < after.from_ms for before, after in pairwise(own))
