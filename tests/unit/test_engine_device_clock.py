"""A slow clock is told from a delay: it raises its own alert, and the calls of its device are answered."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from services.domain.engine.core import Engine
from services.domain.engine.decisions import Clear, Decision, Raise, StateChange
from services.domain.engine.device_clock import DRIFT, LEARNED_AFTER_MS, SLOW_MS, STEADY_MS, learn
from services.domain.ids import DeviceNo
from tests.unit.test_alerts_core import HOUR, MIN, T0, S, decided, event, reading, roster

WRIST = 5
BEAT = 5 * MIN


def worn(at: int, delay: int, hr: float = 70.0) -> Decision:
    """What the server receives `at` after T0, written down `delay` before."""
    return reading(WRIST, "wristband", T0 + at - delay, delay, heart_rate=hr)  # type: ignore[return-value]


def beats(engine: Engine, minutes: range, delay: int, hr: float = 70.0) -> list[Decision]:
    return decided(engine, *(worn(minute * MIN, delay, hr) for minute in minutes))  # type: ignore[arg-type]


def raised(found: Sequence[Decision]) -> list[str]:
    return [one.rule_id for one in found if isinstance(one, Raise)]


def call(engine: Engine, at: int, delay: int) -> list[str]:
    return raised(decided(engine, event(WRIST, "sos", T0 + at - delay, delay)))


def test_call_of_a_device_whose_clock_is_slow_is_answered_when_it_comes() -> None:
    engine = Engine(roster())
    slow = 3 * HOUR
    told = beats(engine, range(0, 61, 5), slow)
    assert raised(told) == ["wristband.clock"]
    fault = next(one for one in told if isinstance(one, Raise))
    assert fault.trigger["value"] == -slow / S
    assert call(engine, 62 * MIN, slow) == ["wristband.sos"]
    # It is fresh, so its readings count as well.
    assert raised(beats(engine, range(65, 81, 5), slow, 140.0)) == ["wristband.heart_rate_very_high"]


def test_clock_that_was_set_right_is_told_and_forgotten() -> None:
    engine = Engine(roster())
    beats(engine, range(0, 61, 5), 3 * HOUR)
    found = beats(engine, range(65, 70, 5), S)
    assert [type(one) for one in found] == [Clear]
    assert engine.roster.devices[DeviceNo(WRIST)].drift is None
    assert call(engine, 71 * MIN, 3 * HOUR) == []


def test_call_before_the_clock_is_known_is_late() -> None:
    engine = Engine(roster())
    beats(engine, range(0, 56, 5), 3 * HOUR)
    assert call(engine, 57 * MIN, 3 * HOUR) == []


def test_backlog_that_catches_up_is_a_delay_however_long_it_takes() -> None:
    """A gateway that was away for three hours and sends twice as fast as its devices speak."""
    engine = Engine(roster())
    found = []
    for beat in range(40):
        delay = 3 * HOUR - beat * BEAT
        found += decided(engine, worn(beat * BEAT, max(delay, S), 140.0))  # type: ignore[arg-type]
        if delay > HOUR:
            assert call(engine, beat * BEAT + S, delay) == []
    assert "wristband.clock" not in raised(found)


def test_backlog_behind_a_slow_clock_is_late_by_what_it_waited() -> None:
    engine = Engine(roster())
    beats(engine, range(0, 61, 5), 3 * HOUR)
    assert call(engine, 65 * MIN, 3 * HOUR + 61 * MIN) == []
    assert call(engine, 66 * MIN, 3 * HOUR + 59 * MIN) == ["wristband.sos"]


def test_clock_is_known_over_a_restart() -> None:
    engine = Engine(roster())
    decided(engine, *(worn(minute * MIN, 3 * HOUR) for minute in range(0, 61, 5)))  # type: ignore[arg-type]
    fresh = Engine(roster())
    drift = engine.roster.devices[DeviceNo(WRIST)].drift
    assert drift is not None
    fresh.restore([StateChange(DRIFT, f"device:{WRIST}", json.loads(json.dumps(drift.as_state())))], {})
    assert call(fresh, 62 * MIN, 3 * HOUR) == ["wristband.sos"]
    later = Engine(roster())
    later.carry_over(fresh)
    assert call(later, 63 * MIN, 3 * HOUR) == ["wristband.sos"]


def test_what_is_learned_is_committed() -> None:
    engine = Engine(roster())
    engine.apply(worn(0, HOUR))  # type: ignore[arg-type]
    assert [change.rule_id for change in engine.take().states if change.rule_id == DRIFT] == [DRIFT]
    engine.apply(worn(BEAT, S))  # type: ignore[arg-type]
    assert (DRIFT, None) in [(change.rule_id, change.state) for change in engine.take().states]


@pytest.mark.parametrize(
    ("delays", "every", "offset"),
    [
        ([SLOW_MS] * 20, 5 * MIN, None),
        ([SLOW_MS + 1] * 13, 5 * MIN, SLOW_MS + 1),
        ([SLOW_MS + 1] * 12, 5 * MIN, 0),
        ([HOUR] * 4, LEARNED_AFTER_MS // 3, HOUR),
        ([HOUR] * 3, LEARNED_AFTER_MS, 0),
        ([HOUR, HOUR + STEADY_MS] * 7, 5 * MIN, HOUR),
        ([HOUR, HOUR + STEADY_MS + 1] * 7, 5 * MIN, 0),
    ],
    ids=["in time", "steady", "not yet an hour", "four", "only three", "jitter", "too much jitter"],
)
def test_what_counts_as_steady(delays: list[int], every: int, offset: int | None) -> None:
    drift = None
    for place, delay in enumerate(delays):
        received = T0 + place * every
        drift = learn(drift, received - delay, received)
    assert (None if drift is None else drift.offset_ms) == offset
