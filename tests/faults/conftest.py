"""What holds under every fault, checked after every test here so that none can forget it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from deploy.embedded.postgres import DATABASE
from tests.conftest import run, with_database
from tests.fault_kit import SEED, Stubborn, assert_ledger_whole
from tests.fault_rows import take
from tests.ingest_fixtures import db, home, wire
from tests.ingest_kit import Wire, database


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(row): the row of the fault table that this test proves")


__all__ = ["db", "home", "wire"]


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """Services in this process show a fault as in use: a picture of every local variable takes seconds to draw."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.stdlib.add_log_level, structlog.processors.StackInfoRenderer(), plain])


@pytest.fixture(autouse=True)
def whole_ledger(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every message that came in ended as exactly one of stored, duplicate or rejected, and that is where it stands."""
    url: str | None = None
    if "breakable" in request.fixturenames:
        url = with_database(request.getfixturevalue("breakable").database_url, DATABASE)
    elif "database_url" in request.fixturenames:
        url = request.getfixturevalue("database_url")
    take()
    yield
    if url is not None:
        run(_check(url))
    request.node.user_properties += [("seed", SEED), *take().items()]


async def _check(url: str) -> None:
    async with database(url) as db:
        # A test of the alert engine alone writes its log by hand; there is no ledger to it.
        if not await db.connection.fetchval("SELECT EXISTS (SELECT FROM ingest_log WHERE worker = 'hand')"):
            await assert_ledger_whole(db)


@pytest.fixture
def said(wire: Wire, home: str) -> Stubborn:
    return Stubborn(wire, home, [f"{home}-environment-1"], f"{home}-sos_button-1")
