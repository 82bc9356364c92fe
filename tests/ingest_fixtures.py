"""A community of the test's own, its database and a client at the broker: for tests of ingest on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.ingest_kit import Database, Wire, database


@pytest.fixture
def home() -> str:
    """The broker is shared."""
    return f"h{uuid4().hex[:10]}"


@pytest.fixture
def wire(mqtt: Mqtt) -> Iterator[Wire]:
    client = Wire(mqtt.url)
    yield client
    client.close()


@pytest.fixture
async def db(database_url: str, home: str) -> AsyncIterator[Database]:
    await put_community(database_url, small_community(home, prefix=f"{home}-"))
    async with database(database_url) as questions:
        yield questions
