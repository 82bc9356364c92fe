"""Cases of city management: the file is whole, every code says its state, and events carry what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from services.adapters.city.municipal import CASES, cases, load_municipal
from services.adapters.reports.files import load_categories
from services.domain.city import OutboxRow, make
from services.domain.city.municipal import CaseSort, CodeState, Municipal
from services.domain.devices import CATALOGUE
from tests.city_kit import alert_data, order_data

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def document() -> Any:
    return yaml.safe_load(CASES.read_text(encoding="utf-8"))


def test_municipal_every_kind_and_category_has_a_case_or_a_reason() -> None:
    found = load_municipal()
    kinds = [*(one.kinds for one in found.cases), *(one.kinds for one in found.apart)]
    categories = [*(one.categories for one in found.cases), *(one.categories for one in found.apart)]
    assert {name for some in kinds for name in some} == {kind.name for kind in CATALOGUE}
    assert {name for some in categories for name in some} == set(load_categories())


def test_municipal_every_code_states_that_nobody_has_compared_it_with_the_standard() -> None:
    """Whoever buys the text and compares it changes this count, and names themself in the file."""
    found = load_municipal()
    states = [one.state for one in found.cases]
    assert states.count(CodeState.CHECKED) == sum(one.checked_by is not None for one in found.cases) == 0
    assert states.count(CodeState.DRAFT) == 10 and states.count(CodeState.MISSING) == 2
    codes = [(one.sort, one.major, one.minor) for one in found.cases if one.minor is not None]
    assert len(set(codes)) == len(codes)
    assert [one.codes for one in found.standards] == [True, False]
    assert set(found.classes) == set(CaseSort)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": "checked"}, "names who has checked it"),
        ({"checked_by": "somebody"}, "names who has checked it"),
        ({"minor": None}, "a code is missing"),
        ({"state": "missing"}, "a code is missing"),
        ({"minor": "5"}, "minor"),
        ({"class": "07"}, "there is no class 07"),
        ({"kinds": ["manhole"]}, "manhole stands twice"),
        ({"categories": ["noise"]}, "noise stands twice"),
        ({"colour": "red"}, "colour"),
        ({"sort": "thing"}, "sort"),
    ],
)
def test_municipal_file_that_contradicts_itself_is_refused(change: dict[str, Any], told: str) -> None:
    whole = document()
    whole["cases"][0] |= change
    with pytest.raises(ValidationError, match=told):
        Municipal.model_validate(whole)


def test_municipal_case_stands_in_events() -> None:
    def data(type: str, said: dict[str, Any]) -> Any:
        return make(OutboxRow(7, AT, type, "test", "x", said), [], cases=cases()).data

    case = data("alert.raised", alert_data(kind="bin"))["case"]
    assert case == {
        "standard": "CJ/T 214-2007", "sort": "component", "major": "03", "minor": "05", "state": "draft",
        "name": {"zh": "垃圾箱", "en": "Waste bin"},
    }  # fmt: skip
    assert data("order.dispatch", order_data(kind="illegal_parking"))["case"]["sort"] == "event"
    assert data("order.dispatch", order_data(kind="manhole"))["case"]["minor"] is None
    assert data("alert.raised", alert_data(kind="gas_alarm"))["case"] is None
    assert data("alert.raised", alert_data(kind="wristband", health=True))["case"] is None
    assert "case" not in data("report.created", {"report_id": "p", "order_id": "o", "kind": "bin"})
