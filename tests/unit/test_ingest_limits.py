"""The flood limiter against a token bucket in exact fractions, and what it promises to honest publishers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.domain.messages import Lane
from services.ingest.limits import SPECIMENS_A_MINUTE, Flood, Limiter, Limits, Rate

NOW = 1_795_000_000_000
SMALL = Limits(telemetry=Rate(10, 5), events=Rate(4, 3), calls=Rate(1, 2))

rates = st.sampled_from([1, 2, 4, 5, 10, 20, 100, 250, 1000])
"""Divisors of a million: of these a message's price is a whole number of microseconds, so the oracle is exact."""


class Bucket:
    """The textbook's token bucket."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.tokens = Fraction(rate.burst)
        self.at_ms = NOW

    def admit(self, now_ms: int) -> bool:
        self.tokens = min(
            Fraction(self.rate.burst), self.tokens + Fraction(now_ms - self.at_ms, 1000) * self.rate.per_s
        )
        self.at_ms = now_ms
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@given(
    per_s=rates,
    burst=st.integers(1, 40),
    said=st.lists(st.tuples(st.integers(0, 1500), st.sampled_from("abc")), max_size=200),
)
@example(per_s=1000, burst=1, said=[(0, "a"), (0, "a"), (1, "a")])
@settings(max_examples=300)
def test_admits_what_a_token_bucket_admits(per_s: int, burst: int, said: list[tuple[int, str]]) -> None:
    rate = Rate(per_s, burst)
    limiter = Limiter(Limits(telemetry=rate))
    oracle = {name: Bucket(rate) for name in "abc"}
    now = NOW
    for gap, name in said:
        now += gap
        assert limiter.admit(name, now, Lane.TELEMETRY) == oracle[name].admit(now)


@given(
    said=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30)), max_size=150),
    most=st.integers(64, 100),
)
def test_forgetting_who_owes_nothing_changes_nothing(said: list[tuple[int, int]], most: int) -> None:
    tight, roomy = Limiter(SMALL, most=most), Limiter(SMALL)
    now = NOW
    for gap, who in said:
        now += gap
        assert tight.admit(str(who), now, Lane.EVENT) == roomy.admit(str(who), now, Lane.EVENT)
    assert len(tight) <= 2 * most


@given(per_s=st.integers(1, 1000), burst=st.integers(1, 50), gaps=st.lists(st.integers(0, 50), max_size=300))
def test_never_more_than_burst_and_rate_in_any_window(per_s: int, burst: int, gaps: list[int]) -> None:
    limiter = Limiter(Limits(events=Rate(per_s, burst)))
    admitted = []
    now = NOW
    for gap in gaps:
        now += gap
        if limiter.admit("a", now, Lane.EVENT):
            admitted.append(now)
    for first, start in enumerate(admitted):
        for count, end in enumerate(admitted[first:], 1):
            assert count <= burst + (end - start) * per_s / 1000


@given(st.integers(1, 400), st.integers(0, 3000))
def test_the_first_event_after_quiet_passes_however_long_the_flood(per_ms: int, lasted_ms: int) -> None:
    limiter = Limiter()
    now = NOW
    for now in range(NOW, NOW + lasted_ms, 37):
        for _ in range(per_ms):
            limiter.admit("mad", now, Lane.EVENT)
    quiet_ms = 1000 // limiter.limits.events.per_s
    assert limiter.admit("mad", now + quiet_ms, Lane.EVENT)


def test_a_flood_of_a_thousand_a_second_is_cut_to_the_rate_and_nobody_else_is() -> None:
    limiter = Limiter()
    mad = honest = 0
    for ms in range(60_000):
        mad += limiter.admit("mad", NOW + ms, Lane.TELEMETRY)
        if ms % 1000 == 0:
            for device in range(50):
                honest += limiter.admit(f"honest-{device}", NOW + ms, Lane.TELEMETRY)
    rate = limiter.limits.telemetry
    assert mad == pytest.approx(rate.burst + 60 * rate.per_s, abs=2)
    assert honest == 50 * 60


def test_a_gateway_may_send_hours_of_batches_at_full_speed() -> None:
    """Six hours of a batch every ten seconds, as fast as a line carries them."""
    limiter = Limiter()
    assert all(limiter.admit("gateway", NOW + n // 10, Lane.TELEMETRY) for n in range(6 * 360))


def test_a_bridge_has_more_for_each_device_behind_it() -> None:
    limiter = Limiter()
    admitted = sum(
        limiter.admit("bridge", NOW + second * 1000 + n, Lane.TELEMETRY, behind=5_000)
        for second in range(60)
        for n in range(1000)
        for _ in range(4)
    )
    assert admitted == 60 * 4000
    assert sum(limiter.admit("city", NOW, Lane.TELEMETRY, behind=10**9) for _ in range(10_000)) == 10_000


def test_lanes_have_buckets_of_their_own() -> None:
    limiter = Limiter(SMALL)
    while limiter.admit("a", NOW, Lane.TELEMETRY):
        pass
    assert limiter.admit("a", NOW, Lane.EVENT)


def test_somebody_elses_noise_hides_no_call_for_help() -> None:
    limiter = Limiter(SMALL)
    while limiter.admit("gateway", NOW, Lane.EVENT):
        pass
    assert limiter.admit_call("quiet-detector-behind-it", NOW)
    calls = sum(limiter.admit_call("stuck-button", NOW + ms) for ms in range(0, 10_000, 10))
    assert calls == SMALL.calls.burst + 9


@pytest.mark.parametrize("back_ms", [1, 999, 3_600_000])
def test_a_clock_set_back_stops_nobody(back_ms: int) -> None:
    limiter = Limiter(SMALL)
    assert limiter.admit("honest", NOW, Lane.TELEMETRY)
    assert limiter.admit("honest", NOW - back_ms, Lane.TELEMETRY)
    flood = sum(limiter.admit("mad", NOW, Lane.TELEMETRY) for _ in range(100))
    again = sum(limiter.admit("mad", NOW - 3_600_000 + ms, Lane.TELEMETRY) for ms in range(1000))
    assert (flood, again) == (5, 10)


def test_memory_is_bounded_with_a_million_publishers() -> None:
    limiter = Limiter()
    largest = 0
    for n in range(1_000_000):
        assert limiter.admit(f"device-{n}", NOW + n // 50, Lane.TELEMETRY)
        largest = max(largest, len(limiter)) if n % 1000 == 0 else largest
    assert largest <= 8_192 + 1
    swarm = Limiter(Limits(telemetry=Rate(1, 1)), most=1_000)
    for n in range(20_000):
        swarm.admit(f"mad-{n}", NOW, Lane.TELEMETRY)
        swarm.admit(f"mad-{n}", NOW, Lane.TELEMETRY)
    assert len(swarm) <= 2_001


def test_where_too_many_owe_those_that_owe_most_are_remembered() -> None:
    limiter = Limiter(Limits(telemetry=Rate(1, 10)), most=100)
    for _ in range(10):
        limiter.admit("worst", NOW, Lane.TELEMETRY)
    for n in range(1_000):
        limiter.admit(f"once-{n}", NOW, Lane.TELEMETRY)
    assert not limiter.admit("worst", NOW, Lane.TELEMETRY)


def test_floods_are_told_once_a_minute_and_counted_whole() -> None:
    limiter = Limiter(SMALL)
    told: list[tuple[int, Flood]] = []
    refused = 0
    for ms in range(0, 150_000, 20):
        refused += not limiter.admit("mad", NOW + ms, Lane.TELEMETRY)
        told += [(ms, flood) for flood in limiter.floods(NOW + ms)]
    assert [ms // 60_000 for ms, _ in told] == [0, 1, 2]
    told += [(0, flood) for flood in limiter.floods(NOW + 220_000)]
    assert sum(flood.count for _, flood in told) == refused
    assert all(flood.publisher == "mad" and flood.since_ms <= flood.last_ms for _, flood in told)
    assert limiter.floods(NOW + 300_000) == []
    assert limiter.floods(NOW + 400_000) == []
    limiter.admit("mad", NOW + 400_000, Lane.TELEMETRY)
    assert len(limiter) == 1


def test_the_first_few_refused_of_a_minute_are_specimens() -> None:
    limiter = Limiter(SMALL)
    start = NOW - NOW % 60_000
    kept: dict[int, int] = {0: 0, 1: 0}
    for ms in range(0, 120_000, 25):
        if not limiter.admit("mad", start + ms, Lane.TELEMETRY):
            kept[ms // 60_000] += limiter.is_specimen("mad", start + ms)
            limiter.floods(start + ms)
    assert kept == {0: SPECIMENS_A_MINUTE, 1: SPECIMENS_A_MINUTE}


@pytest.mark.parametrize("rate", [(0, 1), (1, 0), (2_000_000, 1), (-5, 5)])
def test_a_rate_that_cannot_be_is_refused(rate: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="a rate is"):
        Rate(*rate)


def test_what_queued_up_while_nobody_listened_is_no_flood() -> None:
    limiter = Limiter(Limits(telemetry=Rate(10, 20)))
    minute_ms = 60_000
    limiter.forgive(10 * minute_ms, NOW)
    queued = 10 * 60 * 10
    admitted = sum(limiter.admit("meter", NOW + n // 100, Lane.TELEMETRY) for n in range(2 * queued))
    assert queued <= admitted <= queued + 20 + 10 * 2 * queued // 100_000 + 10
    assert limiter.admit("another", NOW, Lane.TELEMETRY)


def test_forgiveness_ends() -> None:
    limiter = Limiter(Limits(telemetry=Rate(10, 20)))
    limiter.forgive(5_000, NOW)
    later = NOW + 60_000
    assert sum(limiter.admit("meter", later, Lane.TELEMETRY) for _ in range(200)) == 20
    assert not limiter.admit("meter", later, Lane.TELEMETRY)
