"""`linhub person`: a copy of everything kept about somebody, and erasing them, by two people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import typer

from services.adapters.privacy import erase as erasing
from services.adapters.privacy.export import write_export
from services.cli.home import database_url, find_home

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
By = Annotated[str, typer.Option("--by", help="Whose word it is; kept in the audit.")]


def _run(work: Callable[[Any], Awaitable[T]]) -> T:
    try:
        url = database_url(find_home())
    except ValueError as error:
        typer.echo(f"linhub: {error}", err=True)
        raise typer.Exit(2) from None
    if url is None:
        typer.echo("linhub: no database yet: run `linhub up`, or set LINHUB_DATABASE_URL", err=True)
        raise typer.Exit(2)

    async def run() -> T:
        connection = await asyncpg.connect(url)
        try:
            await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
            return await work(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except erasing.Gone as error:
        typer.echo(f"linhub: 没有此人或此申请 · no such person or request: {error}", err=True)
        raise typer.Exit(1) from None
    except erasing.NotTheirs:
        typer.echo("linhub: 申请人不能自己批准 · who asked may not approve it", err=True)
        raise typer.Exit(1) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        typer.echo(f"linhub: the database does not answer: {error or type(error).__name__}", err=True)
        raise typer.Exit(1) from None


def register(app: typer.Typer) -> None:
    person = typer.Typer(help="What is kept about one person: hand it out, or erase it.", no_args_is_help=True)
    app.add_typer(person, name="person")

    @person.command()
    def export(person_id: str, out: Annotated[Path, typer.Option("--out", help="The ZIP to write.")], by: By) -> None:
        """Write everything that is kept about somebody to a ZIP."""

        async def work(connection: Any) -> dict[str, int]:
            with out.open("xb") as file:
                out.chmod(0o600)
                counts = await write_export(connection, person_id, file)
            row = await connection.fetchrow(erasing.Q["person"], person_id)
            detail = {"purpose": "export", "person": person_id, "what": "export", "counts": counts}
            await connection.execute(
                erasing.Q["audit"], by, "operator", row["community_id"], "health.read", f"person:{person_id}",
                json.dumps(detail),
            )  # fmt: skip
            return counts

        counts = _run(work)
        typer.echo(f"{out}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))

    @person.command()
    def erase(
        person_id: str,
        by: By,
        approve: Annotated[UUID | None, typer.Option("--approve", help="A request of somebody else: do it.")] = None,
        ask: Annotated[bool, typer.Option("--ask", help="Ask for it; without, only count.")] = False,
        reason: Annotated[str, typer.Option(help="request, moved_out, deceased or mistake")] = "request",
        as_json: AsJson = False,
    ) -> None:
        """Count what would go; ask for it; or approve what somebody else has asked for, which does it."""
        now = datetime.now(UTC)

        async def work(connection: Any) -> dict[str, Any]:
            if approve is not None:
                request = await erasing.approve(connection, approve, by, now)
                if request["person_id"] != person_id:
                    raise erasing.Gone(person_id)
                return dict(await erasing.erase(connection, approve, by, "operator", now))
            async with connection.transaction():
                scope = await erasing.scope_of(connection, person_id)
                if not ask:
                    return {"counts": await erasing.counted(connection, scope)}
                return dict(await erasing.ask(connection, scope, uuid4(), reason, by, "operator", now))

        found = _run(work)
        if as_json:
            typer.echo(json.dumps(found, default=str))
            return
        state = "done" if found.get("done_at") else f"waiting: {found['id']}" if "id" in found else "dry run"
        typer.echo(f"{person_id}: {state}; " + ", ".join(f"{name} {n}" for name, n in found["counts"].items()))
