"""The ingest benchmark measures what it says: everything it published is stored once."""

from __future__ import annotations

import pytest

from bench.ingest import measure
from bench.servers import BenchServers
from tests.conftest import Servers


@pytest.mark.parametrize(("messages", "batch"), [(2000, 1), (30, 100)])
async def test_ingest_bench_finds_every_message_stored_once(servers: Servers, messages: int, batch: int) -> None:
    result = await measure(
        BenchServers(servers.database_url, servers.mqtt.url, servers.mqtt.url),
        messages=messages,
        batch=batch,
        devices=40,
    )
    assert (result.messages, result.lost, result.duplicates, result.rejected) == (messages, 0, 0, 0)
    assert result.readings_per_message == 3 * batch
    assert result.cpu_us_per_message["ingest"]
