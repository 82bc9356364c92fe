"""The time that decisions are made by: wall time that a jump of the server's clock does not move.

Deadlines, silence and lateness are judged by it. It stands on two clocks of the kernel: the wall (CLOCK_REALTIME),
which administrators, NTP and hypervisors set, and the boot clock (CLOCK_BOOTTIME), which nobody sets and which counts
suspends. What lies between them hardly changes; when it does, that is followed:

- by up to `JUMP_MS`: drift. Our time slews towards the wall by at most one part in a hundred, and never goes back;
- by more: a jump. Our time goes on as if nothing had happened, and says so. A wall that has stood by its new time for
  `hold_s` is believed: one step, counted in `steps`, after which everything is judged by the new time. One that
  returned meanwhile has done nothing.

Two processes of a host that run agree to the millisecond, for both stand on the same two clocks. One that starts while
a jump is held knows it by the `Anchor` that the others keep in a file; without the file it sees the new time alone, and
differs from the others until their hold ends.

Where there is no CLOCK_BOOTTIME (not Linux) the monotonic clock stands in. It does not count suspends there, so that
after one the wall seems to have jumped ahead by its length: it is believed after `hold_s`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from prometheus_client import Counter, Gauge

log = structlog.get_logger(__name__)

JUMP_MS = 5_000
"""More than this is not drift: NTP slews what is less than 0.128 s and steps the rest; hands are slower than that."""
SLEW = 100
"""One millisecond in so many."""
_NS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

JUMP_SECONDS = Gauge(
    "linhub_clock_jump_seconds", "How far the server's wall clock has jumped from the time in use; 0 when it has not"
)
STEPS = Counter("linhub_clock_steps_total", "Times a new wall time was taken over after it had stood long enough")


@dataclass(frozen=True, slots=True)
class Reading:
    """Both clocks at one moment, ns. What lies between them is what a jump moves."""

    wall_ns: int
    boot_ns: int

    @property
    def apart_ns(self) -> int:
        return self.wall_ns - self.boot_ns


@dataclass(frozen=True, slots=True)
class Jump:
    """The wall stands `by_ms` from the time in use (ahead: positive), since `since_ns` of the boot clock."""

    apart_ns: int
    by_ms: int
    since_ns: int


@dataclass(frozen=True, slots=True)
class Step:
    """The new wall time was taken over: our time moved by so much at once."""

    by_ms: int


@dataclass(frozen=True, slots=True)
class Anchor:
    """What another process of this boot holds, or held at `at_ns` of the boot clock."""

    apart_ns: int
    at_ns: int
    jumped_apart_ns: int | None = None
    jumped_since_ns: int = 0


class Steady:
    """The arithmetic, without clocks of its own: tell it regularly what both clocks read."""

    def __init__(self, first: Reading, hold_s: float = 600.0, anchor: Anchor | None = None) -> None:
        self._hold_ns = round(hold_s * 1_000_000_000)
        self._apart_ns = first.apart_ns
        self._looked_ns = first.boot_ns
        self.jump: Jump | None = None
        if anchor is not None and 0 <= first.boot_ns - anchor.at_ns <= self._hold_ns:
            # Held by somebody until just now; what nobody has held for so long, a wall may well have left for good.
            self._apart_ns = anchor.apart_ns
            self._looked_ns = anchor.at_ns
            if anchor.jumped_apart_ns is not None:
                self.jump = self._jumped(anchor.jumped_apart_ns, anchor.jumped_since_ns)
            self.look(first)

    def ms(self, boot_ns: int) -> int:
        """Epoch ms at that moment of the boot clock."""
        return (boot_ns + self._apart_ns) // _NS

    def look(self, now: Reading) -> Step | None:
        """Follows drift, notices a jump, ends one that stood for long enough: then the step that was made."""
        elapsed_ns = max(0, now.boot_ns - self._looked_ns)
        self._looked_ns = now.boot_ns
        off_ns = now.apart_ns - self._apart_ns
        if abs(off_ns) <= JUMP_MS * _NS:
            self.jump = None
            most_ns = elapsed_ns // SLEW
            self._apart_ns += max(-most_ns, min(most_ns, off_ns))
            return None
        if self.jump is None or abs(now.apart_ns - self.jump.apart_ns) > JUMP_MS * _NS:
            # A wall that goes on jumping stands by nothing: the hold begins anew.
            self.jump = self._jumped(now.apart_ns, now.boot_ns)
        if now.boot_ns - self.jump.since_ns < self._hold_ns:
            return None
        self._apart_ns, self.jump = now.apart_ns, None
        return Step(off_ns // _NS)

    def _jumped(self, apart_ns: int, since_ns: int) -> Jump:
        return Jump(apart_ns, (apart_ns - self._apart_ns) // _NS, since_ns)

    def anchor(self) -> Anchor:
        """For those who start after us."""
        if self.jump is None:
            return Anchor(self._apart_ns, self._looked_ns)
        return Anchor(self._apart_ns, self._looked_ns, self.jump.apart_ns, self.jump.since_ns)


_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def read_boot_ns() -> int:
    return time.clock_gettime_ns(_BOOT_CLOCK)


def wall_ms() -> int:
    """Epoch ms as the wall says, jumps and all: for tools that run for a moment."""
    return time.time_ns() // _NS


def read_clocks() -> Reading:
    """The wall between two looks at the boot clock; a process that was stopped in between looks again."""
    while True:
        before = read_boot_ns()
        wall = time.time_ns()
        after = read_boot_ns()
        if after - before < _NS:
            return Reading(wall, (before + after) // 2)


class SteadyClock:
    """The clock of one process. `now_ms` costs one reading; `keep` has to run beside its work, it looks at the wall.

    `steps` grows with each step. Whoever counts silence counts it anew then (`Engine.listen`). Work orders need
    nothing: a step up the ladder is owed by its deadline, whichever time it is, and has a key that is used once.
    """

    def __init__(
        self,
        hold_s: float = 600.0,
        file: Path | None = None,
        clocks: Callable[[], Reading] = read_clocks,
        boot_ns: Callable[[], int] = read_boot_ns,
    ) -> None:
        self._clocks, self._boot_ns, self._file = clocks, boot_ns, file
        self._steady = Steady(clocks(), hold_s, _load(file))
        self._said: Jump | None = None
        self.steps = 0
        self._say(None)

    def now_ms(self) -> int:
        """Epoch ms."""
        return self._steady.ms(self._boot_ns())

    def now(self) -> datetime:
        return _EPOCH + timedelta(milliseconds=self.now_ms())

    @property
    def jump_ms(self) -> int:
        """How far the wall stands from the time in use, while a jump is held; else 0."""
        return self._steady.jump.by_ms if self._steady.jump is not None else 0

    def look(self) -> Step | None:
        step = self._steady.look(self._clocks())
        if step is not None:
            self.steps += 1
            STEPS.inc()
        self._say(step)
        return step

    def _say(self, step: Step | None) -> None:
        jump = self._steady.jump
        JUMP_SECONDS.set(jump.by_ms / 1000 if jump is not None else 0)
        if step is not None:
            log.error("clock_stepped", by_s=step.by_ms / 1000, doing="going on with the new time")
        elif jump is not None and (self._said is None or self._said.apart_ns != jump.apart_ns):
            log.error("clock_jumped", by_s=jump.by_ms / 1000, doing="going on with the time from before")
        elif jump is None and self._said is not None:
            log.warning("clock_returned", doing="going on")
        self._said = jump

    async def keep(self, every_s: float = 1.0) -> None:
        """For ever: looks at the wall, and leaves word for processes that start meanwhile."""
        while True:
            self.look()
            if self._file is not None:
                await asyncio.to_thread(_save, self._file, self._steady.anchor())
            await asyncio.sleep(every_s)


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""


def _load(file: Path | None) -> Anchor | None:
    """None where there is none, of another boot, or nothing that makes sense."""
    if file is None or not (boot := _boot_id()):
        return None
    try:
        told = json.loads(file.read_text())
        if told.pop("boot") != boot:
            return None
        anchor = Anchor(**told)
        numbers = [anchor.apart_ns, anchor.at_ns, anchor.jumped_since_ns, anchor.jumped_apart_ns or 0]
        return anchor if all(type(number) is int for number in numbers) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("clock_file_unreadable", file=str(file), why=f"{type(error).__name__}: {error}")
        return None


def _save(file: Path, anchor: Anchor) -> None:
    """A process that reads meanwhile finds the old or the new one, whole."""
    own = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        own.write_text(json.dumps({"boot": _boot_id(), **asdict(anchor)}))
        own.replace(file)
    except OSError as error:
        log.warning("clock_file_not_written", file=str(file), why=str(error))
