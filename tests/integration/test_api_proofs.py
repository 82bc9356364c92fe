"""Backtests and diffs asked for by the API, run beside it, and looked at when they are done."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx

from tests.api_server import api_server, client
from tests.factory import put_community, small_community

DAY = timedelta(days=1)
NOW = datetime.now(UTC).replace(microsecond=0)
STRICTER = """
kind: bin
rules:
  - id: bin.full
    version: 2
    title: {zh: 垃圾桶将满, en: Bin nearly full}
    severity: minor
    team: cleaning
    family: bin.full
    when:
      threshold: {metric: fill, compare: ">=", limit: 95, for: 10m, clear_limit: 50}
"""


async def _ended(http: httpx.AsyncClient, path: str, asked: dict[str, Any]) -> dict[str, Any]:
    response = await http.post(f"/communities/test/rules/{path}", json=asked)
    assert response.status_code == 202, response.text
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = (await http.get(f"/communities/test/proofs/{response.json()['id']}")).json()
        if found["state"] not in ("waiting", "running"):
            assert found["state"] == "done", found
            return dict(found)
        await asyncio.sleep(0.1)
    raise AssertionError("no end within 120 s")


async def test_proofs_tell_what_rules_would_have_said_and_where_two_differ(database_url: str) -> None:
    await put_community(database_url, small_community("test"))
    connection = await asyncpg.connect(database_url)
    try:
        number = await connection.fetchval("SELECT device_no FROM device WHERE id = 'test-bin-1'")
        # Half full until noon of the day, then 85 %: full by the default, not by the stricter rule.
        await connection.execute(
            "INSERT INTO reading (device_no, ts, delay_ms, vals) "
            "SELECT $1, at, 200, ARRAY[CASE WHEN at < $3 THEN 40.0 ELSE 85.0 END, 20, 0] "
            "FROM generate_series($2::timestamptz, $4::timestamptz, interval '15 minutes') AS at",
            number,
            NOW - 2 * DAY,
            NOW - DAY,
            NOW - DAY / 2,
        )
    finally:
        await connection.close()
    span = {"from": (NOW - 1.5 * DAY).isoformat(), "to": (NOW - DAY / 2).isoformat()}
    async with api_server(database_url) as url, client(url, "desk") as http:
        backtest = (await _ended(http, "backtest", {**span, "rules": "current"}))["result"]
        assert backtest["rules"]["bin.full"]["alerts"] == 1 and backtest["source"] == "tables"
        (alert,) = [one for one in backtest["list"] if one["rule"] == "bin.full"]
        assert alert["name"] == "test-bin-1" and alert["orders"] == 1
        diff = (await _ended(http, "diff", {**span, "a": "current", "b": STRICTER}))["result"]
        assert diff["counts"] == {"same": 0, "added": 0, "removed": 1, "moved": 0, "changed": 0}
        wrong = await http.post("/communities/test/rules/backtest", json={**span, "rules": "kind: bin\nrules: 3\n"})
        assert wrong.status_code == 422 and wrong.json()["errors"][0]["line"] == 2
        back = await http.post("/communities/test/rules/backtest", json={"from": span["to"], "to": span["from"]})
        assert back.status_code == 422
