"""A connection's scope is the asker's and nobody else's: under load, after failures, and where a route forgets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.api.store import tenancy
from services.api.store.database import Database, ScopeMissingError, TenantLoginError
from services.api.store.tenancy import SERVICE, Scope
from services.domain.access import Principal
from services.domain.vocabulary import Role
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community

A, B = "test", "other"
FORGOTTEN = "SELECT community_id, count(*) FROM device GROUP BY community_id ORDER BY 1"
"""What a route would send that forgot its WHERE."""


@pytest.fixture
async def two(database_url: str) -> str:
    """A database with two small communities of one street, and an alert with its order in each."""
    connection = await connect(database_url)
    try:
        for name, prefix in ((A, ""), (B, "other-")):
            await put_community(database_url, small_community(name, prefix))
            device = await connection.fetchval(
                "SELECT id FROM device WHERE community_id = $1 AND kind = 'gas_alarm' ORDER BY id LIMIT 1", name
            )
            await raise_alert(connection, device)
    finally:
        await connection.close()
    return database_url


@pytest.fixture
async def database(two: str) -> AsyncIterator[Database]:
    opened = Database(two, connections=3, timeout_s=20.0)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


async def _seen(database: Database, scope: Scope | None = None) -> set[str]:
    async with database.read(as_=scope) as connection:
        return {row["community_id"] for row in await connection.fetch(FORGOTTEN)}


def _somebody(role: Role, **bound: Any) -> Principal:
    return Principal(id="x", username="x", display_name="x", role=role, team=None, **bound)


async def test_a_forgotten_where_shows_what_the_account_may_see(database: Database, two: str) -> None:
    connection = await connect(two)
    street = await connection.fetchval("SELECT street_id FROM community WHERE id = $1", A)
    await connection.execute("INSERT INTO street SELECT 'elsewhere', city, district, name FROM street LIMIT 1")
    await connection.execute("UPDATE community SET street_id = 'elsewhere' WHERE id = $1", B)
    await connection.close()
    for who, seen in (
        (_somebody(Role.DESK, community_id=A), {A}),
        (_somebody(Role.ADMIN, community_id=B), {B}),
        (_somebody(Role.STREET, street_id=street), {A}),
        (_somebody(Role.STREET, street_id="elsewhere"), {B}),
        (_somebody(Role.STREET, street_id="nowhere"), set()),
        (_somebody(Role.ADMIN), {A, B}),
        (_somebody(Role.PLATFORM), {A, B}),
        (_somebody(Role.DESK), set()),
        (_somebody(Role.RESIDENT), set()),
    ):
        assert await _seen(database, tenancy.scope_of(who)) == seen, who
    assert await _seen(database, SERVICE) == {A, B}
    assert await _seen(database, tenancy.NOBODY) == set()


async def test_people_at_home_see_their_own_home_alone(database: Database) -> None:
    async with database.read(as_=SERVICE) as connection:
        home = await connection.fetchval(
            "SELECT household_id FROM person WHERE community_id = $1 ORDER BY id LIMIT 1", A
        )
        others = await connection.fetchval("SELECT count(*) FROM person WHERE household_id <> $1", home)
    assert others > 0
    for role in (Role.RESIDENT, Role.MERCHANT, Role.VISITOR):
        who = _somebody(role, community_id=A, household_id=home)
        async with database.read(as_=tenancy.scope_of(who)) as connection:
            homes = await connection.fetch(
                "SELECT household_id FROM person UNION SELECT id FROM household "
                "UNION SELECT household_id FROM device WHERE household_id IS NOT NULL"
            )
            assert {row[0] for row in homes} == {home}
    for scope in (tenancy.scope_of(_somebody(Role.VISITOR, community_id=A)), tenancy.public(A)):
        async with database.read(as_=scope) as connection:
            assert await connection.fetchval("SELECT count(*) FROM person") == 0
            assert await connection.fetchval("SELECT count(*) FROM device WHERE household_id IS NOT NULL") == 0
            assert await connection.fetchval("SELECT count(*) FROM device") > 0


async def test_a_report_leads_to_its_own_community(database: Database) -> None:
    assert await _seen(database, Scope(report=UUID(int=0))) == set()


async def test_nobody_asks_without_saying_whose_rows(database: Database) -> None:
    with pytest.raises(ScopeMissingError):
        async with database.read():
            pass


async def test_scopes_never_meet_on_one_connection(database: Database) -> None:
    """Two hundred uses on three connections: some fail in a transaction, some are cancelled in a query."""
    order = random.Random(7)

    async def one(number: int) -> None:
        tenant = (A, B)[number % 2]
        tenancy.current.set(Scope(community=tenant, everything=False))
        way = order.choice(("read", "write", "consistent", "fail", "cancel"))
        if way == "read":
            assert await _seen(database) == {tenant}
        elif way == "write":
            async with database.write() as connection:
                await connection.execute("UPDATE device SET name = name")
                assert {row[0] for row in await connection.fetch(FORGOTTEN)} == {tenant}
        elif way == "consistent":
            async with database.consistent() as connection:
                assert {row[0] for row in await connection.fetch(FORGOTTEN)} == {tenant}
        elif way == "fail":
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with database.write() as connection:
                    await connection.execute("SELECT 1 / 0")
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), database.write() as connection:
                    await connection.execute("SELECT pg_sleep(10)")
        assert await _seen(database) == {tenant}

    await asyncio.gather(*(one(number) for number in range(200)))
    assert database._pool is not None
    async with database._pool.acquire() as first, database._pool.acquire() as second:
        for connection in (first, second):
            assert await connection.fetch(FORGOTTEN) == [], "a scope was left behind"


async def test_a_scope_set_in_a_transaction_that_fails_is_gone(database: Database) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with database.write(as_=Scope(community=A)) as connection:
            await connection.execute("SELECT set_config('linhub.everything', 'on', false)")
            await connection.execute("SELECT 1 / 0")
    assert database._pool is not None
    async with database._pool.acquire() as connection:
        assert await connection.fetch(FORGOTTEN) == []


async def test_requests_of_two_tenants_at_once_stay_apart(two: str) -> None:
    async with api_server(two, database_connections=2, query_timeout_s=60) as url:
        for_a, for_b = client(url, "desk"), client(url, "other-desk")
        async with for_a as first, for_b as second:

            async def one(number: int) -> None:
                http, own, other = ((first, A, B), (second, B, A))[number % 2]
                devices = await http.get(f"/communities/{own}/devices", params={"limit": 500})
                assert devices.status_code == 200
                prefixed = {item["id"].startswith("other-") for item in devices.json()["items"]}
                assert prefixed == {own == B}
                assert (await http.get(f"/communities/{other}/devices")).status_code == 404

            await asyncio.gather(*(one(number) for number in range(100)))


async def test_a_login_that_cannot_be_a_tenant_is_named(two: str) -> None:
    connection = await connect(two)
    await connection.execute("CREATE ROLE linhub_stranger LOGIN PASSWORD 'p'")
    try:
        host = two.split("@")[1]
        opened = Database(two, tenant_url=f"postgresql://linhub_stranger:p@{host}", connections=2, timeout_s=5)
        try:
            with pytest.raises(TenantLoginError) as caught:
                await opened.open()
        finally:
            await opened.close()
        assert caught.value.setting == "api_database_url"
        assert "linhub migrate" in str(caught.value)
    finally:
        await connection.execute("DROP ROLE linhub_stranger")
        await connection.close()
