"""`linhub report month`: the monthly report of a community as PDF and as a workbook."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import asyncpg
import typer
from rich.console import Console

from services.adapters.monthly.fonts import NoFont
from services.adapters.monthly.render import RenderFailed, Sort, render
from services.adapters.monthly.store import NoSuchCommunity, read_month
from services.adapters.postgres import RETRYABLE
from services.api.kpis.figures import PRIVATE
from services.cli.home import database_url, find_home, tr
from services.domain.kpis.month import Month

OK, CANNOT = 0, 2
errors = Console(stderr=True, highlight=False, soft_wrap=True)


async def _make(url: str, community: str, month: str, files: dict[Sort, Path], people: bool) -> Month:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            found = await read_month(connection, community, month, datetime.now(UTC), PRIVATE, people=people)
    finally:
        await connection.close()
    for sort, path in files.items():
        content = await render(found, sort)
        await asyncio.to_thread(path.write_bytes, content)
    return found


def register(app: typer.Typer) -> None:
    report = typer.Typer(help="报告 · Reports: the monthly one.", no_args_is_help=True)
    app.add_typer(report, name="report")

    @report.callback()
    def _report() -> None:
        """报告 · Reports: the monthly one."""

    @report.command("month")
    def month(
        month: Annotated[str, typer.Argument(help="e.g. 2026-10")],
        community: Annotated[str, typer.Option(help="Which community.")],
        pdf: Annotated[Path | None, typer.Option(help="Where the PDF goes.")] = None,
        xlsx: Annotated[Path | None, typer.Option(help="Where the workbook goes.")] = None,
        people: Annotated[bool, typer.Option("--people", help="With the figures of single persons.")] = False,
        home: Annotated[Path | None, typer.Option(help="LINHUB_HOME.")] = None,
    ) -> None:
        """A month's orders, figures and findings, for a meeting. Exit code 2: it could not be made."""
        files: dict[Sort, Path] = {}
        if pdf is not None:
            files["pdf"] = pdf
        if xlsx is not None:
            files["xlsx"] = xlsx
        if not files:
            _end(tr("give --pdf or --xlsx", "请给出 --pdf 或 --xlsx"))
        url = os.environ.get("LINHUB_DATABASE_URL") or database_url(home or find_home())
        if url is None:
            _end(tr("no database; run `linhub up`, or set LINHUB_DATABASE_URL",
                    "没有数据库：先运行 linhub up，或设置 LINHUB_DATABASE_URL"))  # fmt: skip
        try:
            with errors.status(f"{community} {month}"):
                found = asyncio.run(_make(url, community, month, files, people))
        except NoSuchCommunity:
            _end(tr(f"there is no community {community}", f"没有社区 {community}"))
        except (ValueError, NoFont, RenderFailed, OSError, *RETRYABLE, asyncpg.PostgresError) as error:
            _end(f"{error or type(error).__name__}")
        for said in found.conclusions:
            typer.echo(tr(said.en, said.zh))
        for path in files.values():
            typer.echo(path)


def _end(why: str) -> NoReturn:
    errors.print(f"linhub: {why}", style="red", markup=False)
    raise typer.Exit(CANNOT)
