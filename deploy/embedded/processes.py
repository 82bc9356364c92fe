"""Processes named so that a number used again by somebody else is never mistaken for ours."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_START_FIELD = 19
"""starttime is field 22 of /proc/pid/stat; counting begins after the name, at field 3."""
_libc = ctypes.CDLL(None, use_errno=True)


@lru_cache(maxsize=1)
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process: its number, the clock tick it started at, and the boot that tick counts from."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """None when there is no such process, or only its remains."""
        fields = _stat(pid)
        if fields is None or fields[0] == "Z":
            return None
        return cls(pid, int(fields[_START_FIELD]), boot_id())

    @classmethod
    def from_json(cls, told: Any) -> ProcessId | None:
        try:
            return cls(int(told["pid"]), int(told["started"]), str(told["boot"]))
        except (KeyError, TypeError, ValueError):
            return None

    def to_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "started": self.started, "boot": self.boot}

    @property
    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Signals this process and no later one of the same number; whether there was one to signal.

        The descriptor is opened before the identity is checked: a number cannot change hands in between.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if not self.alive:
                return False
            signal.pidfd_send_signal(descriptor, number)
            return True
        except OSError:
            return False
        finally:
            os.close(descriptor)


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(0), [])
        found += below
        waiting += below
    return found


def end(processes: Iterable[ProcessId], *, patience_s: float = 5.0) -> list[ProcessId]:
    """Asks each to stop, kills those that have not after `patience_s`; returns those that were there."""
    there = [process for process in processes if process.send(signal.SIGTERM)]
    deadline = time.monotonic() + patience_s
    while any(process.alive for process in there) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in there:
        process.send(signal.SIGKILL)
    deadline = time.monotonic() + patience_s
    while any(process.alive for process in there) and time.monotonic() < deadline:
        time.sleep(0.02)
    return there


def die_with_parent() -> Callable[[], None]:
    """For `preexec_fn`: the child is killed when the thread that started it ends, however that happens."""
    parent = os.getpid()

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def raise_file_limit() -> int:
    """Lets this process and its children open as many files as the machine allows; the limit that now holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft
