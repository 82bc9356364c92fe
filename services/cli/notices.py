"""`linhub notices`: a sink that takes notices as a channel would, prints them and shows them on a page; for drills."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
import typer
from rich.console import Console
from rich.status import Status
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from services.adapters.observe import serve
from services.adapters.postgres import RETRYABLE
from services.adapters.queries import Queries
from services.cli.home import database_url, find_home
from services.cli.notices_check import Finding, checked

Q = Queries(Path(__file__).with_name("notices.sql"))
_KEPT = 200
cli = typer.Typer(help="Notices 通知: a place to send them to in drills and demonstrations.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(cli, name="notices")


@dataclass
class Sink:
    """Takes what is posted to any path; the path says for whom it is. `refuse`: so many are refused first."""

    say: Console
    refuse: int = 0
    heard: deque[tuple[datetime, str, str, str]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    count: int = 0
    refused: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self.page, methods=["GET"]),
                Route("/{to:path}", self.take, methods=["POST"]),
            ]
        )

    async def take(self, request: Request) -> Response:
        to = request.path_params["to"]
        if self.refused < self.refuse:
            self.refused += 1
            self.say.print(f"refused 拒收 {to} ({self.refused}/{self.refuse})", style="yellow", markup=False)
            return Response(status_code=503)
        try:
            message: Any = await request.json()
        except ValueError:
            return Response(status_code=400)
        if not isinstance(message, dict):
            return Response(status_code=400)
        title, body = str(message.get("title", "")), str(message.get("message", ""))
        self.count += 1
        self.heard.appendleft((datetime.now().astimezone(), to, title, body))
        self.say.print(f"{self.heard[0][0]:%H:%M:%S} → {to}", style="bold cyan", markup=False)
        self.say.print(f"  {title}", style="bold", markup=False)
        self.say.print("  " + body.replace("\n", "\n  "), markup=False)
        return Response(status_code=200)

    async def page(self, _request: Request) -> HTMLResponse:
        rows = "".join(
            f"<tr><td>{at:%H:%M:%S}<td>{escape(to)}<td><b>{escape(title)}</b><pre>{escape(body)}</pre>"
            for at, to, title, body in self.heard
        )
        return HTMLResponse(
            "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2><title>通知 Notices</title>"
            "<style>body{font:16px system-ui;margin:2rem}td{vertical-align:top;padding:.3rem 1rem}"
            "pre{font:inherit;white-space:pre-wrap}</style>"
            f"<h1>通知 Notices · {self.count}</h1><table>{rows}</table>",
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )


@cli.command("sink")
def sink(
    port: Annotated[int, typer.Option(help="0: any free one.")] = 8095,
    channels: Annotated[
        bool, typer.Option("--channels", help="Give every account a channel to this sink until it is stopped.")
    ] = False,
    refuse: Annotated[int, typer.Option(help="Refuse so many messages first, as a channel that is down.")] = 0,
    home: Annotated[Path | None, typer.Option(help="Where the installation lies.")] = None,
) -> None:
    """Take notices over HTTP on loopback, print them, and show the last ones on a page. Ctrl-C ends it."""
    say = Console(highlight=False)
    url = (os.environ.get("LINHUB_DATABASE_URL") or database_url(home or find_home())) if channels else None
    try:
        asyncio.run(_serve(Sink(say, refuse), port, url))
    except OSError as error:
        Console(stderr=True).print(f"linhub: {error}", markup=False, style="red")
        raise typer.Exit(2) from None


@cli.command("check")
def check(
    networks: Annotated[
        str | None, typer.Option(help="As LINHUB_NOTICES_NETWORKS; without it, what that variable says.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Where the installation lies.")] = None,
) -> None:
    """Say which gateways and channels may not be connected to, and what to list so that they may. Sends nothing."""
    url = os.environ.get("LINHUB_DATABASE_URL") or database_url(home or find_home())
    listed = os.environ.get("LINHUB_NOTICES_NETWORKS", "") if networks is None else networks
    if url is None:
        Console(stderr=True).print("linhub: no database; run `linhub up` 尚无数据库", markup=False, style="red")
        raise typer.Exit(2)
    try:
        found = asyncio.run(checked(url, listed))
    except (OSError, ValueError) as error:
        Console(stderr=True).print(f"linhub: {error}", markup=False, style="red")
        raise typer.Exit(2) from None
    raise typer.Exit(_tell(found, listed, Console(highlight=False)))


def _tell(found: list[Finding], listed: str, say: Console) -> int:
    """0: all may be used; 1: some may not."""
    bad = [one for one in found if one.why is not None]
    say.print(f"{len(found)} 个网关与渠道，{len(bad)} 个不通 · gateways and channels, {len(bad)} that may not be used")
    for one in bad:
        say.print(f"  {one.community}  {one.sort}  {one.shown}  {one.why}", markup=False)
    if wanted := sorted({network for one in bad for network in one.networks}):
        value = ",".join([*filter(None, (one.strip() for one in listed.split(","))), *wanted])
        say.print("若这些都是自有网络中的网关 · if all of these are your own:", markup=False)
        say.print(f"LINHUB_NOTICES_NETWORKS={value}", style="bold", markup=False, soft_wrap=True)
    return 1 if bad else 0


async def _serve(one: Sink, port: int, database: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve(one.app(), "127.0.0.1", port) as bound:
        address = f"127.0.0.1:{bound}"
        one.say.print(f"http://{address}/", style="bold")
        given = await give_channels(database, address) if database else []
        if database:
            one.say.print(f"{len(given)} 个账号的渠道指向这里 · channels of accounts lead here", markup=False)
        try:
            with Status("等待通知 waiting for notices", console=one.say):
                await stop.wait()
        finally:
            if database:
                await take_channels(database, given)


async def give_channels(database: str, address: str) -> list[UUID]:
    """A verified channel to the sink for each account that has none; their ids.

    What a sink that was killed left here at the same address is its own.
    """
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(Q["take_left"], f"json://{address}/")
        rows = await connection.fetch(Q["accounts_without"])
        made = [(uuid4(), row["id"], f"json://{address}/{row['username']}") for row in rows]
        await connection.executemany(Q["give"], made)
        return [one[0] for one in made]
    finally:
        await connection.close()


async def take_channels(database: str, given: list[UUID]) -> None:
    """Away again: a channel to a sink that is gone would have every notice fail."""
    with contextlib.suppress(*RETRYABLE):
        connection = await asyncpg.connect(database, timeout=5)
        try:
            await connection.execute(Q["take"], given)
        finally:
            await connection.close()
