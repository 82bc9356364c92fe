"""What `linhub rules backtest` and `diff` share: the database, the time asked about, a bar that moves, caveats."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import asyncpg
import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from services.adapters.history.backtest import Backtested, UnknownCommunity
from services.adapters.history.books import BadRules
from services.adapters.history.stream import LogTooShort, Way
from services.adapters.rules.files import RuleFileError
from services.cli.home import database_url, find_home, tr
from services.domain.proof.backtest import Span

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[Any]"
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z"]

FromOption = Annotated[
    datetime, typer.Option("--from", formats=_FORMATS, help="从何时 · From when: 2026-11-15, 2026-11-15T08:00.")
]
ToOption = Annotated[datetime | None, typer.Option("--to", formats=_FORMATS, help="到何时 · To when; now by default.")]
CommunityOption = Annotated[str | None, typer.Option(help="社区 · Which community; needed where there are several.")]
WayOption = Annotated[Way, typer.Option("--source", help="Where history is read from.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: one JSON object at the end.")]
LinesOption = Annotated[
    bool, typer.Option("--progress-lines", hidden=True, help="A JSON line with each step, before the last.")
]
DeadlineOption = Annotated[
    float | None, typer.Option("--deadline", min=1, help="秒数上限 · Seconds after which it tells what it has.")
]
SampleOption = Annotated[
    int | None, typer.Option("--sample", min=1, help="抽样台数 · At most so many devices, evenly chosen.")
]
MemoryOption = Annotated[int | None, typer.Option("--memory-mb", min=128, hidden=True)]


def bound(memory_mb: int | None) -> None:
    """For a run that nobody waits at: no more memory than this, and behind everybody else."""
    if memory_mb is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
        os.nice(10)


def run(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Exits with 2 where something that was given cannot be used, with 1 where the database does not answer."""
    # What is noted on the way (a stored rule that cannot be read) must not stand among the answer's lines.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        url = database_url(find_home())
    except ValueError as error:
        errors.print(f"linhub: {error}", style="red", markup=False)
        raise typer.Exit(2) from None
    if url is None:
        errors.print("linhub: no database yet: run `linhub up`, or set LINHUB_DATABASE_URL", style="red")
        raise typer.Exit(2)

    async def connected() -> T:
        connection = await asyncpg.connect(url, server_settings={"timezone": "UTC", "application_name": "rules-proof"})
        try:
            await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
            return await work(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(connected())
    except (BadRules, RuleFileError, UnknownCommunity, LogTooShort) as error:
        errors.print(f"linhub: {error}", style="red", markup=False)
        raise typer.Exit(2) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        errors.print(
            f"linhub: the database does not answer: {error or type(error).__name__}", style="red", markup=False
        )
        raise typer.Exit(1) from None


async def only_community(connection: Connection, given: str | None) -> tuple[str, str]:
    """(community, time zone). Raises UnknownCommunity."""
    rows = await connection.fetch("SELECT id, timezone FROM community ORDER BY id")
    zones = {row["id"]: row["timezone"] for row in rows}
    if given is None and len(zones) != 1:
        raise UnknownCommunity(f"say which community with --community: {', '.join(zones) or 'there is none yet'}")
    community = given or next(iter(zones))
    if community not in zones:
        raise UnknownCommunity(f"there is no community {community}; there are {', '.join(zones)}")
    return community, zones[community]


@dataclass(frozen=True, slots=True)
class Time:
    begin: datetime
    end: datetime
    zone: str

    @property
    def span(self) -> Span:
        return Span(round(self.begin.timestamp() * 1000), round(self.end.timestamp() * 1000), self.zone)


def time_of(begin: datetime, end: datetime | None, zone: str) -> Time:
    """Times without an offset are those of the community. Raises BadRules."""
    local = ZoneInfo(zone)
    first = begin if begin.tzinfo else begin.replace(tzinfo=local)
    last = (end if end.tzinfo else end.replace(tzinfo=local)) if end is not None else datetime.now(UTC)
    if last <= first:
        raise BadRules(f"--to ({last:%Y-%m-%d %H:%M}) must be later than --from ({first:%Y-%m-%d %H:%M})")
    return Time(first, last, zone)


@contextmanager
def moving(said: str, lines: bool) -> Iterator[Callable[[float], None]]:
    """A bar for people on stderr, or a JSON line a percent for programs."""
    if lines:
        told = [-1]

        def tell(share: float) -> None:
            percent = int(share * 100)
            if percent > told[0]:
                told[0] = percent
                typer.echo(json.dumps({"progress": percent / 100}))

        yield tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(said, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def stopper(deadline_s: float | None) -> Callable[[], bool]:
    """True once the time is up, or somebody asked to stop: what is counted by then is told."""
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: asked.append(number))
    end = None if deadline_s is None else time.monotonic() + deadline_s
    return lambda: bool(asked) or (end is not None and time.monotonic() > end)


def looked_at(done: Backtested, at: Time) -> dict[str, Any]:
    """As JSON: which history was read, and what its figures do not know."""
    return {
        "community": done.community.id,
        "from": at.begin.isoformat(),
        "to": at.end.isoformat(),
        "warmed_up_from": done.warm_from.isoformat(),
        "until": done.until.isoformat(),
        "source": done.source.way.value,
        "items": done.source.items,
        "all_devices": done.all_devices,
        "caveats": caveats(done, at),
    }


def caveats(done: Backtested, at: Time) -> list[str]:
    """What the figures do not know, in the order of its weight."""
    said: list[str] = []
    if done.until < at.end:
        said.append(
            tr(
                f"ended at {done.until:%Y-%m-%d %H:%M} UTC; what came after is not counted",
                f"只算到 {done.until:%Y-%m-%d %H:%M} UTC，其后未计",
            )
        )
    if done.devices < done.all_devices:
        said.append(
            tr(
                f"{done.devices} of {done.all_devices} devices, evenly chosen",
                f"抽样 {done.devices}/{done.all_devices} 台设备",
            )
        )
    for book in done.books:
        said += [
            tr(f"{rule} failed {times} times", f"规则 {rule} 出错 {times} 次") for rule, times in book.faults.items()
        ]
    since = done.source.silences_since
    if since is not None and since > done.warm_from:
        said.append(
            tr(
                f"before {since:%Y-%m-%d %H:%M} UTC neither silences nor delays were kept: no device is offline there, "
                "and every reading counts as received at its own time",
                f"{since:%Y-%m-%d %H:%M} UTC 之前未记录静默与延迟：此前不判离线，读数按其自身时间计",
            )
        )
    said.append(
        tr(
            "the registry, its tags and who is away are taken as they are today",
            "设备档案、标签与外出状态按今日情况计",
        )
    )
    return said
