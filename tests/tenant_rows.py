"""One row of each of two tenants in every table there is, so that whoever sees a wrong one sees it at once.

Every value follows from its type and its tenant alone. So a row refers to its tenant's row of any other table, whatever
the column is called, and nothing has to be said of a table that is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TENANTS = ("a", "b")

_SCALARS: Mapping[str, Mapping[str, str]] = {
    "text": {"a": "'a'", "b": "'b'"},
    "uuid": {"a": "'00000000-0000-0000-0000-00000000000a'", "b": "'00000000-0000-0000-0000-00000000000b'"},
    "integer": {"a": "1", "b": "2"},
    "bigint": {"a": "1", "b": "2"},
    "smallint": {"a": "1", "b": "2"},
    "real": {"a": "1", "b": "2"},
    "double precision": {"a": "1", "b": "2"},
    "numeric": {"a": "1", "b": "2"},
    "bytea": {"a": "'\\x0a'", "b": "'\\x0b'"},
    "inet": {"a": "'10.0.0.1'", "b": "'10.0.0.2'"},
    "date": {"a": "'2026-01-01'", "b": "'2026-01-02'"},
    "timestamp with time zone": {"a": "'2026-01-01'", "b": "'2026-01-02'"},
    "time without time zone": {"a": "'01:00'", "b": "'02:00'"},
    "interval": {"a": "'1 s'", "b": "'2 s'"},
    "boolean": {"a": "false", "b": "false"},
    "jsonb": {"a": "'{}'", "b": "'{}'"},
    "tstzmultirange": {"a": "'{}'", "b": "'{}'"},
    "tstzrange": {"a": "'empty'", "b": "'empty'"},
}
SPECIAL = {("notice", "recipient"): "'account:' || {}"}


def value(table: str, column: str, type: str, tenant: str) -> str:
    """An SQL literal."""
    if type.endswith("[]"):
        return "'{}'"
    literal = _SCALARS[type][tenant]
    return SPECIAL.get((table, column), "{}").format(literal)


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: Mapping[str, str]
    """To their types; without what is generated."""

    def insert(self, tenant: str) -> str:
        values = ", ".join(value(self.name, name, type, tenant) for name, type in self.columns.items())
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) OVERRIDING SYSTEM VALUE VALUES ({values})"


async def tables(connection: Any) -> dict[str, Table]:
    """Every table of the schema."""
    rows = await connection.fetch(
        "SELECT c.relname AS name, a.attname AS column, format_type(a.atttypid, -1) AS type "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attgenerated = '' "
        "ORDER BY c.relname, a.attnum"
    )
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row["name"], {})[row["column"]] = row["type"]
    return {name: Table(name, columns) for name, columns in found.items()}


async def fill(connection: Any) -> dict[str, Table]:
    """Both tenants' rows, past every check and trigger: what rows say does not matter here, only whose they are."""
    found = await tables(connection)
    await connection.execute("SET session_replication_role = replica")
    for row in await connection.fetch(
        "SELECT conrelid::regclass::text AS name, conname FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'x') AND conrelid <> 0"
    ):
        await connection.execute(f"ALTER TABLE {row['name']} DROP CONSTRAINT {row['conname']}")
    for table in found.values():
        if table.name in ("schema_migration", "catalogue_metric"):
            continue
        await connection.execute(f"DELETE FROM {table.name}")
        for tenant in TENANTS:
            await connection.execute(table.insert(tenant))
    return found
