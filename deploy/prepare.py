"""Everything `make demo` and `make test` need on a bare Debian or Ubuntu, installed once, side by side where it can be.

Runs before anything is installed: standard library only. Each step keeps a stamp of what it was made from, so a
second run costs a fraction of a second.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded import root, tools
from deploy.embedded.errors import StackError

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STATE = ROOT / ".linhub" / "prepare"
PYTHON = VENV / "bin" / "python"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
GOALS = ("demo", "test", "check", "faults")


class PrepareError(Exception):
    """A step cannot be done; the message says why and what to do."""


@dataclass(slots=True)
class Step:
    """One thing to make ready. `make` gets an open log and raises PrepareError; False means nothing was to do."""

    name: str
    make: Callable[[Path], bool]
    seconds: float = 0.0
    error: str | None = None
    done: threading.Event = field(default_factory=threading.Event)
    worked: bool = False

    def run(self, log: Path) -> None:
        started = time.monotonic()
        try:
            self.worked = self.make(log)
        except PrepareError as error:
            self.error = str(error)
        except Exception as error:  # a fault of ours must not leave the others waiting
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self.seconds = time.monotonic() - started
            self.done.set()


def call(command: Sequence[str | Path], log: Path, advice: str, environment: dict[str, str] | None = None) -> None:
    """Runs `command` with its words in `log`. Raises PrepareError with the log's end and `advice`."""
    with log.open("ab") as sink:
        sink.write(f"$ {' '.join(map(str, command))}\n".encode())
        sink.flush()
        try:
            code = subprocess.run(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment, check=False
            ).returncode
        except OSError as error:
            raise PrepareError(f"{command[0]}: {error.strerror}. {advice}") from error
    if code != 0:
        tail = "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-15:])
        raise PrepareError(f"{advice}\n{tail}\n    (all of it: {log})")


# Packages of the system


def server_root(goal: str) -> Path | None:
    """Where the servers' programs go; None where the goal needs none, or names servers that are there."""
    named = "LINHUB_TEST_" if goal in ("test", "faults") else "LINHUB_"
    if goal == "check" or all(os.environ.get(named + name) for name in ("DATABASE_URL", "MQTT_URL")):
        return None
    home = os.environ.get("LINHUB_HOME") if goal == "demo" else None
    return (Path(home).expanduser().resolve() if home else ROOT / ".linhub") / "root"


def missing_packages(goal: str) -> list[str]:
    """Debian packages of programs that are not here; the stack's own two only where it is to start servers."""
    wanted = []
    if not PYTHON.exists() and importlib.util.find_spec("ensurepip") is None:
        wanted.append(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    if server_root(goal):
        wanted += [tools.PACKAGES[program] for program in tools.missing(tools.PACKAGES)]
    if goal == "test" and not any(map(shutil.which, CHROMIUM)):
        wanted.append("chromium")
    if goal in ("test", "faults") and shutil.which("strace") is None:
        wanted.append("strace")
    if goal in ("test", "faults") and shutil.which("faketime") is None:
        wanted.append("faketime")
    return wanted


def system_packages(goal: str, log: Path) -> bool:
    wanted = missing_packages(goal)
    if not wanted:
        return False
    by_hand = f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {' '.join(wanted)}"
    privilege = tools.privilege()
    if privilege is None or shutil.which("apt-get") is None:
        raise PrepareError(f"this machine lacks {', '.join(wanted)} and this user may not install; run\n    {by_hand}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=600"]
    failed = f"apt-get failed; try by hand:\n    {by_hand}"
    call([*privilege, "apt-get", *wait, "-q", "update"], log, failed, quiet)
    install = ["apt-get", *wait, "-q", "install", "-y", "--no-install-recommends", *wanted]
    call([*privilege, *install], log, failed, quiet)
    return True


# The Python environment


def virtual_environment(log: Path) -> bool:
    if PYTHON.exists() and subprocess.run([PYTHON, "-c", ""], capture_output=True, check=False).returncode == 0:
        return False
    shutil.rmtree(VENV, ignore_errors=True)
    call([sys.executable, "-m", "venv", VENV], log, f"{sys.executable} could not make a virtual environment in .venv")
    return True


def _pip(log: Path, *arguments: str) -> None:
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    call(command, log, "pip could not install; is the package index reachable?")


def _sources(level: str) -> str:
    """A digest of everything that decides what stands in `.venv` at `level`."""
    lock = "requirements-run.lock" if level == "run" else "requirements.lock"
    names = (lock, "requirements-build.lock", "requirements-real.lock", "pyproject.toml")
    return hashlib.sha256(b"".join(hashlib.sha256((ROOT / name).read_bytes()).digest() for name in names)).hexdigest()


def python_packages(goal: str, log: Path) -> bool:
    """`run` is what the services need, `dev` all of that and the tools of the tests."""
    level = "run" if goal == "demo" else "dev"
    stamps = {name: VENV / f".linhub-{name}" for name in ("run", "dev")}
    for enough in {level, "dev"}:
        if stamps[enough].is_file() and stamps[enough].read_text() == _sources(enough):
            return False
    for stamp in stamps.values():
        stamp.unlink(missing_ok=True)
    locks = ("requirements-run.lock", "requirements-build.lock") if level == "run" else ("requirements.lock",)
    files = [word for lock in (*locks, "requirements-real.lock") for word in ("-r", lock)]
    # The locks are whole, so there is nothing to resolve; the sample data's own dependencies are not wanted.
    _pip(log, "--require-hashes", "--no-deps", *files)
    _pip(log, "--no-deps", "--no-build-isolation", "-e", ".")
    stamps[level].write_text(_sources(level))
    return True


# The cockpit


def cockpit(log: Path) -> bool:
    pip = f"{PYTHON} -m pip --disable-pip-version-check"
    call([sys.executable, "-m", "deploy.web", "build", "--pip", pip], log, "the cockpit could not be built:")
    return "up to date" not in log.read_text()


# The servers


def servers(goal: str, log: Path) -> bool:
    """Unpacked here so that it happens beside the rest; `linhub up` would do it too."""
    place = server_root(goal)
    if place is None or root.is_ready(place):
        return False
    try:
        root.ensure(place, log)
    except StackError as error:
        told = [error.what, error.hint, *error.last_lines(), str(error.log or "")]
        raise PrepareError("\n    ".join(filter(None, told))) from error
    return True


# Together


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One preparation a copy at a time; a second waits and then finds nothing left to do."""
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def together(steps: Sequence[Step]) -> None:
    """Runs the steps side by side and shows which are under way. Raises PrepareError when one failed."""
    started = time.monotonic()
    for step in steps:
        log = STATE / f"{step.name.replace(' ', '-')}.log"
        log.write_bytes(b"")
        threading.Thread(target=step.run, args=(log,), daemon=True).start()
    live = sys.stdout.isatty()
    left = list(steps)
    while left:
        left[0].done.wait(0.2)
        for step in [step for step in left if step.done.is_set()]:
            left.remove(step)
            if step.error or step.worked or step.seconds >= 1:
                mark = "✗" if step.error else "✓"
                print(
                    f"{chr(13) + chr(27) + '[K' if live else ''}  {mark} {step.name:<18} {step.seconds:6.1f} s",
                    flush=True,
                )
        if live and left:
            names = ", ".join(step.name for step in left)
            print(f"\r\033[K  … {names} {time.monotonic() - started:.0f} s", end="", flush=True)
    if live:
        print("\r\033[K", end="", flush=True)
    errors = [f"{step.name}: {step.error}" for step in steps if step.error]
    if errors:
        raise PrepareError("\n".join(errors))


def prepare(goal: str) -> None:
    """Raises PrepareError; the first group is what the others stand on."""
    with alone():
        together([Step("system packages", lambda log: system_packages(goal, log))])
        together([Step("environment", virtual_environment)])
        steps = [Step("python packages", lambda log: python_packages(goal, log))]
        if goal != "check":  # which asks npm for its packages itself, and needs neither built files nor servers
            steps += [Step("cockpit", cockpit), Step("servers", lambda log: servers(goal, log))]
        together(steps)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="prepare.py", description="Installs what a make target needs.")
    parser.add_argument("goal", choices=GOALS)
    given = parser.parse_args(arguments)
    try:
        prepare(given.goal)
    except PrepareError as error:
        print(f"linhub: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
