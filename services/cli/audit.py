"""`linhub audit`: the trail of what was done, read, and proven to be as it was written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.adapters import audit
from services.adapters.audit import WORDS, Anchor, Found, Verdict
from services.cli.home import database_url, find_home

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


def _run(work: Callable[[asyncpg.Connection[Any]], Awaitable[T]]) -> T:
    url = database_url(find_home())
    if url is None:
        typer.echo("linhub: no database yet: run `linhub up`, or set LINHUB_DATABASE_URL", err=True)
        raise typer.Exit(2)

    async def run() -> T:
        connection = await asyncpg.connect(url)
        try:
            # One picture of the trail, while it goes on being written.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await work(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        typer.echo(f"linhub: the database does not answer: {error or type(error).__name__}", err=True)
        raise typer.Exit(2) from None


def read_anchors(path: Path) -> list[Anchor]:
    """One a line, as `verify --anchors` writes them; also the API's log, where they stand as `anchor=` or in JSON."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if "audit_anchor" in text:
            mark = text.replace('"anchor": "', "anchor=").replace('"anchor":"', "anchor=").partition("anchor=")[2]
            text = mark.split('"')[0].split(" ")[0]
            text = text.strip("'\"")
        elif "anchor" in text or not text or text.startswith("#"):
            continue
        found.append(Anchor.read(text))
    return found


def words(found: Found) -> str:
    lines = [f"row {found.id}: {found.fault} — {WORDS[found.fault]}", f"  {found.detail}"]
    if found.row is not None:
        row = found.row
        who = f"{row['actor_id']} ({row['actor_role']})"
        lines.append(
            f"  it says now: {row['at']:%Y-%m-%d %H:%M:%S}Z {who} {row['action']} {row['subject']} {row['detail']}"
        )
    return "\n".join(lines)


def plain(verdict: Verdict) -> dict[str, Any]:
    found = verdict.found
    return {
        "whole": found is None,
        "rows": verdict.rows,
        "head": str(verdict.head) if verdict.head else None,
        "anchors": verdict.anchors,
        "fault": None if found is None else {"id": found.id, "fault": found.fault, "detail": found.detail},
    }


def _verify(from_id: int, anchors: list[Anchor], show: bool) -> Verdict:
    columns = (TextColumn("checking 校验"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not show) as progress:

        async def work(connection: asyncpg.Connection[Any]) -> Verdict:
            task = progress.add_task("", total=await audit.span(connection, from_id))
            return await audit.verify(
                connection,
                from_id=from_id,
                anchors=anchors,
                progress=lambda done: progress.update(task, completed=done),
            )

        return _run(work)


def register(app: typer.Typer) -> None:
    cli = typer.Typer(help="Audit 审计: who did what, and proof that nobody has edited it.", no_args_is_help=True)
    app.add_typer(cli, name="audit")

    @cli.command()
    def verify(
        from_id: Annotated[int, typer.Option(min=1, help="Begin here; the row before is taken as it stands.")] = 1,
        anchor: Annotated[
            list[str] | None, typer.Option(help="A noted row, <id>:<hash>; may stand several times.")
        ] = None,
        anchors: Annotated[
            Path | None, typer.Option(help="A file of noted rows: compared, and the newest row is added to it.")
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Walk the chain and name the first row that is not as it was written. Exit code 1 where there is one."""
        try:
            noted = [Anchor.read(text) for text in anchor or []]
            if anchors is not None and anchors.exists():
                noted += read_anchors(anchors)
        except (ValueError, OSError) as error:
            typer.echo(f"linhub: {error}", err=True)
            raise typer.Exit(2) from None
        verdict = _verify(from_id, noted, show=not as_json)
        if as_json:
            typer.echo(json.dumps(plain(verdict)))
        elif verdict.found is not None:
            typer.echo(words(verdict.found), err=True)
        else:
            typer.echo(f"whole 完整: {verdict.rows} rows, {verdict.anchors} anchors compared; newest {verdict.head}")
        if verdict.found is not None:
            raise typer.Exit(1)
        if anchors is not None and verdict.head is not None:
            with anchors.open("a", encoding="utf-8") as file:
                file.write(f"{verdict.head}\n")

    @cli.command("list")
    def list_(
        actor: Annotated[str | None, typer.Option(help="Account id.")] = None,
        action: Annotated[str | None, typer.Option(help="Beginning of the action, such as key.")] = None,
        subject: Annotated[str | None, typer.Option(help="Beginning of the subject, such as device:")] = None,
        community: Annotated[str | None, typer.Option()] = None,
        since: Annotated[datetime | None, typer.Option("--from", help="UTC.")] = None,
        until: Annotated[datetime | None, typer.Option("--to", help="UTC.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
        as_json: AsJson = False,
    ) -> None:
        """Who did what, newest first."""

        def utc(at: datetime | None) -> datetime | None:
            return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at

        rows = _run(
            lambda connection: audit.list_rows(
                connection,
                actor=actor,
                action=action,
                subject=subject,
                community=community,
                since=utc(since),
                until=utc(until),
                limit=limit,
            )
        )
        for row in rows:
            if as_json:
                typer.echo(json.dumps({**row, "at": row["at"].isoformat(), "detail": json.loads(row["detail"])}))
            else:
                who = f"{row['actor_id']} ({row['actor_role']})  {row['community_id'] or '-'}"
                typer.echo(
                    f"{row['id']:>8}  {row['at']:%Y-%m-%d %H:%M:%S}Z  {who}  "
                    f"{row['action']}  {row['subject']}  {row['detail']}"
                )
