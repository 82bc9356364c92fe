"""The key figures against the published check vector."""

from __future__ import annotations

from dataclasses import replace

from services.domain.kpis import Counts, kpis, share

NONE = Counts(
    due=0,
    deferred=0,
    closed=0,
    closed_on_time=0,
    accept_judged=0,
    accepted_in_1min=0,
    arrive_judged=0,
    arrived_in_10min=0,
    ended_alert_orders=0,
    false_alarms=0,
    open_alerts=0,
    devices=0,
    devices_online=0,
)


def values(counts: Counts) -> dict[str, float | None]:
    return {kpi.name: kpi.value for kpi in kpis(counts)}


def test_kpis_meet_the_check_vector() -> None:
    """受理 1054, 立案 996, 应结案 972, 结案 911, 按期 737, 缓办 0."""
    found = values(replace(NONE, due=972, closed=911, closed_on_time=737))
    assert found["closing"] == 93.72
    assert found["closing_on_time"] == 75.82


def test_kpis_leave_deferred_orders_out_of_the_on_time_rate_alone() -> None:
    found = values(replace(NONE, due=972, deferred=72, closed=900, closed_on_time=720))
    assert found["closing_on_time"] == 80.0
    assert found["closing"] == round(100 * 900 / 972, 2)


def test_kpis_of_nothing_are_unknown_not_zero_or_hundred() -> None:
    assert [name for name, value in values(NONE).items() if value is not None] == ["open_alerts"]
    assert values(replace(NONE, due=3, deferred=3))["closing_on_time"] is None


def test_kpis_carry_the_counts_they_were_made_of() -> None:
    counts = replace(
        NONE,
        accept_judged=8,
        accepted_in_1min=7,
        arrive_judged=6,
        arrived_in_10min=3,
        devices=40,
        devices_online=39,
        ended_alert_orders=20,
        false_alarms=1,
        open_alerts=4,
    )
    found = {kpi.name: kpi for kpi in kpis(counts)}
    assert (found["accept_1min"].value, found["accept_1min"].numerator, found["accept_1min"].denominator) == (
        87.5,
        7,
        8,
    )
    assert found["arrive_10min"].value == 50.0
    assert found["devices_online"].value == 97.5
    assert found["false_alarms"].value == 5.0
    assert found["open_alerts"].value == 4.0
    assert all(kpi.label.zh and kpi.label.en and kpi.formula.zh and kpi.formula.en for kpi in found.values())


def test_kpis_share_is_percent_with_two_decimals() -> None:
    assert share(1, 3) == 33.33
    assert share(0, 5) == 0.0
    assert share(0, 0) is None
    assert share(1, -1) is None
