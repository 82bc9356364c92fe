"""Schema migrations: numbered SQL files, forward only, checksummed, safe to run twice and at once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from services.domain.devices import CATALOGUE

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_LOCK = 7236000
"""Advisory lock: one migrator at a time; the others wait, then find nothing left to do."""
_ALONE = "-- transaction: none"
"""First line of a file with the one statement that cannot run in a transaction (CREATE INDEX CONCURRENTLY)."""
_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


class MigrationError(Exception):
    """The schema cannot be brought up to date; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    applied: tuple[str, ...]
    pending: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _File:
    id: str
    text: str
    checksum: str


def _read(folder: Path) -> list[_File]:
    files = []
    for number, path in enumerate(sorted(folder.glob("*.sql")), start=1):
        match = _NAME.match(path.name)
        if match is None or int(match[1]) != number:
            raise MigrationError(f"{path.name}: expected {number:04d}_verb_object.sql; numbers run without gaps")
        content = path.read_bytes()
        files.append(_File(path.stem, content.decode(), hashlib.sha256(content).hexdigest()))
    if not files:
        raise MigrationError(f"no migrations in {folder}")
    return files


@asynccontextmanager
async def _session(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that holds the migration lock; closing it lets go."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration "
            "(id text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        yield connection
    finally:
        await connection.close()


async def _pending(connection: asyncpg.Connection, files: list[_File]) -> list[_File]:
    rows = await connection.fetch("SELECT id, checksum FROM schema_migration")
    kept = {row["id"]: row["checksum"] for row in rows}
    unknown = set(kept) - {file.id for file in files}
    if unknown:
        raise MigrationError(
            f"the database has migrations this version does not know ({', '.join(sorted(unknown))}); "
            "it belongs to a newer version: upgrade this one"
        )
    for file in files:
        if kept.get(file.id, file.checksum) != file.checksum:
            raise MigrationError(
                f"{file.id} was changed after it was applied; restore the file and put the change in a new migration"
            )
    return [file for file in files if file.id not in kept]


async def status(database_url: str, folder: Path = MIGRATIONS) -> MigrationStatus:
    """Which migrations are applied and which are pending. Raises MigrationError where the two disagree."""
    files = _read(folder)
    async with _session(database_url) as connection:
        pending = {file.id for file in await _pending(connection, files)}
    return MigrationStatus(tuple(f.id for f in files if f.id not in pending), tuple(sorted(pending)))


async def migrate(
    database_url: str, folder: Path = MIGRATIONS, progress: Callable[[str], None] | None = None
) -> MigrationStatus:
    """Applies what is pending, each file in one transaction with its checksum, then writes the device catalogue.

    Old readings are compressed from then on where the server's edition can.

    Raises MigrationError when a file was edited after it was applied, or fails.
    """
    files = _read(folder)
    async with _session(database_url) as connection:
        await connection.execute("SET lock_timeout = '5s'")
        for file in await _pending(connection, files):
            if progress:
                progress(file.id)
            try:
                await _apply(connection, file)
            except asyncpg.PostgresError as error:
                raise MigrationError(f"{file.id} failed and was rolled back: {error}") from error
        await _write_catalogue(connection)
        if await connection.fetchval("SELECT to_regproc('storage_compression') IS NOT NULL"):
            await connection.execute("SELECT storage_compression()")
    return MigrationStatus(tuple(file.id for file in files), ())


async def _apply(connection: asyncpg.Connection, file: _File) -> None:
    record = "INSERT INTO schema_migration (id, checksum) VALUES ($1, $2)"
    if file.text.startswith(_ALONE):
        await connection.execute(file.text)
        await connection.execute(record, file.id, file.checksum)
        return
    async with connection.transaction():
        await connection.execute(file.text)
        await connection.execute(record, file.id, file.checksum)


async def _write_catalogue(connection: asyncpg.Connection) -> None:
    """Stored arrays follow the order of a kind's metrics, so a metric may be added at the end but never moved."""
    known = {
        (row["kind"], row["position"]): row["metric"]
        for row in await connection.fetch("SELECT kind, position, metric FROM catalogue_metric")
    }
    rows = []
    for kind in CATALOGUE:
        for position, metric in enumerate(kind.metrics):
            before = known.get((kind.name, position))
            if before not in (None, metric.name):
                raise MigrationError(
                    f"{kind.name}: metric {position} was {before} and is now {metric.name}; "
                    "stored readings would change their meaning: add new metrics at the end"
                )
            of = metric.register
            moves = (of.max_per_h, of.household_per_h, of.slack_h, of.modulus, of.retentive) if of else (None,) * 5
            rows.append((kind.name, position, metric.name, metric.unit, *moves))
    await connection.executemany(
        "INSERT INTO catalogue_metric "
        "(kind, position, metric, unit, max_per_h, household_per_h, slack_h, modulus, retentive) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (kind, position) DO UPDATE SET "
        "unit = excluded.unit, max_per_h = excluded.max_per_h, household_per_h = excluded.household_per_h, "
        "slack_h = excluded.slack_h, modulus = excluded.modulus, retentive = excluded.retentive "
        "WHERE (catalogue_metric.unit, catalogue_metric.max_per_h, catalogue_metric.household_per_h, "
        "catalogue_metric.slack_h, catalogue_metric.modulus, catalogue_metric.retentive) IS DISTINCT FROM "
        "(excluded.unit, excluded.max_per_h, excluded.household_per_h, excluded.slack_h, excluded.modulus, "
        "excluded.retentive)",
        rows,
    )
