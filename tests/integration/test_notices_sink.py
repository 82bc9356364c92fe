"""`linhub notices sink`: channels lead to it while it stands, and it shows what it took."""

from __future__ import annotations

import io

import httpx
from rich.console import Console

from services.adapters.observe import serve
from services.adapters.postgres import open_pool
from services.cli.notices import Sink, give_channels, take_channels
from tests.api_data import raise_alert
from tests.factory import put_community, small_community
from tests.integration.alerts_support import until
from tests.notices_kit import notifier


async def test_sink_takes_the_notices_of_every_account_and_lets_their_channels_go(database_url: str) -> None:
    await put_community(database_url, small_community())
    pool = await open_pool(database_url, name="test", max_size=2)
    said = Console(record=True, file=io.StringIO())
    one = Sink(said, refuse=1)
    async with serve(one.app(), "127.0.0.1", 0) as port, notifier(database_url):
        given = await give_channels(database_url, f"127.0.0.1:{port}")
        assert len(given) == 11 and await give_channels(database_url, "127.0.0.1:1") == []
        async with pool.acquire() as connection:
            await raise_alert(connection, "test-gas_alarm-1")

        async def heard() -> bool:
            return one.count > 0

        await until(heard)
        async with httpx.AsyncClient(trust_env=False, timeout=90, base_url=f"http://127.0.0.1:{port}") as http:
            assert (await http.post("/x", content=b"no json")).status_code == 400
            shown = (await http.get("/")).text
        await take_channels(database_url, given)
    assert "patrol1" in shown and "燃气泄漏" in shown and one.refused == 1
    assert "燃气泄漏" in said.export_text()
    assert await pool.fetchval("SELECT count(*) FROM contact_channel") == 0
    await pool.close()
