"""`linhub evidence`: sweeps what nothing refers to, and proves that what is referred to is there and whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import asyncpg
import typer

from services.adapters.evidence import Store, StoreAway, open_store, upkeep
from services.cli.home import database_url, evidence_url, find_home

T = TypeVar("T")
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"


def _run(work: Callable[[upkeep.Connection, Store], Awaitable[T]]) -> T:
    home = find_home()
    try:
        url, store = database_url(home), open_store(evidence_url(home))
    except ValueError as error:
        typer.echo(f"linhub: {error}", err=True)
        raise typer.Exit(2) from None
    if url is None:
        typer.echo("linhub: no database yet: run `linhub up`, or set LINHUB_DATABASE_URL", err=True)
        raise typer.Exit(2)

    async def run() -> T:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection, store)
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except StoreAway as error:
        typer.echo(f"linhub: {error}", err=True)
        raise typer.Exit(1) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        typer.echo(f"linhub: the database does not answer: {error or type(error).__name__}", err=True)
        raise typer.Exit(1) from None


def register(app: typer.Typer) -> None:
    evidence = typer.Typer(help="Look after stored photos, clips, voice notes and signatures.", no_args_is_help=True)
    app.add_typer(evidence, name="evidence")

    @evidence.command()
    def sweep(as_json: AsJson = False) -> None:
        """Delete objects that no row has referred to for a day, and what was sent and linked to nothing for a week."""

        def progress(done: upkeep.Swept) -> None:
            if not as_json:
                typer.echo(
                    f"已看 {done.seen}，已删 {done.deleted} · looked at {done.seen}, deleted {done.deleted}", err=True
                )

        done = _run(lambda connection, store: upkeep.sweep(connection, store, datetime.now(UTC), progress))
        if as_json:
            typer.echo(json.dumps({name: getattr(done, name) for name in done.__slots__}))
        else:
            typer.echo(
                f"清理完成 · swept: {done.deleted} of {done.seen} objects, {_mib(done.freed)}; "
                f"{done.unlinked} never linked; {done.halves} cut uploads"
            )

    @evidence.command()
    def verify(as_json: AsJson = False) -> None:
        """Read every object that is referred to; exit 1 and name what is missing or damaged."""

        def progress(done: int, of: int) -> None:
            if not as_json:
                typer.echo(f"已核对 {done}/{of} · read {done} of {of}", err=True)

        async def work(connection: upkeep.Connection, store: Store) -> tuple[upkeep.Verified, dict[str, list[str]]]:
            found = await upkeep.verify(connection, store, progress)
            bad = [*found.missing, *found.damaged]
            return found, {name: await upkeep.rows_of(connection, name) for name in bad}

        found, needed = _run(work)
        if as_json:
            typer.echo(
                json.dumps(
                    {"whole": found.whole, "missing": found.missing, "damaged": found.damaged, "evidence": needed}
                )
            )
        else:
            for why, names in (("缺失 missing", found.missing), ("损坏 damaged", found.damaged)):
                for name in names:
                    typer.echo(f"{why}: {name}  ← {', '.join(needed[name])}")
            typer.echo(f"完好 · whole: {found.whole}; missing: {len(found.missing)}; damaged: {len(found.damaged)}")
        raise typer.Exit(1 if found.missing or found.damaged else 0)
