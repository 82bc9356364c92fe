"""What every verb of `linhub device` begins with: the database, who asks, which devices; and how it may end."""

from __future__ import annotations

import asyncio
import csv
import getpass
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import asyncpg
import typer
from rich.console import Console

from services.adapters.profiles import ProfileError
from services.adapters.profiles import load as load_profiles
from services.adapters.registry.provision import Fault, Faulty
from services.cli import device_words
from services.cli.device_file import FileError
from services.cli.home import database_url as database_of
from services.cli.home import find_home, tr
from services.domain.profiles.mapper import Profiles

T = TypeVar("T")

errors = Console(stderr=True, highlight=False, soft_wrap=True)


def _url() -> str:
    url = os.environ.get("LINHUB_DATABASE_URL") or database_of(find_home())
    if url is None:
        end(
            tr(
                "no database; run `linhub up`, or set LINHUB_DATABASE_URL",
                "没有数据库：先运行 linhub up，或设置 LINHUB_DATABASE_URL",
            ),
            2,
        )
    return url


def profiles_in_use() -> Profiles:
    """Those that ingest would use, told where ingest is told."""
    folder = os.environ.get("LINHUB_PROFILES")
    try:
        return load_profiles(Path(folder) if folder else None)
    except ProfileError as error:
        end(str(error), 2)


def actor() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return f"cli:{os.getuid()}"


def end(why: str, code: int = 1) -> NoReturn:
    errors.print(f"linhub: {why}", style="red", markup=False)
    raise typer.Exit(code)


def with_database(work: Callable[[asyncpg.Connection[Any]], Awaitable[T]], source: str = "") -> T:
    """Runs `work` on a connection; ends the program with what is wrong, all of it, where something is."""

    async def run() -> T:
        connection = await asyncpg.connect(_url())
        try:
            return await work(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except Faulty as faulty:
        tell_faults(faulty.faults, source)
    except FileError as error:
        end(str(error))
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        end(str(error) or type(error).__name__)
    raise typer.Exit(1)


def tell_faults(faults: Sequence[Fault], source: str) -> None:
    for fault in faults:
        where = f"{source}:{fault.line}: " if source else ""
        errors.print(f"{where}{device_words.sentence(fault)}", style="red", markup=False)
    count = len(faults)
    errors.print(
        tr(f"linhub: {count} faults; nothing was changed", f"linhub：{count} 处错误，未做任何更改"), style="bold red"
    )


def ids_asked(devices: list[str] | None, file: Path | None) -> list[str]:
    ids = list(devices or ())
    if file is not None:
        try:
            ids += _ids_of(file)
        except (OSError, UnicodeDecodeError, FileError) as error:
            end(str(error), 2)
    if not ids:
        end(tr("no device named; give ids or --file", "没有指定设备：请给出设备 id 或 --file"), 2)
    return ids


def _ids_of(file: Path) -> Iterator[str]:
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    rows = list(csv.reader(line for line in lines if line.strip() and not line.startswith("#")))
    if rows and "id" in (head := [cell.strip() for cell in rows[0]]):
        column = head.index("id")
        yield from (row[column].strip() for row in rows[1:] if len(row) > column)
    elif any(len(row) != 1 for row in rows):
        raise FileError(f"{file}: several columns, and none is called id")
    else:
        yield from (row[0].strip() for row in rows)
