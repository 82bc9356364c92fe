"""What a crash between object and row leaves behind, what is swept and what never is, and what `verify` finds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.adapters.evidence import Store, open_store, rows, upkeep
from tests import evidence_kit as kit
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.conftest import REPOSITORY
from tests.factory import put_community, small_community
from tests.fault_kit import free_port
from tests.integration.test_api_evidence import send

TOMORROW = timedelta(days=1, hours=1)


@pytest.fixture
async def order(database_url: str) -> UUID:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, order = await raise_alert(connection, "test-gas_alarm-1")
    await connection.close()
    assert order is not None
    return order


async def listed(store: Store) -> set[str]:
    return {found.name async for found in store.objects.everything()}


async def put(store: Store, tmp_path: Path, data: bytes) -> str:
    source = tmp_path / f"in-{os.urandom(4).hex()}"
    source.write_bytes(data)
    return await store.keep(source)


async def test_crash_between_object_and_row_leaves_only_what_is_swept(
    database_url: str, order: UUID, tmp_path: Path
) -> None:
    """Killed with the object in place and its transaction open: no row, no move, and a day later nothing."""
    url = (tmp_path / "store").as_uri()
    store, connection = open_store(url), await connect(database_url)
    script = (
        "import asyncio, os, sys\n"
        "from services.adapters.evidence import rows\n"
        "async def killed(connection, new):\n"
        "    os.kill(os.getpid(), 9)\n"
        "rows.insert = killed\n"
        "from services.api.main import main\n"
        "main()\n"
    )
    port = free_port()
    environment = os.environ | {
        "LINHUB_DATABASE_URL": database_url,
        "LINHUB_SECRET_KEY": "k" * 40,
        "LINHUB_HTTP_PORT": str(port),
        "LINHUB_EVIDENCE_URL": url,
        "LINHUB_EVIDENCE_RESERVE_BYTES": "0",
    }
    service = subprocess.Popen([sys.executable, "-c", script], env=environment, cwd=REPOSITORY)  # noqa: ASYNC220
    try:
        address = f"http://127.0.0.1:{port}"
        await answers(address)
        async with client(address, "patrol1") as http:
            with pytest.raises(Exception, match=r"(?i)disconnect|closed|reset|read"):
                await send(http, order, kit.jpeg())
        assert service.wait(10) == -signal.SIGKILL
    finally:
        service.kill()
        service.wait()
    left = await listed(store)
    assert len(left) == 2, "the picture and its small one are there"
    assert await connection.fetchval("SELECT count(*) FROM evidence") == 0
    assert await connection.fetchval("SELECT version FROM work_order WHERE id = $1", order) == 2
    now = datetime.now(UTC)
    early = await upkeep.sweep(connection, store, now)
    assert (early.deleted, await listed(store)) == (0, left), "an upload under way must not lose its object"
    (store.spool / "cut").mkdir()
    (store.spool / "cut" / "source").write_bytes(b"half of an upload")
    done = await upkeep.sweep(connection, store, now + TOMORROW)
    assert (done.deleted, done.halves) == (2, 1) and await listed(store) == set()
    assert not (store.spool / "cut").exists()
    await connection.close()


async def test_sweep_never_takes_what_a_row_needs(database_url: str, order: UUID, tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    store, connection = open_store(url), await connect(database_url)
    async with api_server(database_url, evidence_url=url, evidence_reserve_bytes=0) as address:
        async with client(address, "patrol1") as http:
            made = (await send(http, order, kit.jpeg())).json()
            loose = (await send(http, "", kit.jpeg(99, 99), path="/communities/test/evidence")).json()
        orphan = await put(store, tmp_path, b"nobody's")
        now = datetime.now(UTC)
        done = await upkeep.sweep(connection, store, now + TOMORROW)
        assert (done.seen, done.deleted, done.unlinked) == (5, 1, 0)
        assert orphan not in await listed(store)
        # What nobody linked to anything goes after a week, with its row telling so.
        done = await upkeep.sweep(connection, store, now + timedelta(days=8))
        assert (done.deleted, done.unlinked) == (2, 1)
        why = await connection.fetchrow("SELECT removed_by, removed_why FROM evidence WHERE id = $1", loose["id"])
        assert why["removed_by"] == "system" and "未关联" in why["removed_why"]
        async with client(address, "patrol1") as http:
            assert (await http.get(f"/evidence/{made['id']}")).status_code == 200
    await connection.close()


async def test_sweep_and_upload_of_the_same_bytes_meet_without_loss(
    database_url: str, order: UUID, tmp_path: Path
) -> None:
    """Whoever stores holds the object: the sweep waits, looks again, and leaves it."""
    store, connection, other = open_store("memory://"), await connect(database_url), await connect(database_url)
    name = await put(store, tmp_path, b"shared")
    uploading = other.transaction()
    await uploading.start()
    await rows.hold(other, name)
    sweeping = asyncio.create_task(upkeep.drop_unreferred(connection, store, name))
    await _waits(database_url)
    await other.execute(
        "INSERT INTO evidence (id, community_id, sort, sha256, original_sha256, media_type, bytes, uploaded_at,"
        " uploaded_by, uploader_role) VALUES (gen_random_uuid(), 'test', 'photo', decode($1, 'hex'),"
        " decode($1, 'hex'), 'image/jpeg', 6, now(), 'u', 'staff')",
        name,
    )
    await uploading.commit()
    assert await sweeping is False
    assert await listed(store) == {name}
    await connection.close()
    await other.close()


async def test_verify_names_what_is_missing_and_what_is_damaged(database_url: str, order: UUID, tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    settings = {"evidence_url": url, "evidence_reserve_bytes": 0}
    async with api_server(database_url, **settings) as address, client(address, "patrol1") as http:
        made = [(await send(http, order, kit.jpeg(200 + n, 100))).json() for n in range(3)]

    def path(n: int) -> Path:
        name = str(made[n]["sha256"])
        return tmp_path / "store" / name[:2] / name

    assert _verb(database_url, url, "verify")[0] == 0
    path(0).unlink()
    path(1).write_bytes(b"something else")
    code, told = _verb(database_url, url, "verify")
    assert code == 1
    assert told["missing"] == [made[0]["sha256"]] and told["damaged"] == [made[1]["sha256"]]
    assert told["evidence"] == {made[n]["sha256"]: [made[n]["id"]] for n in (0, 1)}
    assert told["whole"] == 4, "the third, and all the small ones"
    code, told = _verb(database_url, url, "sweep")
    assert (code, told["deleted"]) == (0, 0)


def _verb(database_url: str, url: str, verb: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "services.cli.main", "evidence", verb, "--json"],
        env=os.environ | {"LINHUB_DATABASE_URL": database_url, "LINHUB_EVIDENCE_URL": url},
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def answers(address: str) -> None:
    import httpx

    async with asyncio.timeout(90), httpx.AsyncClient(trust_env=False, timeout=90) as http:
        while True:
            try:
                if (await http.get(f"{address}/health/ready")).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.05)


async def _waits(database_url: str) -> None:
    """Until somebody waits for an advisory lock of this database."""
    connection = await connect(database_url)
    async with asyncio.timeout(90):
        while not await connection.fetchval(  # noqa: ASYNC110
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        ):
            await asyncio.sleep(0.01)
    await connection.close()
