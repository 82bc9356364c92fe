"""`make faults`: every row of the fault table as a campaign, with progress, and one table of what came of it.

Each row is a pytest over the tests that carry its number, with LINHUB_FAULT_KILLS kill points in each that kills and a
seed that repeats it. A row without a test fails, and so does one that says nothing of what was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "test-results"


@dataclass(frozen=True, slots=True)
class Row:
    """A fault. `kills`: its tests take the number of kill points from LINHUB_FAULT_KILLS."""

    number: int
    fault: str
    kills: bool = False


ROWS = {
    row.number: row
    for row in (
        Row(1, "broker killed in mid-stream", kills=True),
        Row(2, "broker frozen"),
        Row(3, "ingest killed before the commit", kills=True),
        Row(4, "ingest killed between commit and acknowledgement", kills=True),
        Row(5, "ingest frozen"),
        Row(6, "database crash", kills=True),
        Row(7, "database frozen"),
        Row(8, "database slow by 500 ms"),
        Row(9, "power loss: order of fsync and acknowledgement"),
        Row(10, "disk of the database full"),
        Row(11, "disk of the broker full"),
        Row(12, "locks, deadlocks and dropped chunks under load"),
        Row(13, "queue of the broker overflows"),
        Row(14, "one-way partition"),
        Row(15, "reply to a commit lost"),
        Row(16, "stale acknowledgement after a reconnect"),
        Row(17, "poison messages"),
        Row(18, "huge, binary, deep, not a number"),
        Row(19, "handler raises"),
        Row(20, "every message ten times"),
        Row(21, "reordered and 48 h late"),
        Row(22, "device clock wrong by a year"),
        Row(23, "server clock jumps by an hour", kills=True),
        Row(24, "retained messages replayed"),
        Row(25, "power cut: all go silent, all come back"),
        Row(26, "slow subscriber"),
        Row(27, "one device floods"),
        Row(28, "alert engine killed in mid-rule", kills=True),
        Row(29, "two alert engines started", kills=True),
        Row(30, "API, engine and device killed in mid-command", kills=True),
        Row(31, "command to a device that is away"),
        Row(32, "receiver of city events away for an hour"),
        Row(33, "receivers of city events that are slow, lying, inside"),
        Row(34, "topic or subscription of another platform, tenant or device"),
        Row(35, "access revoked on a live stream"),
        Row(36, "commands forged, replayed, self-approved, approved by a revoked person"),
        Row(37, "rows of the audit trail edited by hand"),
        Row(40, "catching up after an outage: events first"),
        Row(41, "a day of orders, every service killed", kills=True),
        Row(42, "broker and engine killed while city events go out by MQTT", kills=True),
    )
}
"""The numbers of the fault table; 40 to 42 are ours. Tests name theirs with `tests.fault_rows.row`."""

NEEDED = (*range(1, 38), 40, 41, 42)


@dataclass(slots=True)
class Result:
    """What a row came to. `figures`: what its tests told, in order, in words."""

    row: int
    fault: str
    tests: int = 0
    failed: int = 0
    kills: int = 0
    sent: int = 0
    lost: int | None = None
    doubled: int | None = None
    figures: list[str] = field(default_factory=list)
    seed: int = 0
    seconds: float = 0.0
    note: str = ""

    @property
    def good(self) -> bool:
        return not self.note


def read(row: Row, report: Path, code: int, kills: int) -> Result:
    """From pytest's JUnit report: each test's properties are what it told."""
    result = Result(row.number, row.fault)
    try:
        tree = ElementTree.parse(report)  # noqa: S314 - written by our own pytest just now
    except (OSError, ElementTree.ParseError):
        result.note = f"pytest left no report (exit code {code})"
        return result
    short = []
    for case in tree.iter("testcase"):
        told = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
        bad = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
        result.tests += 1
        result.failed += bad
        result.kills += int(told.pop("kills", 0))
        result.sent += int(told.pop("sent", 0))
        for name in ("lost", "doubled"):
            if name in told:
                setattr(result, name, (getattr(result, name) or 0) + int(told.pop(name)))
        result.figures += [f"{name.replace('_', ' ')} {value}" for name, value in told.items() if name != "seed"]
        if row.kills and not bad and int(next(_values(case, "kills"), "0")) < kills:
            short.append(case.get("name"))
    result.note = _wrong(result, row, code, short)
    return result


def _values(case: ElementTree.Element, name: str) -> Iterator[str]:
    return (p.get("value", "") for p in case.iter("property") if p.get("name") == name)


def _wrong(result: Result, row: Row, code: int, short: Sequence[str | None]) -> str:
    if result.tests == 0:
        return "no test carries this row"
    if result.failed or code != 0:
        return f"{result.failed} of {result.tests} tests failed (exit code {code})"
    if result.lost is None or result.doubled is None:
        return "no test said what was lost and doubled"
    if result.lost or result.doubled:
        return f"lost {result.lost}, doubled {result.doubled}"
    if short:
        return f"fewer kill points than asked for: {', '.join(map(str, short))}"
    return ""


def run_row(row: Row, kills: int, seed: int, freeze_s: float, log: Path) -> Result:
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "LINHUB_FAULT_KILLS": str(kills),
        "LINHUB_FAULT_SEED": str(seed),
        "LINHUB_FAULT_FREEZE_S": f"{freeze_s:g}",
        "LINHUB_FAULT_CAMPAIGN": "1",
    }
    command = [sys.executable, "-m", "pytest", "tests/faults", "-m", f"fault(row={row.number})"]
    command += [f"--junitxml={report}", "-o", "junit_family=xunit1", "-q", "-rA"]
    started = time.monotonic()
    with log.open("wb") as out:
        code = subprocess.run(command, cwd=ROOT, env=environment, stdout=out, stderr=out, check=False).returncode
    result = read(row, report, code, kills)
    result.seed, result.seconds = seed, round(time.monotonic() - started, 1)
    return result


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    lines = ["| row | fault | kills | sent | L | D | figure | seed | seconds |", "|" + "---|" * 9]
    for r in results:
        lost, doubled = ("–" if value is None else str(value) for value in (r.lost, r.doubled))
        words = "; ".join([*([f"**{r.note}**"] if r.note else []), *r.figures]).replace("|", "/")
        cells = (r.row, r.fault, r.kills or "–", r.sent or "–", lost, doubled, words, r.seed, f"{r.seconds:g}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def chosen(text: str) -> list[Row]:
    """Of `1-5,9`; all when empty. Raises ValueError for a row there is none of."""
    if not text:
        return [ROWS[number] for number in NEEDED]
    rows = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        rows += [number for number in range(int(first), int(last or first) + 1) if number in ROWS or not last]
    if unknown := [number for number in rows if number not in ROWS]:
        raise ValueError(f"no such row: {', '.join(map(str, unknown))}")
    return [ROWS[number] for number in rows]


def _campaign(rows: Sequence[Row], kills: int, seed: int, freeze_s: float, console: Console) -> list[Result]:
    folder = RESULTS / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("faults", total=len(rows))
        for row in rows:
            log = folder / f"row-{row.number:02d}.log"
            ended = threading.Event()
            shown = threading.Thread(target=_show, args=(progress, task, row, log, ended), daemon=True)
            shown.start()
            result = run_row(row, kills, seed, freeze_s, log)
            ended.set()
            shown.join()
            results.append(result)
            progress.advance(task)
            mark = "[green]✓[/]" if result.good else "[red]✗[/]"
            words = result.note or "; ".join(result.figures)[:100]
            console.print(f"{mark} {row.number:>2} {row.fault:<52}{result.seconds:>8.1f} s  {words}", highlight=False)
    return results


def _show(progress: Progress, task: object, row: Row, log: Path, ended: threading.Event) -> None:
    """What is under way, while it is."""
    started = time.monotonic()
    while not ended.wait(1):
        seconds = time.monotonic() - started
        progress.update(task, description=f"{row.number} {row.fault} ({seconds:.0f} s, log {log.name})")  # type: ignore[arg-type]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="faultrun.py", description=__doc__)
    parser.add_argument("--rows", default="", help="such as 1-5,9; all of them when none is named")
    parser.add_argument("--kills", type=int, default=20, help="kill points in each test that kills")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--freeze", type=float, default=90.0, help="seconds that a server stays frozen")
    given = parser.parse_args(arguments)
    try:
        rows = chosen(given.rows)
    except ValueError as error:
        parser.error(str(error))
    console = Console()
    console.print(f"seed {given.seed}, {given.kills} kill points, {len(rows)} rows", highlight=False)
    started = time.monotonic()
    results = _campaign(rows, given.kills, given.seed, given.freeze, console)
    text = table(results)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, {time.monotonic() - started:.0f} s"
    told = {"seed": given.seed, "kills": given.kills, "machine": machine, "rows": [asdict(r) for r in results]}
    (RESULTS / "faults.json").write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "faults.md").write_text(f"{text}\n{machine}\n", encoding="utf-8")
    print(f"\n{text}\n{machine}")
    good = sum(result.good for result in results)
    print(f"{good} rows hold, {len(results) - good} do not; test-results/faults.json, faults.md, faults/row-*.log")
    return 0 if good == len(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
