"""The engine is behind: the community is told, even though the engine has just started, and told when it is over."""

from __future__ import annotations

from services.adapters.rules import default_rulebook
from services.domain.devices import BY_NAME
from services.domain.engine.core import Engine
from services.domain.engine.decisions import Clear, Decision, Raise, Release, Repeat
from services.domain.engine.hold.settling import Start
from services.domain.engine.subjects import build_roster
from services.domain.ids import CommunityId, Partition
from services.domain.registered import CommunityRow
from services.domain.rules.evaluation import Line

T0 = 1_795_363_200_000
S = 1000
KEY = ("platform.delay", "community:c")


def engine(settling_s: int) -> Engine:
    community = CommunityRow(CommunityId("c"), "c", Partition(1), 29.7, 116.0, "Asia/Shanghai")
    one = Engine(build_roster(BY_NAME, default_rulebook(), [community], [], [], {}, Line()))
    one.alerts.book.start = Start(T0, settling_s * S)
    return one


def lagged(one: Engine, after_s: float, delay_s: float) -> list[Decision]:
    one.lagged(T0 + round(after_s * S), round(delay_s * S))
    return list(one.take().decisions)


def test_delay_fires_past_a_minute_says_when_it_is_worse_and_clears_below_ten_seconds() -> None:
    one = engine(0)
    assert lagged(one, 0, 60.0) == []
    (raised,) = lagged(one, 1, 60.001)
    assert isinstance(raised, Raise) and raised.sends
    assert (raised.rule_id, raised.subject) == KEY
    assert raised.onset_ms == T0 + S - 60_001
    assert raised.trigger["value"] == 60.001 and raised.trigger["limit_s"] == 60.0
    assert lagged(one, 2, 120.0) == []
    assert [type(made) for made in lagged(one, 3, 120.001)] == [Repeat]
    assert lagged(one, 4, 10.001) == []
    (over,) = lagged(one, 5, 10.0)
    assert isinstance(over, Clear) and over.at_ms == T0 + 5 * S and not over.suppressed
    assert KEY not in one.alerts.open


def test_delay_that_stands_is_sent_when_the_engine_has_settled_though_nobody_ticks() -> None:
    """While the log is not read to its end no clock runs, and just then it is to be told."""
    one = engine(60)
    (raised,) = lagged(one, 0, 300.0)
    assert isinstance(raised, Raise) and raised.held == ("settling",)
    assert lagged(one, 59.999, 300.0) == []
    (released,) = lagged(one, 60, 300.0)
    assert isinstance(released, Release) and released.was == ("settling",)
    assert lagged(one, 61, 300.0) == []
    (over,) = lagged(one, 90, 0.0)
    assert isinstance(over, Clear) and not over.suppressed


def test_delay_that_was_over_before_the_engine_settled_sends_nobody() -> None:
    one = engine(60)
    lagged(one, 0, 300.0)
    (over,) = lagged(one, 2, 0.0)
    assert isinstance(over, Clear) and over.suppressed == ("settling",)
    one.tick(T0 + 120 * S)
    assert one.take().decisions == ()
