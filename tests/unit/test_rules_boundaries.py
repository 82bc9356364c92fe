"""Every rule kind at its boundaries (their tables are in boundaries/): plainly, over restarts, and with everything told
twice. A new kind without its table stops here."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from services.domain.engine.core import LATE_MS, LATE_SAFETY_MS
from services.domain.rules import KINDS
from services.domain.rules.evaluation import OVERTAKEN_MS, Facts
from tests.unit.boundaries.table import BOUNDARIES, Case, Table
from tests.unit.rules_support import Fold, spoken

KIND_OF = {kind.step.__module__.rpartition(".")[2]: kind.parameters for kind in KINDS}
TABLES: dict[str, Table] = {
    path.stem: import_module(f"tests.unit.boundaries.{path.stem}").table()
    for path in sorted((Path(__file__).parent / "boundaries").glob("*.py"))
    if path.stem in KIND_OF
}
CASES = [
    pytest.param(case, id=f"{kind}: {name}")
    for kind, table in TABLES.items()
    for name, case in table.items()
    if isinstance(case, Case)
]


def told(case: Case, *, restarts: bool = False, twice: bool = False) -> Fold:
    fold = Fold(case.rule, Facts(**{"interval_ms": 60_000, **case.facts}), restarts)
    fold.run([item for item in case.items for _ in range(1 + twice)], case.until_s)
    return fold


def test_boundaries_every_kind_has_every_one() -> None:
    assert set(TABLES) == set(KIND_OF)
    for kind, table in TABLES.items():
        assert tuple(table) == BOUNDARIES, kind
        assert sum(isinstance(case, Case) for case in table.values()) > 3, f"{kind} shows too little"
        assert all(type(case.rule) is KIND_OF[kind] for case in table.values() if isinstance(case, Case))


@pytest.mark.parametrize("case", CASES)
def test_boundaries_rule_says_what_it_must(case: Case) -> None:
    fold = told(case)
    assert spoken(fold.said) == case.says
    onsets = [signal.onset_ms for signal in fold.said if signal.what == "fire"]
    assert len(set(onsets)) == len(onsets), "two alerts of one onset are one alert"


@pytest.mark.parametrize("case", CASES)
def test_boundaries_restart_changes_nothing(case: Case) -> None:
    plain, restarted = told(case), told(case, restarts=True)
    assert restarted.said == plain.said
    assert restarted.state == plain.state


@pytest.mark.parametrize("case", CASES)
def test_boundaries_telling_twice_changes_nothing(case: Case) -> None:
    assert spoken(told(case, twice=True).said) == case.says


def test_boundaries_what_is_over_is_remembered_as_long_as_anything_older_can_page() -> None:
    assert max(LATE_SAFETY_MS, LATE_MS) <= OVERTAKEN_MS
