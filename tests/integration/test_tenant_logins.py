"""The tenants' roles and the API's login: made by whoever may, at once for many databases, told plainly where not."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.adapters.migrate import MigrationError, migrate
from services.adapters.tenants import LoginError, ensure_login, scram, separation
from services.api.store.database import Database
from services.api.store.tenancy import Scope
from services.cli.checks import judge_tenants
from tests.conftest import own_servers, run, with_database


async def _many_at_once(maintenance_url: str) -> None:
    """On a cluster that has never seen the roles."""
    connection = await asyncpg.connect(maintenance_url)
    try:
        names = [f"many_{number}" for number in range(3)]
        for name in names:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        await asyncio.gather(*(migrate(with_database(maintenance_url, name)) for name in names))
        roles = "SELECT count(*) FROM pg_roles WHERE rolname IN ('linhub_service', 'linhub_tenant')"
        assert await connection.fetchval(roles) == 2
        await _owner_that_may_not_make_roles(maintenance_url, connection)
    finally:
        await connection.close()


async def _owner_that_may_not_make_roles(maintenance_url: str, admin: Any) -> None:
    await admin.execute("CREATE ROLE plain LOGIN PASSWORD 'p'")
    await admin.execute("CREATE DATABASE plain TEMPLATE template0 OWNER plain")
    inside = await asyncpg.connect(with_database(maintenance_url, "plain"))
    await inside.execute("CREATE EXTENSION IF NOT EXISTS timescaledb; CREATE EXTENSION IF NOT EXISTS btree_gist")
    await inside.close()
    url = with_database(maintenance_url, "plain")
    own = f"postgresql://plain:p@{url.split('@')[1]}"
    with pytest.raises(MigrationError, match="an administrator runs once") as refused:
        await migrate(own)
    assert "GRANT linhub_service TO plain" in str(refused.value)
    await admin.execute("GRANT linhub_service TO plain; GRANT linhub_tenant TO plain WITH INHERIT FALSE, SET TRUE")
    await migrate(own)
    # Its owner, whom FORCE binds, works on as the services do.
    owner = await asyncpg.connect(own)
    await owner.execute("INSERT INTO street VALUES ('s', '', '', '')")
    await owner.execute(
        "INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents) "
        "VALUES ('c', 's', '', 0, 0, 0, 0, 0)"
    )
    assert await owner.fetchval("SELECT count(*) FROM community") == 1
    await owner.fetchval("SELECT audit_append('x', 'y', 'c', 'z', '', '{}')")
    await owner.close()
    # And the API by the same login as a tenant.
    found = await separation(own)
    assert found.holds and not found.superuser
    database = Database(own, connections=2, timeout_s=10)
    await database.open()
    async with database.read(as_=Scope(community="c")) as connection:
        assert await connection.fetchval("SELECT count(*) FROM community") == 1
    async with database.read(as_=Scope(community="d")) as connection:
        assert await connection.fetchval("SELECT count(*) FROM community") == 0
    await database.close()


def test_roles_of_a_new_cluster() -> None:
    with tempfile.TemporaryDirectory(prefix="linhub-test-") as home, own_servers(Path(home)) as own:
        run(_many_at_once(own.database_url))


@pytest.fixture
async def name(database_url: str) -> AsyncIterator[str]:
    """Of a login that is gone afterwards."""
    chosen = f"linhub_api_{secrets.token_hex(4)}"
    yield chosen
    connection = await asyncpg.connect(database_url)
    try:
        if await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", chosen):
            await connection.execute(f"DROP OWNED BY {chosen}; DROP ROLE {chosen}")
    finally:
        await connection.close()


def _url(database_url: str, name: str, password: str) -> str:
    return f"postgresql://{name}:{password}@{database_url.split('@')[1]}"


async def test_the_apis_login_is_made_kept_and_mended(database_url: str, name: str) -> None:
    first, second = _url(database_url, name, "one"), _url(database_url, name, "two")
    assert await ensure_login(database_url, first)
    assert not await ensure_login(database_url, first), "nothing to do"
    assert await ensure_login(database_url, second), "a new password"
    found = await separation(second)
    assert (found.login, found.role, found.seen, found.lifts) == (name, "linhub_tenant", 0, False)
    assert judge_tenants(found, own_login=True).level == "ok"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await separation(first)
    connection = await asyncpg.connect(second)
    try:
        for lift in ("SET ROLE linhub_service", "SET SESSION AUTHORIZATION linhub", "SET row_security = off"):
            try:
                await connection.execute(lift)
            except asyncpg.InsufficientPrivilegeError:
                continue
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch("SELECT * FROM device")
    finally:
        await connection.close()


async def test_the_apis_login_must_be_a_tenants(database_url: str, name: str) -> None:
    with pytest.raises(LoginError, match="a login of its own"):
        await ensure_login(database_url, database_url)
    with pytest.raises(LoginError, match="with its password"):
        await ensure_login(database_url, f"postgresql://x@{database_url.split('@')[1]}")
    api = _url(database_url, name, "one")
    await ensure_login(database_url, api)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"GRANT linhub_service TO {name}")
        with pytest.raises(LoginError, match="linhub_service"):
            await ensure_login(database_url, api)
        assert judge_tenants(await separation(api), own_login=True).level == "warning"
    finally:
        await connection.close()


async def test_the_doctor_warns_of_a_login_that_could_lift_it(database_url: str) -> None:
    found = await separation(database_url)
    told = judge_tenants(found, own_login=False)
    assert (told.level, "superuser" in told.found, "LINHUB_API_DATABASE_URL" in told.todo) == ("warning", True, True)
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE POLICY open_to_all ON community TO linhub_tenant USING (true)")
        await connection.execute(
            "INSERT INTO street VALUES ('s', '', '', ''); "
            "INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents) "
            "VALUES ('c', 's', '', 0, 0, 0, 0, 0)"
        )
        assert judge_tenants(await separation(database_url), own_login=False).level == "broken"
    finally:
        await connection.close()


def test_a_password_is_kept_as_the_server_keeps_it() -> None:
    """RFC 7677, section 3, has its exchange with this salt and password."""
    made = scram("pencil", b"W22ZaJ0SNY7soEsUEjb6gQ==")
    assert made.startswith("SCRAM-SHA-256$4096:")
    assert made == scram("pencil", b"W22ZaJ0SNY7soEsUEjb6gQ==") != scram("pencil")
