"""The key figures against the published check vector, their words, and the days they are asked of."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from services.domain.kpis import (
    COCKPIT,
    COUNTED,
    FACT_BY_NAME,
    FIGURES,
    MEASURED,
    Days,
    Kpi,
    Much,
    Tally,
    kpis,
    present,
    share,
)
from services.domain.kpis.page import page

ROOT = Path(__file__).resolve().parents[2]


def figures(**counts: int) -> dict[str, Kpi]:
    return {one.name: one for one in kpis(Tally(counts))}


def test_kpis_meet_the_check_vector() -> None:
    """受理 1054, 立案 996, 应结案 972, 结案 911, 按期 737, 缓办 0."""
    found = figures(received=1054, filed=996, due=972, closed=911, closed_on_time=737, due_not_deferred=972)
    assert found["closing"].value == 93.72
    assert found["closing_on_time"].value == 75.82
    assert (found["received"].value, found["filed"].value) == (1054, 996)


def test_kpis_leave_deferred_orders_out_of_the_on_time_rate_alone() -> None:
    found = figures(due=972, deferred=72, due_not_deferred=900, closed=900, closed_on_time=720)
    assert found["closing_on_time"].value == 80.0
    assert found["closing"].value == round(100 * 900 / 972, 2)


def test_kpis_of_nothing_are_unknown_not_zero_or_hundred() -> None:
    for one in kpis(Tally()):
        counted = next(figure for figure in FIGURES if figure.name == one.name).sort == "count"
        assert (one.value == 0.0) if counted else (one.value is None), one.name
    assert present(4, 0, 0)[1].value is None


def test_kpis_carry_the_counts_they_were_made_of() -> None:
    found = figures(accept_1min_judged=8, accepted_1min=7, alert_ended=20, false_alarm=1)
    assert (found["accept_1min"].value, found["accept_1min"].numerator, found["accept_1min"].denominator) == (
        87.5,
        7,
        8,
    )
    assert found["false_alarms"].value == 5.0
    alerts, devices = present(4, 40, 39)
    assert (alerts.value, devices.value) == (4.0, 97.5)


def test_kpis_that_are_means_and_sums_divide_by_their_own_orders() -> None:
    tally = Tally(
        {"filed": 4, "received": 5},
        {"rating": Much(3, 13.0, None), "escalations": Much(4, 6.0, None), "accept_s": Much(4, 100.0, 61.5)},
    )
    found = {one.name: one for one in kpis(tally)}
    assert (found["satisfaction"].value, found["satisfaction"].denominator) == (4.333, 3)
    assert (found["escalations"].value, found["escalations"].numerator, found["escalations"].denominator) == (1.5, 6, 4)
    assert (found["accept_mean"].value, found["accept_p90"].value) == (25.0, 61.5)


def test_kpis_share_is_percent_with_two_decimals() -> None:
    assert share(1, 3) == 33.33
    assert share(0, 5) == 0.0
    assert share(0, 0) is None
    assert share(1, -1) is None


def test_every_figure_says_how_it_is_made_and_names_facts_that_exist() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names)
    for figure in FIGURES:
        assert figure.label.zh and figure.label.en and figure.formula.zh and figure.formula.en
        assert FACT_BY_NAME[figure.over].measured == (figure.sort in ("mean", "p90", "per"))
        if figure.under is not None:
            assert not FACT_BY_NAME[figure.under].measured
        assert (figure.under is None) == (figure.sort in ("count", "mean", "p90"))
    assert [figure.name for figure in COCKPIT] == [
        "accept_1min",
        "arrive_10min",
        "closing",
        "closing_on_time",
        "false_alarms",
    ]


def test_every_fact_is_a_column_of_the_one_function_and_is_counted() -> None:
    function = (ROOT / "migrations" / "0022_add_order_figures.sql").read_text()
    columns = dict(re.findall(r"(\w+) (boolean|double precision)", function.partition("LANGUAGE")[0]))
    assert dict.fromkeys(COUNTED, "boolean") | dict.fromkeys(MEASURED, "double precision") == columns
    counting = (ROOT / "services" / "adapters" / "figures" / "queries.sql").read_text()
    for name in COUNTED:
        assert f"count(*) FILTER (WHERE f.{name}) AS {name}" in counting, name
    for name in MEASURED:
        assert f"count(f.{name}) AS {name}_count, coalesce(sum(f.{name}), 0) AS {name}_sum" in counting, name


def test_page_of_the_figures_is_the_domain_s() -> None:
    """Written anew by `python -m services.domain.kpis.page > docs/kpis.md`."""
    assert (ROOT / "docs" / "kpis.md").read_text(encoding="utf-8") == page()


def test_month_is_its_local_days() -> None:
    days = Days.month("2026-02")
    assert (days.first, days.last) == (date(2026, 2, 1), date(2026, 2, 28))
    assert days.month_before == Days(date(2026, 1, 1), date(2026, 1, 31))
    assert Days.month("2026-01").month_before == Days(date(2025, 12, 1), date(2025, 12, 31))
    assert days.bounds("Asia/Shanghai") == (
        datetime(2026, 1, 31, 16, tzinfo=UTC),
        datetime(2026, 2, 28, 16, tzinfo=UTC),
    )
    assert len(days.days) == 28


def test_local_days_know_of_summer_time() -> None:
    """A day of 23 hours and one of 25."""
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25)):
        start, end = Days(day, day).bounds("Europe/Berlin")
        assert (end - start).total_seconds() == hours * 3600


@pytest.mark.parametrize("text", ["2026-13", "2026", "abc", "2026-1-1", "", "9999-12"])
def test_what_is_no_month_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="2026-10"):
        Days.month(text)
