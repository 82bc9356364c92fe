"""Lives the year and prints how well the engine told trouble from everyday life. `--days 7` for a quick look."""

from __future__ import annotations

import argparse
import resource
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.year.incident import DAY
from bench.year.planning import of_outages, plan_year
from bench.year.score import Row, Score, Scorer
from bench.year.stream import Stream
from bench.year.town import Town, build_town
from services.adapters.rules import default_rulebook
from services.domain.devices import BY_NAME
from services.domain.engine.core import Engine
from services.domain.engine.replay import replay

FROM_MS = 1_767_196_800_000
"""Midnight of 1 January 2026 in China."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.year", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the devices of each kind")
    parser.add_argument("--each", type=int, default=5, help="troubles (and near misses) a rule and year")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="print every miss and false alert")
    args = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    town, score, items, late, unprovoked = run(args.days, args.scale, args.each, args.seed, console)
    show(console, town, score, args.days, items, late)
    for rule_id in unprovoked:
        console.print(f"no trouble is made for [bold]{rule_id}[/bold]")
    shown = None if args.all else 20
    for missed in score.missed[:shown]:
        kind = town.rows[missed.device_no].kind
        console.print(f"[red]missed[/red] {missed.rule_id} on {kind} {missed.device_no} at {_date(missed.from_ms)}")
    for alert in score.false[:shown]:
        console.print(
            f"[yellow]for nothing[/yellow] {alert.rule_id} {alert.subject} {_date(alert.fired_ms)} {alert.why.en}"
        )
    lost = sum(row.safety - row.safety_found for row in score.by_kind.values())
    if lost:
        console.print(f"[bold red]{lost} life-safety troubles were missed")
    return 1 if lost else 0


def run(days: int, scale: float, each: int, seed: int, console: Console) -> tuple[Town, Score, int, int, list[str]]:
    town = build_town(default_rulebook(), seed, scale)
    to_ms = FROM_MS + days * DAY
    incidents, unprovoked = plan_year(town, FROM_MS, to_ms, each, seed)
    faults: list[str] = []
    engine = Engine(town.roster, on_fault=lambda rule, subject, error: faults.append(f"{rule} {subject}: {error!r}"))
    engine.listen(FROM_MS, 3_600_000)
    engine.restore([], {})
    stream = Stream(town, incidents, FROM_MS, to_ms, seed)
    incidents += of_outages(town, stream.outages())
    scorer = Scorer(town, incidents)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} of {task.total} days"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    last = 0
    with bar:
        task = bar.add_task(f"{len(town.rows)} devices, {len(incidents)} incidents", total=days)
        for decided in replay(engine, stream.items(), to_ms):
            scorer.take(decided.decisions)
            day = stream.day
            if day != last:
                bar.update(task, completed=day)
                last = day
    if faults:
        raise RuntimeError(f"{len(faults)} rules failed, the first: {faults[0]}")
    return town, scorer.finish(), stream.generated, stream.late, list(unprovoked)


def show(console: Console, town: Town, score: Score, days: int, items: int, late: int) -> None:
    table = Table(title=f"{len(town.rows)} devices, {days} days, {items:,} items ({late:,} late by hours)")
    for name in ("kind", "devices", "troubles", "found", "near misses", "alerts", "again", "follows", "false"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for name in ("precision", "recall", "life safety"):
        table.add_column(name, justify="right")
    total = Row()
    for kind in [kind for kind in BY_NAME if kind in score.by_kind]:
        row = score.by_kind[kind]
        for name in Row.__slots__:
            setattr(total, name, getattr(total, name) + getattr(row, name))
        _line(table, kind, len(town.numbers(kind)), row)
    table.add_section()
    _line(table, "all", len(town.rows), total)
    console.print(table)
    a_day = 1000 * total.alerts / len(town.rows) / days
    false = 1000 * total.false / len(town.rows) / days
    console.print(f"alerts a day per 1,000 devices: {a_day:.1f} (for nothing: {false:.2f})")
    orders = 1000 * score.orders / len(town.rows) / days
    console.print(f"orders a day per 1,000 devices: {orders:.1f}; over before anybody was sent: {score.suppressed}")
    console.print(f"alerts of rules on trial: {score.trial}")
    console.print(f"decisions: {dict(score.decisions)}; open at the end: {score.open_at_end}")
    if score.delays_ms:
        ordered = sorted(score.delays_ms)
        console.print(f"life safety, from the trouble to its alert: median {ordered[len(ordered) // 2] / 1000:.1f} s")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    console.print(f"CPU {usage.ru_utime + usage.ru_stime:.0f} s, {usage.ru_maxrss / 1024:.0f} MB")


def _line(table: Table, name: str, devices: int, row: Row) -> None:
    figures = (devices, row.incidents, row.found, row.near, row.alerts, row.again, row.follow, row.false)
    safety = f"{row.safety_found} of {row.safety}" if row.safety else "–"
    table.add_row(name, *(str(n) for n in figures), f"{row.precision:.3f}", f"{row.recall:.3f}", safety)


def _date(ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(ms / 1000 + 8 * 3600))


if __name__ == "__main__":
    sys.exit(main())
