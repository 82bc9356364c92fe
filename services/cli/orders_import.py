"""`linhub orders import`: takes over the order histories of an old system, once, all of it or what is good of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.adapters import order_import as store
from services.adapters.order_import import Fault, NoSuchCommunity, Ready
from services.adapters.postgres import RETRYABLE
from services.cli.home import database_url, find_home, tr
from services.cli.order_file import FileError, Record, records, write_rejects

OK, FAULTY, CANNOT = 0, 1, 2
_SHOWN = 50
errors = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Done:
    records: int
    imported: int
    known: int
    faults: tuple[Fault, ...]


async def import_orders(
    url: str,
    community: str,
    found: Sequence[Record],
    *,
    partly: bool,
    forgive_people: bool,
    actor: str,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> Done:
    """One transaction; with any fault nothing is written unless `partly`. Raises NoSuchCommunity and asyncpg errors."""
    now = now or datetime.now(UTC)
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    checking = progress.add_task(tr("checking", "检查"), total=len(found)) if progress else None
    try:
        async with connection.transaction():
            known = await store.known_of(connection, community, forgive_people=forgive_people)
            ready: list[Ready] = []
            faults: list[Fault] = []
            async for one in store.prepare(connection, known, ((r.line, r.raw) for r in found), now):
                (faults if isinstance(one, Fault) else ready).append(one)  # type: ignore[arg-type]
                if progress and checking is not None:
                    progress.advance(checking)
            fresh, there, differing = await store.compare(connection, ready)
            faults += differing + await store.missing_targets(connection, fresh)
            bad = {fault.line for fault in faults}
            fresh = [one for one in fresh if one.line not in bad]
            faults.sort(key=lambda fault: fault.line)
            if not fresh or (faults and not partly):
                return Done(len(found), 0, there, tuple(faults))
            writing = progress.add_task(tr("writing", "写入"), total=len(fresh)) if progress else None

            def told(count: int) -> None:
                if progress and writing is not None:
                    progress.advance(writing, count)

            await store.write(connection, known, fresh, actor, told)
            return Done(len(found), len(fresh), there, tuple(faults))
    finally:
        await connection.close()


def register(app: typer.Typer) -> None:
    @app.command("import")
    def command(
        file: Annotated[Path, typer.Argument(help="Histories in .jsonl or .csv; docs/orders-import.md.")],
        community: Annotated[str, typer.Option(help="Which community they are of.")],
        rejects: Annotated[
            Path | None,
            typer.Option(help="Import what is good and write what is not here; without it, all or nothing."),
        ] = None,
        ignore_people: Annotated[
            bool, typer.Option("--ignore-people", help="People without an account here count as their team.")
        ] = False,
        home: Annotated[Path | None, typer.Option(help="LINHUB_HOME.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Take over the order histories of an old system; the same file again changes nothing.

        Exit code 1: something in it is wrong; 2: it could not be tried.
        """
        url = os.environ.get("LINHUB_DATABASE_URL") or database_url(home or find_home())
        if url is None:
            _end(tr("no database; run `linhub up`, or set LINHUB_DATABASE_URL",
                    "没有数据库：先运行 linhub up，或设置 LINHUB_DATABASE_URL"))  # fmt: skip
        if rejects is not None and rejects.exists():
            _end(tr(f"{rejects} is there already; name another file", f"{rejects} 已存在，请换一个文件名"))
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        try:
            found = records(file)
            with Progress(*columns, console=errors, disable=as_json) as progress:
                done = asyncio.run(
                    import_orders(
                        url,
                        community,
                        found,
                        partly=rejects is not None,
                        forgive_people=ignore_people,
                        actor="cli",
                        progress=progress,
                    )
                )
            if rejects is not None and done.faults:
                bad = {fault.line for fault in done.faults}
                write_rejects(rejects, file, [record for record in found if record.line in bad])
        except FileError as error:
            _end(str(error))
        except NoSuchCommunity:
            _end(tr(f"there is no community {community}", f"没有社区 {community}"))
        except (*RETRYABLE, asyncpg.PostgresError) as error:
            _end(f"{error or type(error).__name__}")
        _tell(done, file, rejects, as_json)
        raise typer.Exit(FAULTY if done.faults else OK)


def _end(why: str) -> NoReturn:
    errors.print(f"linhub: {why}", style="red", markup=False)
    raise typer.Exit(CANNOT)


def _tell(done: Done, file: Path, rejects: Path | None, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(done), ensure_ascii=False))
        return
    for fault in done.faults[:_SHOWN]:
        errors.print(f"{file}:{fault.line}: {fault.what}", style="red", markup=False)
    if len(done.faults) > _SHOWN:
        errors.print(tr(f"… and {len(done.faults) - _SHOWN} more", f"… 另有 {len(done.faults) - _SHOWN} 处"))
    words = tr(
        f"{done.records} records: {done.imported} imported, {done.known} here already, {len(done.faults)} wrong",
        f"{done.records} 条记录：导入 {done.imported}，已有 {done.known}，有误 {len(done.faults)}",
    )
    if done.faults and rejects is None:
        words += tr("; nothing was changed", "；未做任何更改")
    Console(highlight=False).print(words, markup=False)
