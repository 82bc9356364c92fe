"""The disk of the evidence store is full, at every step of an upload: clear words, and nothing half is kept."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import httpx

from services.adapters.orders import fetch_order
from tests import evidence_kit as kit
from tests.api_data import raise_alert
from tests.api_server import client, connect
from tests.conftest import REPOSITORY
from tests.factory import put_community, small_community
from tests.fault_kit import free_port
from tests.integration.test_api_evidence import send
from tests.integration.test_evidence_upkeep import answers

SIZE = 3 * 1024 * 1024


async def test_full_disk_is_said_and_keeps_nothing_half(database_url: str, tmp_path: Path) -> None:
    """The service has a disk of 3 MiB of its own. It is filled so that an upload fails while it comes in, while it is
    decoded, and while it is put in place; with room again, the same upload goes through."""
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, order = await raise_alert(connection, "test-gas_alarm-1")
    assert order is not None
    port, disk = free_port(), tmp_path / "disk"
    disk.mkdir()
    environment = os.environ | {
        "LINHUB_DATABASE_URL": database_url,
        "LINHUB_SECRET_KEY": "k" * 40,
        "LINHUB_HTTP_PORT": str(port),
        "LINHUB_EVIDENCE_URL": disk.as_uri(),
        "LINHUB_EVIDENCE_RESERVE_BYTES": "0",
    }
    mounted = f'mount -t tmpfs -o size={SIZE} tmpfs "{disk}" && exec "{sys.executable}" -m services.api.main'
    service = subprocess.Popen(  # noqa: ASYNC220
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted], env=environment, cwd=REPOSITORY
    )
    inside = Path(f"/proc/{service.pid}/root{disk}")
    try:
        address = f"http://127.0.0.1:{port}"
        await answers(address)
        async with client(address, "patrol1") as http:
            await _fill_and_send(http, order, inside)
    finally:
        service.kill()
        service.wait()
    assert await connection.fetchval("SELECT count(*) FROM evidence") == 1
    assert (await fetch_order(connection, order)).photos_before == 1
    await connection.close()


async def _fill_and_send(http: httpx.AsyncClient, order: UUID, inside: Path) -> None:
    picture, ballast = kit.jpeg(3000, 2000, exif=False), inside / "ballast"
    small = len(picture)
    refused = 0
    for leave in (0, small // 2, small + 4096, small + small // 2 + 8192):
        await asyncio.to_thread(_fill, ballast, leave)
        answer = await send(http, order, picture)
        if answer.status_code != 200:
            refused += 1
            assert answer.status_code == 507, (leave, answer.text)
            assert "未保存" in answer.json()["detail"]
            left = await asyncio.to_thread(lambda: [path for path in inside.rglob("*") if path.is_file()])
            assert left == [ballast], (leave, left)
        else:
            break
    assert refused >= 3
    await asyncio.to_thread(ballast.unlink)
    # With room again: the same key as ever, once.
    assert (await send(http, order, picture, key="again")).status_code == 200


def _fill(ballast: Path, leave: int) -> None:
    ballast.unlink(missing_ok=True)
    free = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
