"""Runs the checks and every tier of tests, then says in one table what came of each and how long it took.

A tier that ran no test fails: silence is no proof. Ends with `N passed, N failed` on a line of its own.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "test-results"
TIERS = ("unit", "contract", "integration", "e2e", "browser", "faults")
QUIET = ("unit", "contract")
"""Tiers without servers or clocks to race: they share the machine with the checks. The others run alone."""
SPREAD = {"integration": 2, "browser": 1}
"""Tiers of many files that mostly wait, and to how many runners their files are dealt out, each with servers of its own
(about 0.5 GB): sooner done, on a busier machine. LINHUB_TEST_RUNNERS says another number for both."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one tier came to. `note` says what is wrong beyond its counts."""

    tier: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""

    @property
    def good(self) -> bool:
        return not self.failed and not self.note


def count(tier: str, report: Path, code: int, seconds: float) -> Outcome:
    """Reads pytest's JUnit report; an error in a fixture is a failure of the test that needed it."""
    try:
        suites = list(ElementTree.parse(report).iter("testsuite"))  # noqa: S314 - written by our own pytest just now
    except (OSError, ElementTree.ParseError):
        return Outcome(tier, seconds=seconds, note=f"pytest left no report (exit code {code})")

    def total(name: str) -> int:
        return sum(int(suite.get(name, 0)) for suite in suites)

    failed, skipped = total("failures") + total("errors"), total("skipped")
    passed = total("tests") - failed - skipped
    note = ""
    if passed + failed == 0:
        note = "no test ran"
    elif code != 0 and not failed:
        note = f"pytest ended with exit code {code}"
    return Outcome(tier, passed, failed, skipped, seconds, note)


def command(tier: str, report: Path, runners: int) -> list[str]:
    found = [sys.executable, "-m", "pytest", f"tests/{tier}", f"--junitxml={report}", "--durations=5", "-q"]
    if tier in SPREAD and runners > 1:
        found += [f"--numprocesses={runners}", "--dist=loadfile"]
    return found


def run_tier(tier: str) -> Outcome:
    """One pytest over tests/<tier>."""
    report = RESULTS / f"{tier}.xml"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    runners = int(os.environ.get("LINHUB_TEST_RUNNERS") or SPREAD.get(tier, 1))
    code = subprocess.run(command(tier, report, runners), cwd=ROOT, check=False).returncode
    return count(tier, report, code, time.monotonic() - started)


CHECKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("format", (sys.executable, "-m", "ruff", "format", "--check", ".")),
    ("lint", (sys.executable, "-m", "ruff", "check", ".")),
    ("imports", (str(Path(sys.executable).with_name("lint-imports")),)),
    ("types", (sys.executable, "-m", "mypy")),
    ("cockpit", (sys.executable, "-m", "deploy.web", "run", "types", "check", "test")),
)


def run_checks() -> Outcome:
    """Each check counts as one; the words of those that fail are shown."""
    started = time.monotonic()
    passed = failed = 0
    for name, command in CHECKS:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        (RESULTS / f"check-{name}.log").write_text(done.stdout)
        if done.returncode == 0:
            passed += 1
        else:
            failed += 1
            print(f"\ncheck {name} failed: {shlex.join(command)}\n{done.stdout.rstrip()}", flush=True)
    return Outcome("check", passed, failed, seconds=time.monotonic() - started)


def table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The summary, one tier a line, and the machine it ran on."""
    rows = [f"{'tier':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
    rows += [
        f"{o.tier:<12}{o.passed:>8}{o.failed:>8}{o.skipped:>9}{o.seconds:>9.1f}  {o.note}".rstrip() for o in outcomes
    ]
    passed, failed, skipped = (sum(getattr(o, name) for o in outcomes) for name in ("passed", "failed", "skipped"))
    rows.append(f"{'all':<12}{passed:>8}{failed:>8}{skipped:>9}{seconds:>9.1f}  on {os.cpu_count()} cores")
    return "\n".join(rows)


def run(parts: Sequence[str]) -> list[Outcome]:
    """The quiet tiers beside the checks, then the others one after another on a quiet machine."""
    RESULTS.mkdir(exist_ok=True)
    checks, tiers = "check" in parts, [tier for tier in TIERS if tier in parts]
    found: dict[str, Outcome] = {}

    def check() -> None:
        found["check"] = run_checks()

    beside = threading.Thread(target=check)
    if checks:
        beside.start()
    for tier in tiers:
        if tier not in QUIET and beside.is_alive():
            beside.join()
        print(f"\n── {tier} " + "─" * 60, flush=True)
        found[tier] = run_tier(tier)
    if checks:
        beside.join()
    return [found[name] for name in ("check", *tiers) if name in found]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="testrun.py", description=__doc__)
    parts = ("check", *TIERS)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)}; all of them when none is named")
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.parts if part not in parts]:
        parser.error(f"no such tier: {', '.join(unknown)}; there are {', '.join(parts)}")
    started = time.monotonic()
    outcomes = run(given.parts or parts)
    print(f"\n{table(outcomes, time.monotonic() - started)}\n")
    print(f"{sum(o.passed for o in outcomes)} passed, {sum(o.failed for o in outcomes)} failed")
    return 0 if all(outcome.good for outcome in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
