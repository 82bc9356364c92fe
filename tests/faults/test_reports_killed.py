"""The API killed between a report's photo and the report itself: sent again, it is one report with one photo."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api_server import KEY, connect
from tests.evidence_kit import jpeg
from tests.factory import put_community, small_community

REPOSITORY = Path(__file__).parents[2]


@asynccontextmanager
async def api_process(database_url: str, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    log = folder / "api.log"
    seen = log.stat().st_size if log.exists() else 0
    environment = {
        **os.environ,
        "LINHUB_DATABASE_URL": database_url,
        "LINHUB_SECRET_KEY": KEY,
        "LINHUB_HTTP_PORT": "0",
        "LINHUB_EVIDENCE_URL": f"file://{folder}/store",
    }
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.api.main", cwd=REPOSITORY, stdout=output, stderr=output, env=environment
        )  # fmt: skip
    try:
        end = time.monotonic() + 120
        port = 0
        while not port:
            assert process.returncode is None and time.monotonic() < end, log.read_text()
            await asyncio.sleep(0.05)
            lines = [line for line in log.read_bytes()[seen:].splitlines() if b'"api_ready"' in line]
            port = int(json.loads(lines[0])["port"]) if lines else 0
        yield process, f"http://127.0.0.1:{port}/api/v1"
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()


async def report(url: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=90) as http:
        return await http.post(
            "/communities/test/reports",
            data={"category": "clutter", "building_id": "test-b1", "text": "杂物"},
            files=[("photo", ("a.jpg", jpeg(320, 240), "image/jpeg"))],
            headers={"Idempotency-Key": "one-key-of-one-report"},
        )


def objects(folder: Path) -> set[str]:
    store = folder / "store"
    return {path.name for path in store.rglob("*") if path.is_file() and ".incoming" not in path.parts}


async def _waits_for(connection: Any, within_s: float = 90) -> None:
    """Until somebody stands before the lock of the community's reports."""
    end = time.monotonic() + within_s
    while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_report_killed_between_photo_and_report_is_one_when_sent_again(
    database_url: str, tmp_path: Path, when: str
) -> None:
    """`before`: its photo stands in the store, nothing else. `after`: it was written, and the answer was lost."""
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    counts = "SELECT (SELECT count(*) FROM resident_report), (SELECT count(*) FROM work_order), count(*) FROM evidence"
    async with api_process(database_url, tmp_path) as (process, url):
        if when == "before":
            lock = connection.transaction()
            await lock.start()
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('resident_report:test', 0))")
            sending = asyncio.create_task(report(url))
            await _waits_for(connection)
            stored = objects(tmp_path)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            with pytest.raises(httpx.TransportError):
                await sending
            await lock.rollback()
            assert stored, "the photo was stored before the report"
        else:
            assert (await report(url)).status_code == 200
            process.send_signal(signal.SIGKILL)
            await process.wait()
            stored = objects(tmp_path)
        assert tuple(await connection.fetchrow(counts)) == ((0, 0, 0) if when == "before" else (1, 1, 1))
    async with api_process(database_url, tmp_path) as (_, url):
        answers = [await report(url) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
        assert answers[0].json() == answers[1].json() and answers[0].json()["photos"] == 1
        assert tuple(await connection.fetchrow(counts)) == (1, 1, 1)
        assert objects(tmp_path) == stored, "the same picture is the same object"
        kept = await connection.fetchrow("SELECT report_id, order_id FROM evidence")
        made = await connection.fetchrow("SELECT id, order_id FROM resident_report")
        assert tuple(kept) == tuple(made)
        history = await connection.fetch("SELECT move FROM work_order_history ORDER BY version")
        assert [row["move"] for row in history] == ["create", "evidence"]
    await connection.close()
