"""`linhub up`: everything running, from whatever is there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from deploy.embedded import state
from deploy.embedded.errors import HomeInUse, StackError
from deploy.embedded.part import rotate
from services.cli.home import CODE, Given, find_home, tr
from services.cli.launcher import Options, launch, new_stack
from services.cli.report import ConsoleReport, Failure, PipeReport, Ready, Report, relay
from services.domain.ids import PARTITIONS

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_PATIENCE_S = 900.0
"""A first start fetches packages; a slow line may need minutes."""


class _Stop:
    """Set by a signal. Before everything runs, the signal also breaks off what is being waited for."""

    def __init__(self) -> None:
        self.asked = False
        self.watching = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if not self.watching:
            raise KeyboardInterrupt

    def is_asked(self) -> bool:
        self.watching = True
        return self.asked


def run_up(home: Path, options: Options, report: Report) -> int:
    """In this process, until it is told to stop; the exit code."""
    stop = _Stop()
    for number in _SIGNALS:
        signal.signal(number, stop.hear)
    code = 0
    stack = new_stack(home, report)
    try:
        stack.open()
        launch(stack, Given.from_environment(), options, report, stop.is_asked)
    except HomeInUse:
        return _already_up(home, options, report)
    except (StackError, ValueError, OSError) as error:
        failure = Failure.of(error) if isinstance(error, StackError) else Failure(str(error))
        report.failed(failure)
        code = failure.exit_code
    except KeyboardInterrupt:
        # Between being ready and watching, a signal is the ordinary way to stop, too.
        code = 0 if stack.phase == "ready" else 130
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if stop.asked:
            report.note(tr("stopping", "正在停止"))
        stack.close()
    return code


def _already_up(home: Path, options: Options, report: Report) -> int:
    """Waits for the other launcher to be ready, then says where it is."""
    deadline = time.monotonic() + START_PATIENCE_S
    while (found := state.read(home)).phase == "starting" and found.running and time.monotonic() < deadline:
        time.sleep(0.2)
    if found.phase != "ready" or not found.running:
        report.failed(Failure(f"another launcher has {home} and is not ready ({found.phase})", "try again in a moment"))
        return 1
    if options.demo and not found.facts.get("demo"):
        report.failed(
            Failure(
                f"LinHub is up without the demo at {found.facts.get('url')}",
                "`linhub down`, then `linhub up --demo`",
            )
        )
        return 1
    report.note(tr("LinHub is up already", "LinHub 已在运行"))
    launcher = found.launcher.pid if found.launcher else 0
    if options.city and not found.facts.get("city"):
        report.failed(
            Failure("LinHub is up without the demo's city platform", "`linhub down`, then `linhub up --demo --city`")
        )
        return 1
    notices, city = found.facts.get("notices"), found.facts.get("city")
    report.ready(
        Ready(
            str(found.facts.get("url")),
            0.0,
            str(home),
            launcher=launcher,
            notices=str(notices) if notices else None,
            city=str(city) if city else None,
        )
    )
    return 0


def run_detached(home: Path, arguments: list[str], report: Report) -> int:
    """Leaves a launcher behind and returns once it is ready, or with what went wrong."""
    log = home / "logs" / "launcher.log"
    for folder in (home, log.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not state.read(home).running:
        rotate(log)
    told, tell = os.pipe()
    command = [sys.executable, "-P", "-m", "services.cli.main", "up", *arguments, "--progress-fd", str(tell)]
    environment = {**os.environ, "LINHUB_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
    with log.open("ab") as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            pass_fds=(tell,),
            start_new_session=True,
        )
    os.close(tell)
    try:
        with os.fdopen(told, "rb") as lines:
            end: Any = relay(iter(lines.readline, b""), report)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        return 130
    if isinstance(end, Ready):
        return 0
    if end is None:
        error = StackError(f"the launcher ended with exit code {child.wait()} before it was ready", log=log)
        report.failed(Failure.of(error))
        return 1
    child.wait()
    return int(end.exit_code)


def compose(*arguments: str) -> int:
    """`docker compose` with our file. Raises StackError where no engine answers."""
    file = CODE / "docker-compose.yml"
    if shutil.which("docker") is None:
        raise StackError("docker is not installed", hint="without --docker, LinHub runs from Debian packages")
    probe = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        said = (probe.stderr.strip().splitlines() or ["no answer"])[-1]
        raise StackError(f"no Docker engine answers: {said}", hint="start it, or leave out --docker")
    if not file.is_file():
        raise StackError(f"{file} is not there", hint="run from a source tree")
    if "up" in arguments and not (file.parent / ".env").is_file():
        raise StackError("there is no .env with the secrets of this installation", hint="run: linhub init")
    return subprocess.run(["docker", "compose", "-f", str(file), *arguments], check=False).returncode


def register(app: typer.Typer) -> None:
    @app.command()
    def up(
        detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; it goes on.")] = False,
        demo: Annotated[bool, typer.Option("--demo", help="With a simulated community and accounts to try.")] = False,
        city: Annotated[
            bool, typer.Option("--city", help="And a small city platform that hears of it and opens cases.")
        ] = False,
        docker: Annotated[bool, typer.Option("--docker", help="Through docker compose instead.")] = False,
        preset: Annotated[str, typer.Option(help="The community of the demo.")] = "gongyuan",
        scale: Annotated[float, typer.Option(min=0.001, max=1.0, help="The share of it that is simulated.")] = 0.2,
        ingest_workers: Annotated[
            int, typer.Option(min=1, max=PARTITIONS, help="Processes that share the devices' messages.")
        ] = 1,
        progress_fd: Annotated[int, typer.Option("--progress-fd", hidden=True)] = -1,
    ) -> None:
        """Start everything and show where the cockpit is. Safe to run again."""
        home = find_home()
        console = ConsoleReport(Console())
        if city and (docker or not demo):
            console.failed(Failure("--city is of the demo of this machine", "`linhub up --demo --city`"))
            raise typer.Exit(2)
        if docker:
            raise typer.Exit(_docker(console, demo, detach, ingest_workers))
        options = Options(demo, preset, scale, ingest_workers, city)
        if progress_fd >= 0:
            raise typer.Exit(run_up(home, options, PipeReport(progress_fd)))
        try:
            Given.from_environment()
        except ValueError as error:
            console.failed(Failure(str(error)))
            raise typer.Exit(2) from None
        if detach:
            arguments = ["--preset", preset, "--scale", str(scale), "--ingest-workers", str(ingest_workers)]
            arguments += (["--demo"] if demo else []) + (["--city"] if city else [])
            raise typer.Exit(run_detached(home, arguments, console))
        raise typer.Exit(run_up(home, options, console))


def _docker(report: ConsoleReport, demo: bool, detach: bool, ingest_workers: int) -> int:
    profile = ["--profile", "demo"] if demo else []
    try:
        with contextlib.suppress(KeyboardInterrupt):
            scale = ["--scale", f"ingest={ingest_workers}"] if ingest_workers > 1 else []
            return compose(*profile, "up", *scale, *(["--detach", "--wait"] if detach else []))
    except StackError as error:
        report.failed(Failure.of(error))
        return error.exit_code
    return 130
