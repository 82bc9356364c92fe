"""Row-level security: every table of a tenant is under it, and nobody sees or writes another tenant's rows."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from services.adapters.tenants import TENANT_ROLE
from tests.tenant_rows import TENANTS, Table, fill, value

EXCUSED: Mapping[str, str] = {
    "schema_migration": "which migrations ran",
    "catalogue_metric": "the kinds' metrics, the same for all",
    "street": "names of streets, shown with every community",
    "ingest_ledger": "sums over all communities",
    "ingest_worker": "processes of ingest; no privilege",
    "worker_lease": "who owns which partition",
    "former_session": "sessions at the broker; no privilege",
    "checkpoint": "how far engines have read; no privilege",
    "rule_state": "what engines remember; no privilege",
    "outbox_reader": "how far the outbox was read; no privilege",
    "login_failure": "failed logins by hash and network; no privilege",
    "ingest_log": "telemetry: no privilege, no function",
    "device_note": "telemetry: no privilege, no function",
    "device_event": "telemetry: no privilege, asked through states_at and device_events",
    "device_state": "telemetry: no privilege, asked through device_states",
    "reading": "telemetry: no privilege, asked through readings_*, states_at, curve_*, rollup_*",
    "rollup_hour": "telemetry: no privilege, asked through rollup_*",
    "rollup_day": "telemetry: no privilege, asked through rollup_*",
    "rollup_boundary": "telemetry: no privilege",
    "rollup_progress": "telemetry: no privilege",
    "rollup_stale": "telemetry: no privilege",
    "meter_hour": "telemetry: no privilege, asked through meter_*",
    "meter_day": "telemetry: no privilege, asked through meter_*",
    "meter_rating": "telemetry: no privilege",
    "meter_swap": "telemetry: no privilege",
}
"""Tables without policies, and why: nothing of a tenant in them, or nothing that the tenants' role may touch."""
READ_BY_ALL = {"catalogue_metric", "street", "ingest_ledger", "worker_lease"}
CLOSED = {"notice_link", "retention_mark", "city_told"}
"""Under policies, and without any privilege all the same."""
OF_A_HOME = {
    "household", "person", "device", "person_contact", "alert", "alert_answer", "alert_occurrence", "resident_report",
    "report_note", "notice", "notice_attempt", "contact_channel", "app_user", "staff_position", "device_credential",
    "app_session", "external_identity", "api_key", "display", "display_pairing", "registry_import", "registry_made",
    "consent", "device_consent", "emergency_access", "erasure", "vital_baseline", "device_online", "audit", "outbox",
    "city_subscription", "city_signing_key", "city_delivery", "city_attempt", "city_dead_letter",
    "city_broker_login",
    "city_case", "city_case_photo", "ngsi_subscription", "ngsi_progress", "ngsi_known", "ngsi_attempt",
}  # fmt: skip
"""What somebody who is bound to no home sees nothing of."""
DEFINERS: Mapping[str, str] = {
    "tenant_enter": "says the scope, from the ticket",
    "tenant_home_devices": "of the home in the scope, within its communities",
    "command_written": "a trigger: the only way into a command's history",
    "rollup_moved": "a trigger: marks hours as stale",
    "device_states": "guarded",
    "devices_online": "guarded",
    "readings_mean": "guarded",
    "readings_used": "guarded",
    "readings_of": "guarded",
    "readings_bucketed": "guarded",
    "readings_lines": "guarded",
    "device_events": "guarded",
    "states_at": "guarded",
    "curve_gauge": "guarded",
    "curve_counter": "guarded",
    "curve_level": "guarded",
    "rollup_of": "guarded",
    "meter_of": "guarded",
    "audit_append": "guarded",
    "outbox_append": "guarded",
    "account_blocked_until": "a time, of an account by its id",
    "account_free": "of an account whose community the scope holds",
    "account_administrators": "ids and scopes of administrators",
}
"""Every function that runs with its owner's rights. `guarded`: it needs a community, and that the asker holds it."""


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def tenant(
    url: str, community: str | None = None, everything: bool = False, household: str | None = None
) -> AsyncIterator[Any]:
    """A connection as the API's are; past triggers, so that what refuses is the policy."""
    connection = await asyncpg.connect(url, server_settings={"session_replication_role": "replica"})
    try:
        await connection.execute(f"SET ROLE {TENANT_ROLE}")
        if community is not None or everything:
            enter = "SELECT tenant_enter($1, NULL, $2, $3, $4, NULL)"
            await connection.execute(enter, community, everything, household, household and community)
        yield connection
    finally:
        await connection.close()


async def _separated(connection: Any) -> set[str]:
    """Tables where policies are forced upon the owner, and both the services and tenants have theirs."""
    rows = await connection.fetch(
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relrowsecurity "
        "AND c.relforcerowsecurity AND (SELECT array_agg(polname::text) FROM pg_policy WHERE polrelid = c.oid) "
        "@> ARRAY['services', 'tenant']"
    )
    return {row["relname"] for row in rows}


async def test_every_table_is_separated_or_excused(owner: Any) -> None:
    names = {
        row["relname"]
        for row in await owner.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        )
    }
    separated = await _separated(owner)
    assert names - separated - set(EXCUSED) == set(), "call tenant_separate() in the migration that makes them"
    assert separated & set(EXCUSED) == set()
    tenants = await owner.fetch(
        "SELECT attrelid::regclass::text AS name FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid "
        "WHERE attname = 'community_id' AND relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    assert {row["name"] for row in tenants} <= separated


async def test_a_new_table_of_a_tenant_would_be_seen(owner: Any) -> None:
    await owner.execute("CREATE TABLE forgotten (community_id text)")
    assert "forgotten" not in await _separated(owner)
    await owner.execute("SELECT tenant_separate('forgotten', 'SELECT')")
    assert "forgotten" in await _separated(owner)


async def _counted(connection: Any, tables: Mapping[str, Table]) -> dict[str, int | None]:
    """Rows seen of each table; None where it may not be asked at all."""
    seen: dict[str, int | None] = {}
    for name in tables:
        try:
            seen[name] = await connection.fetchval(f"SELECT count(*) FROM {name}")
        except asyncpg.InsufficientPrivilegeError:
            seen[name] = None
    return seen


async def test_nobody_sees_rows_of_another_tenant(database_url: str, owner: Any) -> None:
    tables = {name: table for name, table in (await fill(owner)).items() if name not in READ_BY_ALL}
    closed = (set(EXCUSED) - READ_BY_ALL | CLOSED) & set(tables)
    async with tenant(database_url) as connection:
        assert await _counted(connection, tables) == {n: None if n in closed else 0 for n in tables}
    for one in TENANTS:
        async with tenant(database_url, one) as connection:
            assert await _counted(connection, tables) == {n: None if n in closed else 1 for n in tables}
            assert await connection.fetch("SELECT DISTINCT community_id FROM work_order") == [(one,)]
    async with tenant(database_url, everything=True) as connection:
        assert await _counted(connection, tables) == {n: None if n in closed else 2 for n in tables}
    async with tenant(database_url, "nowhere") as connection:
        assert not any((await _counted(connection, tables)).values())


async def test_of_homes_and_people_somebody_at_home_sees_their_own(database_url: str, owner: Any) -> None:
    tables = {name: table for name, table in (await fill(owner)).items() if name not in EXCUSED and name not in CLOSED}
    async with tenant(database_url, "a", household="a") as connection:
        hidden = {name for name, count in (await _counted(connection, tables)).items() if count == 0}
        closed = {"api_key", "display", "display_pairing", "outbox", "registry_import", "registry_made"}
        closed |= {name for name in OF_A_HOME if name.startswith(("city_", "ngsi_"))}
        assert hidden == closed
    await owner.execute("UPDATE app_user SET id = 'neighbour', household_id = 'h' WHERE id = 'a'")
    async with tenant(database_url, "a", household="-") as connection:
        # Whose account nobody is: nothing of a home, and nothing that is told to an account.
        await connection.execute("SELECT tenant_enter('a', NULL, false, '-', 'nobody', NULL)")
        hidden = {name for name, count in (await _counted(connection, tables)).items() if count == 0}
        assert hidden == OF_A_HOME


async def test_nobody_writes_into_another_tenant(database_url: str, owner: Any) -> None:
    tables = {name: table for name, table in (await fill(owner)).items() if name not in EXCUSED}
    async with tenant(database_url, "a") as connection:
        for table in tables.values():
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(table.insert("b"))
            moved = ", ".join(
                f"{column} = {value(table.name, column, table.columns[column], 'b')}" for column in _keys(table)
            )
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"UPDATE {table.name} SET {moved}")
        for table in tables.values():
            with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"DELETE FROM {table.name}")
    for name in tables:
        left = await owner.fetchval(f"SELECT count(*) FROM {name}")
        assert left >= 1, f"{name}: another tenant's row is gone"


def _keys(table: Table) -> list[str]:
    """The columns that say whose a row is."""
    of_others = {
        "community": ["id"],
        "contact_channel": ["account_id", "contact_id"],
        "display_pairing": ["display_id"],
    }
    if table.name in of_others:
        return of_others[table.name]
    keys = (
        "community_id",
        "alert_id",
        "order_id",
        "report_id",
        "run_id",
        "notice_id",
        "subscription_id",
        "device_no",
        "user_id",
    )
    return [next(name for name in keys if name in table.columns)]


async def test_functions_with_their_owners_rights_are_few_and_guarded(owner: Any) -> None:
    rows = await owner.fetch(
        "SELECT proname, prosrc, proconfig FROM pg_proc p WHERE pronamespace = 'public'::regnamespace AND prosecdef "
        "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
    )
    assert {row["proname"] for row in rows} <= set(DEFINERS)
    for row in rows:
        assert any(one.startswith("search_path=public, pg_temp") for one in row["proconfig"] or ()), row["proname"]
        if DEFINERS[row["proname"]] == "guarded":
            begin = row["prosrc"].index("BEGIN\n")
            assert row["prosrc"][begin + 6 :].lstrip().startswith("PERFORM tenant_must_hold(p_community);"), row


async def test_functions_refuse_a_community_outside_the_scope(database_url: str, owner: Any) -> None:
    await fill(owner)
    rows = await owner.fetch(
        "SELECT p.oid::regprocedure::text AS signature, p.proname, p.proargnames AS names, "
        "ARRAY(SELECT format_type(t, -1) FROM unnest(p.proargtypes) AS t) AS types "
        "FROM pg_proc p WHERE pronamespace = 'public'::regnamespace AND proname = ANY ($1)",
        [name for name, why in DEFINERS.items() if why == "guarded"],
    )
    assert len(rows) >= 8
    calls = {
        row["signature"]: "SELECT * FROM {}({})".format(
            row["proname"],
            ", ".join(
                "$1::text" if name == "p_community" else f"NULL::{type}"
                for name, type in zip(row["names"], row["types"], strict=False)
            ),
        )
        for row in rows
    }
    for scope in (None, "a"):
        async with tenant(database_url, scope) as connection:
            for signature, call in calls.items():
                for community in ("b", None):
                    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="outside the scope"):
                        await connection.fetch(call, community)
                    assert signature


async def test_the_latest_of_each_device_is_told_for_a_community_one_holds(database_url: str, owner: Any) -> None:
    await fill(owner)
    async with tenant(database_url, "a") as connection:
        assert [row["device_no"] for row in await connection.fetch("SELECT * FROM device_states('a')")] == [1]
        assert await connection.fetch("SELECT * FROM device_states('a', ARRAY[2])") == []
        assert await connection.fetchrow("SELECT * FROM devices_online('a')") is not None
        found = await connection.fetch(
            "SELECT * FROM readings_mean('a', ARRAY[1, 2], '2025-01-01', '2027-01-01', '1 day', 1)"
        )
        assert len(found) <= 1


async def test_the_books_take_rows_of_the_scope_alone(database_url: str, owner: Any) -> None:
    del owner
    append = "SELECT audit_append('somebody', 'desk', $1, 'x', 'y', '{}')"
    tell = "SELECT outbox_append('x', $1, 'y', 'z', '{}')"
    async with tenant(database_url, "a") as connection:
        for statement in (append, tell):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement, "b")
        for statement in ("INSERT INTO audit DEFAULT VALUES", "INSERT INTO outbox DEFAULT VALUES"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_secrets_are_written_and_never_read_back(database_url: str, owner: Any) -> None:
    del owner
    async with tenant(database_url, everything=True) as connection:
        for table, column in (("app_user", "password_hash"), ("device_credential", "secret_hash")):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT {column} FROM {table}")


async def test_the_role_outlives_every_reset(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, server_settings={"role": TENANT_ROLE})
    try:
        await connection.execute("SELECT tenant_enter('a', NULL, true, NULL, NULL, NULL)")
        for reset in ("RESET ALL", "RESET ROLE", "DISCARD ALL"):
            await connection.execute(reset)
            await connection.reload_schema_state()  # what it had prepared is gone
            assert await connection.fetchval("SELECT current_user") == TENANT_ROLE
            assert not await connection.fetchval("SELECT current_setting('linhub.everything', true)")
    finally:
        await connection.close()
