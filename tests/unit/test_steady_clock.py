"""The clock for decisions: what drift, jumps, suspends and restarts do to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.adapters.steady_clock import JUMP_MS, Reading, Steady, SteadyClock, Step, read_boot_ns, read_clocks

S = 1_000_000_000
T0_MS = 1_790_000_000_000
HOLD_S = 600


class Host:
    """Both clocks of a machine; `wait` lets them run, `jump` sets the wall."""

    def __init__(self) -> None:
        self.wall_ns, self.boot_ns = T0_MS * 1_000_000, 5_000 * S

    def wait(self, seconds: float) -> None:
        self.wall_ns += round(seconds * S)
        self.boot_ns += round(seconds * S)

    def jump(self, seconds: float) -> None:
        self.wall_ns += round(seconds * S)

    def read(self) -> Reading:
        return Reading(self.wall_ns, self.boot_ns)

    def boot(self) -> int:
        return self.boot_ns

    def run(self, steady: Steady, seconds: int) -> Iterator[Step]:
        """A look a second."""
        for _ in range(seconds):
            self.wait(1)
            if step := steady.look(self.read()):
                yield step


def off_ms(host: Host, steady: Steady) -> int:
    """Ours less the wall."""
    return steady.ms(host.boot_ns) - host.wall_ns // 1_000_000


def test_a_wall_that_does_nothing_is_followed_exactly() -> None:
    host = Host()
    steady = Steady(host.read())
    assert list(host.run(steady, 5_000)) == []
    assert off_ms(host, steady) == 0
    assert steady.ms(host.boot_ns) == T0_MS + 5_000_000


@pytest.mark.parametrize("by_s", [3_600, -3_600, 6, -6])
def test_a_jump_does_not_move_us_until_it_has_stood(by_s: int) -> None:
    host = Host()
    steady = Steady(host.read(), HOLD_S)
    assert list(host.run(steady, 10)) == []
    host.jump(by_s)
    assert list(host.run(steady, HOLD_S)) == []
    assert off_ms(host, steady) == -by_s * 1000
    assert steady.jump is not None
    assert steady.jump.by_ms == by_s * 1000
    assert list(host.run(steady, 1)) == [Step(by_s * 1000)]
    assert off_ms(host, steady) == 0
    assert steady.jump is None
    assert list(host.run(steady, 2 * HOLD_S)) == []


@pytest.mark.parametrize("by_s", [3_600, -3_600])
def test_a_jump_that_goes_back_has_done_nothing(by_s: int) -> None:
    host = Host()
    steady = Steady(host.read(), HOLD_S)
    host.jump(by_s)
    assert list(host.run(steady, HOLD_S - 1)) == []
    host.jump(-by_s)
    assert list(host.run(steady, 2 * HOLD_S)) == []
    assert off_ms(host, steady) == 0
    assert steady.jump is None


def test_a_wall_that_goes_on_jumping_is_not_believed() -> None:
    host = Host()
    steady = Steady(host.read(), HOLD_S)
    for by_s in (3_600, -7_200, 3_500, 500):
        host.jump(by_s)
        assert list(host.run(steady, HOLD_S - 1)) == []
    assert off_ms(host, steady) == -400_000
    assert list(host.run(steady, 2)) == [Step(400_000)]


@pytest.mark.parametrize("by_ms", [JUMP_MS, -JUMP_MS, 130, -130])
def test_drift_is_slewed_and_time_never_goes_back(by_ms: int) -> None:
    host = Host()
    steady = Steady(host.read(), HOLD_S)
    host.jump(by_ms / 1000)
    before = steady.ms(host.boot_ns)
    needed_s = abs(by_ms) // 10
    for second in range(needed_s + 1):
        assert list(host.run(steady, 1)) == []
        now = steady.ms(host.boot_ns)
        assert 985 <= now - before <= 1015, f"second {second}"
        before = now
    assert off_ms(host, steady) == 0


def test_one_millisecond_more_than_drift_is_a_jump() -> None:
    host = Host()
    steady = Steady(host.read(), HOLD_S)
    host.jump((JUMP_MS + 1) / 1000)
    assert list(host.run(steady, 60)) == []
    assert off_ms(host, steady) == -(JUMP_MS + 1)


def test_a_suspend_is_counted_by_both_clocks_and_is_no_jump() -> None:
    host = Host()
    steady = Steady(host.read(), HOLD_S)
    host.wait(8 * 3_600)
    assert steady.look(host.read()) is None
    assert steady.jump is None
    assert off_ms(host, steady) == 0


def test_a_suspend_that_the_boot_clock_misses_is_taken_over_after_the_hold() -> None:
    """A virtual machine that was paused, or a host without CLOCK_BOOTTIME: the wall is set ahead afterwards."""
    host = Host()
    steady = Steady(host.read(), HOLD_S)
    host.jump(8 * 3_600)
    assert list(host.run(steady, HOLD_S + 1)) == [Step(8 * 3_600_000)]


def test_a_wrong_time_at_boot_that_is_put_right_is_taken_over() -> None:
    host = Host()
    host.wall_ns = 0
    steady = Steady(host.read(), HOLD_S)
    host.wall_ns = T0_MS * 1_000_000
    assert list(host.run(steady, HOLD_S + 1)) == [Step(T0_MS)]
    assert off_ms(host, steady) == 0


def test_a_hold_is_counted_while_the_process_stood_still() -> None:
    host = Host()
    steady = Steady(host.read(), HOLD_S)
    host.jump(3_600)
    assert list(host.run(steady, 1)) == []
    host.wait(HOLD_S)
    assert steady.look(host.read()) == Step(3_600_000)


# Several processes of a host


def test_two_that_started_apart_agree() -> None:
    host = Host()
    first = Steady(host.read(), HOLD_S)
    assert list(host.run(first, 100)) == []
    second = Steady(host.read(), HOLD_S)
    host.jump(-3_600)
    for _ in range(HOLD_S - 1):
        host.wait(1)
        assert first.look(host.read()) is second.look(host.read()) is None
        assert first.ms(host.boot_ns) == second.ms(host.boot_ns)


def clock(host: Host, file: Path | None = None) -> SteadyClock:
    return SteadyClock(HOLD_S, file, host.read, host.boot)


async def leave_word(one: SteadyClock) -> None:
    """Written once: nothing is on its way any more when this returns."""
    assert one._file is not None
    keeping = asyncio.create_task(one.keep(3_600))
    async with asyncio.timeout(60):
        while not one._file.exists():  # noqa: ASYNC110 - nothing tells of a file
            await asyncio.sleep(0.002)
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


async def test_one_that_starts_during_a_jump_holds_what_the_others_hold(tmp_path: Path) -> None:
    host, file = Host(), tmp_path / "clock"
    old = clock(host, file)
    host.jump(3_600)
    host.wait(100)
    await leave_word(old)
    host.wait(200)
    new = clock(host, file)
    assert new.jump_ms == 3_600_000
    assert new.now_ms() == old.now_ms()
    host.wait(HOLD_S - 201)
    assert new.look() is old.look() is None
    host.wait(1)
    assert new.look() == old.look() == Step(3_600_000)
    assert new.now_ms() == old.now_ms() == host.wall_ns // 1_000_000


async def test_one_that_starts_without_the_file_sees_the_new_time_alone(tmp_path: Path) -> None:
    host = Host()
    old = clock(host)
    host.jump(3_600)
    assert clock(host).now_ms() - old.now_ms() == 3_600_000


async def test_what_nobody_has_held_for_the_hold_is_forgotten(tmp_path: Path) -> None:
    host, file = Host(), tmp_path / "clock"
    await leave_word(clock(host, file))
    host.wait(HOLD_S + 1)
    host.jump(3_600)
    assert clock(host, file).now_ms() == host.wall_ns // 1_000_000


async def test_a_jump_while_nobody_ran_is_noticed_by_the_next(tmp_path: Path) -> None:
    host, file = Host(), tmp_path / "clock"
    await leave_word(clock(host, file))
    host.wait(30)
    host.jump(-3_600)
    assert clock(host, file).jump_ms == -3_600_000


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"boot": "other"}', '{"boot": "MINE", "apart_ns": "x", "at_ns": 1}']
)
async def test_a_file_that_makes_no_sense_is_no_anchor(tmp_path: Path, text: str) -> None:
    host, file = Host(), tmp_path / "clock"
    await leave_word(clock(host, file))
    boot = json.loads(file.read_text())["boot"]
    file.write_text(text.replace("MINE", boot))
    host.jump(3_600)
    assert clock(host, file).now_ms() == host.wall_ns // 1_000_000


async def test_a_file_that_cannot_be_written_hurts_nobody(tmp_path: Path) -> None:
    host = Host()
    one = clock(host, tmp_path / "missing" / "clock")
    with capture_logs() as logs:
        keeping = asyncio.create_task(one.keep(0.001))
        async with asyncio.timeout(60):
            while sum(line["event"] == "clock_file_not_written" for line in logs) < 2:  # noqa: ASYNC110 - a log
                await asyncio.sleep(0.002)
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping
    assert one.now_ms() == host.wall_ns // 1_000_000


# What it says


def jump_shown() -> float:
    return REGISTRY.get_sample_value("linhub_clock_jump_seconds") or 0.0


def test_a_jump_is_shown_and_a_step_counted() -> None:
    host = Host()
    one = clock(host)
    assert jump_shown() == 0
    host.jump(-3_600)
    host.wait(1)
    assert one.look() is None
    assert jump_shown() == one.jump_ms / 1000 == -3_600
    host.wait(HOLD_S)
    assert one.look() == Step(-3_600_000)
    assert (one.steps, one.jump_ms, jump_shown()) == (1, 0, 0)


def test_the_real_clocks_are_read_close_together() -> None:
    one = SteadyClock()
    # The nearest of some: between any two looks the machine may turn to something else.
    assert min(abs(one.now_ms() - read_clocks().wall_ns // 1_000_000) for _ in range(20)) <= 5
    assert min(abs(one.now().timestamp() * 1000 - one.now_ms()) for _ in range(20)) <= 5
    assert read_boot_ns() > 0
