"""What an alert says set it off: each kind of rule what it looks for, and nothing that it does not have."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from services.domain.devices import BY_NAME
from services.domain.engine.compiled import compile_rule
from services.domain.engine.trigger import _TELLS, trigger_of
from services.domain.ids import RuleId
from services.domain.rules import BY_PARAMETERS
from services.domain.rules import parameters as p
from services.domain.rules.evaluation import Signal, What
from services.domain.rules.rule import Rule
from services.domain.vocabulary import Label, Severity, Team

METER = "electricity_meter"
HEAD = {"rule", "rule_version", "ts_ms", "metric", "unit", "value"}


def trigger(parameters: p.Parameters, kind: str = METER) -> dict[str, Any]:
    rule = Rule(RuleId("test"), Label("测试", "test"), Severity.MINOR, Team.DESK, parameters)
    return trigger_of(compile_rule(BY_NAME[kind], rule), Signal(What.FIRE, 5, 1, 7.0), None)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        (p.ThresholdParameters("power", p.Compare.AT_MOST, 3.0, 60.0), {"limit": 3.0, "compare": "<=", "for_s": 60.0}),
        (p.ThresholdParameters("power", p.Compare.AT_LEAST, 3.0), {"limit": 3.0, "compare": ">="}),
        (p.NOfMParameters("power", p.Compare.AT_LEAST, 3.0, 2, 4), {"limit": 3.0, "compare": ">=", "n": 2, "m": 4}),
        (p.ScheduleParameters("power", 1.0), {"expect": 1.0, "for_s": 600.0}),
        (p.BaselineParameters("power", floor=1.0), {"sigmas": 6.0, "direction": "both"}),
        (p.SilenceParameters("power", 90.0), {"for_s": 90.0}),
        (
            p.WindowParameters("power", p.Aggregate.MEAN, 90.0, p.Compare.AT_LEAST, 3.0),
            {"aggregate": "mean", "limit": 3.0, "compare": ">=", "window_s": 90.0},
        ),
        (p.RateParameters("power", p.Compare.AT_MOST, -3.0, 9.0), {"limit": -3.0, "compare": "<=", "within_s": 9.0}),
    ],
)
def test_trigger_of_a_metric_tells_what_its_kind_looks_for(parameters: p.Parameters, told: dict[str, Any]) -> None:
    found = trigger(parameters)
    assert (found["metric"], found["unit"], found["value"]) == ("power", "W", 7.0)
    assert {name: value for name, value in found.items() if name not in HEAD} == told


def test_trigger_of_other_kinds_has_no_metric_limit_or_comparison() -> None:
    assert trigger(p.DelayParameters()).keys() == {"rule", "rule_version", "ts_ms", "value", "limit_s"}
    assert trigger(p.EventParameters("tamper")).keys() == {"rule", "rule_version", "ts_ms", "value"}
    assert trigger(p.OfflineParameters())["missed"] == 3


def test_trigger_knows_the_parameters_it_tells_of() -> None:
    for sort, names in _TELLS.items():
        assert sort in BY_PARAMETERS
        assert set(names) <= {one.name for one in fields(sort)}
