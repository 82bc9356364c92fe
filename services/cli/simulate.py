"""`linhub simulate`: a living community in the foreground, or one story held to its outcome."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from device_sim import main as simulator
from device_sim.broker import Broker
from device_sim.fleet import Fleet
from device_sim.held import Held
from device_sim.obeyed import Obeyed
from device_sim.presets import BY_NAME as PRESETS
from device_sim.real import RealMetersMissing
from device_sim.scenarios import BY_NAME, STORIES
from device_sim.settings import SettingsError, SimSettings
from device_sim.theatre.api import Api, ApiRefused, Unreachable
from device_sim.theatre.performance import Outcome, perform
from device_sim.theatre.places import Places, find_places
from device_sim.theatre.story import Story, StoryError
from services.cli.home import find_home

PASSED, FAILED, CANNOT = 0, 1, 2


async def play(
    places: Places, stories: Sequence[Story], home: Path | None, console: Console, *, patience: float = 1.0
) -> list[Outcome]:
    """One after the other, each on a line as it ends, with `patience` times its limits of time.

    Raises Unreachable, ApiRefused, StoryError.
    """
    try:
        broker = Broker.at(places.mqtt_url)
    except ValueError as error:
        raise StoryError(f"LINHUB_MQTT_URL is wrong: {error}") from None
    held = Held(home / "sim" / "held.json") if home else None
    obeyed = Obeyed(home / "sim" / f"obeyed-{places.community}.jsonl" if home else None)
    outcomes = []
    async with Api(places.api_url, places.accounts) as api:
        for story in stories:
            with console.status(f"{story.label.zh} {story.label.en}"):
                outcome = await perform(
                    api, story, places.community, broker, places.credentials, held, patience=patience, obeyed=obeyed
                )
            outcomes.append(outcome)
            passed = outcome.failed is None
            seconds = f"alert after {outcome.alert_s * 1000:.0f} ms" if outcome.alert_s is not None else ""
            console.print(
                f"{'✓' if passed else '✗'} {story.name:<18} {story.label.zh} "
                f"{sum(c.ok for c in outcome.checks)}/{len(outcome.checks)} {seconds} {' '.join(outcome.devices)}",
                style="green" if passed else "red",
                highlight=False,
            )
    return outcomes


def show_failures(outcomes: Sequence[Outcome], console: Console) -> None:
    """What was wrong, in a table a story."""
    for outcome in outcomes:
        if outcome.failed is None:
            continue
        table = Table(title=f"{outcome.story}: {', '.join(outcome.devices) or 'no devices'}")
        table.add_column("")
        table.add_column("must hold", overflow="fold")
        table.add_column("found", overflow="fold")
        for check in outcome.checks:
            table.add_row("✓" if check.ok else "✗", check.what, check.found, style=None if check.ok else "red")
        console.print(table)


def tell(name: str, home: Path, preset: str | None, as_json: bool) -> int:
    """Plays a story (or `all`); the exit code."""
    console = Console(stderr=True)
    if name != "all" and name not in BY_NAME:
        console.print(
            f"linhub: there is no story {name}; there are all, {', '.join(BY_NAME)}", style="red", soft_wrap=True
        )
        return CANNOT
    stories = STORIES if name == "all" else (BY_NAME[name],)
    try:
        places = find_places(home, preset)
        outcomes = asyncio.run(play(places, stories, home, console))
    except (Unreachable, ApiRefused, StoryError) as error:
        console.print(f"linhub: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return CANNOT
    if as_json:
        typer.echo(json.dumps([asdict(outcome) for outcome in outcomes], ensure_ascii=False))
    show_failures(outcomes, console)
    return PASSED if all(outcome.failed is None for outcome in outcomes) else FAILED


def _view(fleet: Fleet, began: float, rate: float) -> Table:
    progress, traffic = fleet.progress, fleet.progress.traffic
    table = Table(title=f"{fleet.community.name} {fleet.community.id}", show_header=False)
    rows = (
        ("连接 connections", f"{traffic.connected} / {progress.stations}"),
        ("设备 devices", f"{progress.devices}"),
        ("消息 messages/s", f"{rate:.1f}  ({traffic.published} in {time.monotonic() - began:.0f} s)"),
        ("已确认 acknowledged", f"{traffic.acknowledged}"),
        ("待确认 spooled", f"{fleet.spooled}"),
        ("重发 resent / 被拒 rejected", f"{traffic.resent} / {traffic.rejected}"),
        ("命令 commands", f"{traffic.commands}"),
        ("最近情景 last story", progress.last_story or "–"),
        ("代理拒绝 refused", traffic.refused or "–"),
    )
    for row in rows:
        table.add_row(*row)
    return table


async def _watch(settings: SimSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    fleets: list[Fleet] = []
    running = asyncio.create_task(simulator.run(settings, stop, fleets.append))
    began, before, rate = time.monotonic(), 0, 0.0
    try:
        with Live(refresh_per_second=2, console=Console(stderr=True), transient=False) as live:
            while not running.done():
                if fleets:
                    published = fleets[0].progress.traffic.published
                    rate = 0.7 * rate + 0.3 * (published - before) if before else float(published - before)
                    before = published
                    live.update(_view(fleets[0], began, rate))
                await asyncio.wait({running}, timeout=1.0)
    finally:
        stop.set()
        await running


def live(settings: SimSettings) -> int:
    """The fleet in the foreground until Ctrl-C; the exit code."""
    logging.basicConfig(level="ERROR")
    try:
        asyncio.run(_watch(settings))
    except (SettingsError, RealMetersMissing) as error:
        Console(stderr=True).print(f"linhub: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return CANNOT
    return PASSED


def register(app: typer.Typer) -> None:
    @app.command()
    def simulate(
        story: Annotated[str | None, typer.Option(help="One of: all, " + ", ".join(BY_NAME))] = None,
        assert_outcome: Annotated[
            bool, typer.Option("--assert", help="Exit 1 and say what was wrong unless the outcome is right.")
        ] = False,
        preset: Annotated[str | None, typer.Option(help="Which community; the seeded one.")] = None,
        scale: Annotated[float | None, typer.Option(min=0.001, max=1.0, help="As it was seeded.")] = None,
        stories_every: Annotated[float, typer.Option(help="Seconds between random stories; 0: none.")] = 0.0,
        real_meters: Annotated[
            bool, typer.Option("--real-meters", help="Replay real electricity and gas use.")
        ] = False,
        speed: Annotated[float, typer.Option(min=0.01, max=1000, help="Report so many times more often.")] = 1.0,
        home: Annotated[Path | None, typer.Option(help="Where secrets are kept; LINHUB_HOME.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Let a community live, or play a story: exit 0 all was right, 1 it was not, 2 it could not be tried."""
        folder = home or find_home()
        if story is not None:
            code = tell(story, folder, preset, as_json)
            raise typer.Exit(code if assert_outcome or code == CANNOT else PASSED)
        errors = Console(stderr=True)
        if preset is not None and preset not in PRESETS:
            errors.print(f"linhub: there is no preset {preset}; there are {', '.join(PRESETS)}", style="red")
            raise typer.Exit(CANNOT)
        mqtt_url = os.environ.get("LINHUB_MQTT_URL")
        try:
            places = find_places(folder, preset, {"LINHUB_API_URL": "unused", **os.environ})
            mqtt_url = places.mqtt_url
        except StoryError as error:
            errors.print(f"linhub: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
            raise typer.Exit(CANNOT) from None
        raise typer.Exit(
            live(
                SimSettings(
                    mqtt_url=mqtt_url,
                    home=folder,
                    preset=places.community,
                    scale=scale or simulator.seeded_scale(folder, places.community) or 0.2,
                    stories_s=stories_every,
                    speed=speed,
                    real_meters=real_meters,
                )
            )
        )
