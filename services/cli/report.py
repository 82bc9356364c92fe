"""How a start is told: to a person in a terminal, or as JSON lines to the process that waits for it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.embedded.errors import StackError
from services.cli.home import tr


@dataclass(frozen=True, slots=True)
class Ready:
    """What is told once everything runs. `accounts`: username, password, role, team, display_name."""

    url: str
    took_s: float
    home: str
    accounts: Sequence[Mapping[str, Any]] = ()
    devices: int | None = None
    launcher: int = 0
    notices: str | None = None
    """Where the demo shows what its people are told."""
    city: str | None = None
    """And what its city platform hears of."""


@dataclass(frozen=True, slots=True)
class Failure:
    what: str
    hint: str = ""
    log: str = ""
    last_lines: Sequence[str] = ()
    exit_code: int = 1

    @classmethod
    def of(cls, error: StackError) -> Failure:
        return cls(error.what, error.hint, str(error.log or ""), error.last_lines(), error.exit_code)


class Report(Protocol):
    def step(self, text: str) -> None:
        """The next thing begins; the one before is done."""

    def note(self, text: str) -> None: ...

    def ready(self, told: Ready) -> None: ...

    def failed(self, told: Failure) -> None: ...


class ConsoleReport:
    """Spinner and seconds for what is being done, a tick for what is."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: Any = None

    def step(self, text: str) -> None:
        if self._task is None:
            self._progress.start()
        else:
            self._progress.update(self._task, completed=1)
        self._task = self._progress.add_task(text, total=1)

    def note(self, text: str) -> None:
        self.console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {text}", highlight=False)

    def _end(self, done: bool) -> None:
        if self._task is not None:
            if done:
                self._progress.update(self._task, completed=1)
            self._progress.stop()
            self._task = None

    def ready(self, told: Ready) -> None:
        self._end(done=True)
        print_ready(self.console, told)

    def failed(self, told: Failure) -> None:
        self._end(done=False)
        print_failure(self.console, told)


class PipeReport:
    """One JSON object a line; silent once nobody reads any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def _tell(self, kind: str, told: Mapping[str, Any]) -> None:
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, (json.dumps({"kind": kind, **told}, ensure_ascii=False) + "\n").encode())
        except OSError:
            self._descriptor = -1

    def step(self, text: str) -> None:
        log_line(text)
        self._tell("step", {"text": text})

    def note(self, text: str) -> None:
        log_line(text)
        self._tell("note", {"text": text})

    def ready(self, told: Ready) -> None:
        log_line(f"ready after {told.took_s:.1f} s: {told.url}")
        self._tell("ready", asdict(told))
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def failed(self, told: Failure) -> None:
        log_line(f"failed: {told.what}; {told.hint}")
        self._tell("failed", asdict(told))


def log_line(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}", flush=True)  # noqa: T201 - the launcher's log


def relay(lines: Iterator[bytes], report: Report) -> Ready | Failure | None:
    """Tells `report` what a PipeReport wrote; the end it came to, None when it broke off."""
    for line in lines:
        told = json.loads(line)
        kind = told.pop("kind")
        if kind == "step":
            report.step(told["text"])
        elif kind == "note":
            report.note(told["text"])
        elif kind == "ready":
            ready = Ready(**told)
            report.ready(ready)
            return ready
        else:
            failure = Failure(**told)
            report.failed(failure)
            return failure
    return None


def print_ready(console: Console, told: Ready) -> None:
    if told.accounts:
        table = Table(title=tr("Demo accounts", "演示账号"), title_justify="left")
        for heading in (tr("user", "用户名"), tr("password", "密码"), tr("role", "角色"), tr("name", "姓名")):
            table.add_column(heading)
        for account in told.accounts:
            role = " · ".join(str(part) for part in (account.get("role"), account.get("team")) if part)
            table.add_row(account["username"], account["password"], role, account.get("display_name", ""))
        console.print(table)
    if told.devices is not None:
        console.print(tr(f"{told.devices:,} devices registered", f"已登记设备 {told.devices:,} 台"))
    after = tr(f" after {told.took_s:.1f} s", f"（{told.took_s:.1f} s）") if told.took_s else ""
    console.print(
        tr(f"LinHub 邻枢 is up{after}: ", f"LinHub 邻枢 已就绪{after}：") + f"[bold]{told.url}[/]", highlight=False
    )
    if told.notices:
        console.print(
            tr("What its people are told: ", "各人收到的通知：") + f"[bold]{told.notices}[/]", highlight=False
        )
    if told.city:
        console.print(
            tr("What its city platform hears of: ", "城市平台收到的事件：") + f"[bold]{told.city}[/]", highlight=False
        )


def print_failure(console: Console, told: Failure) -> None:
    def plain(text: str, style: str | None = None) -> None:
        console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    plain(f"linhub: {told.what}", "red")
    for line in told.last_lines:
        plain(f"  │ {line}", "dim")
    if told.log:
        plain(f"  log: {told.log}")
    if told.hint:
        plain(f"  {told.hint}")


@contextmanager
def told_to(report: Report) -> Iterator[None]:
    """Tells what went wrong and leaves with its exit code."""
    try:
        yield
    except StackError as error:
        failure = Failure.of(error)
        report.failed(failure)
        raise SystemExit(failure.exit_code) from None
