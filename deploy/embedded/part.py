"""One long-running process of the stack: started, checked, stopped, killed, frozen."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals

from deploy.embedded import sandbox
from deploy.embedded.errors import StackError
from deploy.embedded.locks import Lock
from deploy.embedded.processes import ProcessId, descendants, die_with_parent

KEPT_LOGS = 3
LOG_LIMIT_BYTES = 64 * 1024 * 1024


class Part:
    """Start it from a thread that lives as long as the part: it dies with that thread.

    The process inherits a lock (`run/<name>.lock`), so whoever can take the lock knows that no process of an earlier
    launcher is left, not even one that is still dying.
    """

    stop_signal = SIGTERM
    stop_timeout_s = 20.0
    ready_timeout_s = 60.0
    sandboxed = False

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.log = home / "logs" / f"{name}.log"
        self.lock_path = home / "run" / f"{name}.lock"
        self.started_at = 0.0
        self._outer: subprocess.Popen[bytes] | None = None
        self._main: ProcessId | None = None

    # what a kind of part says of itself
    def command(self, info_fd: int | None) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return {}

    def prepare(self) -> None:
        """Called with the lock held, before each start."""

    def waiting_for(self) -> str | None:
        """None when it does its work, otherwise what is missing. Called while it is alive."""
        return None

    def trouble(self) -> str | None:
        """What threatens its work though it runs; asked while it is watched, so it must cost next to nothing."""
        return None

    # what is done with it
    def start(self) -> None:
        """Starts it and returns at once. Raises StackError when an earlier one does not let go."""
        if self.alive:
            return
        lock = Lock.take(self.lock_path, timeout_s=15)
        if lock is None:
            raise StackError(f"an earlier {self.name} is still running and holds {self.lock_path}", log=self.log)
        try:
            self.prepare()
            rotate(self.log)
            self._spawn(lock)
        finally:
            lock.release()

    def _spawn(self, lock: Lock) -> None:
        told, tell = os.pipe() if self.sandboxed else (-1, -1)
        keep = (lock.descriptor, tell) if self.sandboxed else (lock.descriptor,)
        try:
            with self.log.open("ab") as out:
                self._outer = subprocess.Popen(
                    self.command(tell if self.sandboxed else None),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=dict(self.environment()),
                    pass_fds=keep,
                    start_new_session=True,
                    preexec_fn=die_with_parent(),
                )
        except OSError as error:
            raise StackError(f"{self.name} cannot be started: {error}", log=self.log) from error
        finally:
            if tell >= 0:
                os.close(tell)
        self.started_at = time.monotonic()
        pid: int | None = self._outer.pid
        if told >= 0:
            pid = _child_pid(told)
            os.close(told)
        self._main = ProcessId.of(pid) if pid else None

    @property
    def alive(self) -> bool:
        return self._outer is not None and self._outer.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._outer.poll() if self._outer else None

    @property
    def processes(self) -> list[ProcessId]:
        """To be recorded: the sandbox and the program in it, or the program alone."""
        outer = ProcessId.of(self._outer.pid) if self._outer and self.alive else None
        return [process for process in dict.fromkeys((self._main, outer)) if process and process.alive]

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Raises StackError when it ends, or is not ready in time; the message says what it was waiting for."""
        limit = self.ready_timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + limit
        pause = 0.02
        while True:
            if not self.alive:
                raise self.ended()
            waiting = self.waiting_for()
            if waiting is None and self.alive:
                return
            if time.monotonic() >= deadline:
                raise StackError(f"{self.name} is not ready after {limit:g} s: {waiting}", log=self.log)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)

    def ended(self) -> StackError:
        return self.failure(f"{self.name} ended with {describe_exit(self.exit_code)}")

    def failure(self, what: str) -> StackError:
        """With what to do, where the log tells."""
        error = StackError(what, log=self.log)
        if any(line.startswith("bwrap:") for line in error.last_lines()):
            error.hint = sandbox.HINT
        return error

    def signal(self, number: Signals) -> bool:
        """Signals the program itself, not its sandbox."""
        return self._main is not None and self._main.send(number)

    def ask_to_stop(self) -> None:
        if self.alive:
            self.thaw()
            self.signal(self.stop_signal)

    def stop(self) -> None:
        """Asks it to finish, waits, and kills it if it does not."""
        if self._outer is None:
            return
        if self.alive:
            self.ask_to_stop()
            try:
                self._outer.wait(self.stop_timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._outer.wait()

    def kill(self) -> None:
        """As a crash or the kernel's memory killer would: no warning. Returns when it is gone."""
        if self._outer is None:
            return
        if self._main is not None:
            self._main.send(SIGKILL)
        if self._outer.poll() is None:
            self._outer.kill()
        self._outer.wait()
        # The sandbox may be gone a moment before what was in it.
        lock = Lock.take(self.lock_path, timeout_s=15)
        if lock is not None:
            lock.release()

    def freeze(self) -> None:
        """Stops it in mid-work, with all it started: it neither answers nor closes its connections."""
        self._signal_all(SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(SIGCONT)

    def _signal_all(self, number: Signals) -> None:
        if self._main is None:
            return
        self._main.send(number)
        for pid in descendants(self._main.pid):
            process = ProcessId.of(pid)
            if process is not None:
                process.send(number)

    def trim_log(self) -> None:
        """Moves the log aside while it is written to, once it is long. A line may be lost in that moment."""
        try:
            if self.log.stat().st_size > LOG_LIMIT_BYTES:
                aside = self.log.with_name(f"{self.log.name}.1")
                shutil.copyfile(self.log, aside)
                os.truncate(self.log, 0)
        except OSError:
            return


def rotate(path: Path) -> None:
    """Begins a new log and keeps the last few."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_size == 0:
        return
    for number in range(KEPT_LOGS - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))


def describe_exit(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code < 0:
        return f"signal {Signals(-code).name}"
    return f"exit code {code}"


def _child_pid(descriptor: int, timeout_s: float = 10.0) -> int | None:
    """bwrap's {"child-pid": n}; None when it ended before it could say so."""
    told = b""
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([descriptor], [], [], left)
        if not readable:
            return None
        more = os.read(descriptor, 4096)
        told += more
        if not more or b"}" in told:
            break
    try:
        return int(json.loads(told)["child-pid"])
    except (ValueError, KeyError):
        return None
