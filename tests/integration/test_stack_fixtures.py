"""The fixtures that other tests stand on."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg
import pytest

from services.adapters.migrate import status
from tests.conftest import Servers


@pytest.mark.parametrize("turn", range(3))
async def test_database_url_is_migrated_and_empty(database_url: str, turn: int) -> None:
    assert (await status(database_url)).pending == ()
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM street") == 0
        await connection.execute("INSERT INTO street VALUES ('s', 'c', 'd', 'n')")
    finally:
        await connection.close()


async def test_database_url_does_not_name_the_maintenance_database(database_url: str, servers: Servers) -> None:
    assert urlsplit(database_url).path != urlsplit(servers.database_url).path
