"""`linhub identity` keeps the broker's password file equal to the registry, through changes and lost connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from services.adapters.broker_identity import SERVICE_ACCOUNTS, secret_hash
from services.cli import identity
from services.cli.init import password_variable
from tests.factory import put_community, small_community

HASHES = {account: secret_hash(account) for account in SERVICE_ACCOUNTS}
PASSWORDS = {password_variable(account): f"{account}-password" for account in SERVICE_ACCOUNTS}


def names(file: Path) -> set[str]:
    return {line.partition(":")[0] for line in file.read_text().splitlines()} if file.exists() else set()


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


async def until(true: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.02)


@pytest.fixture
async def watched(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    monkeypatch.setattr(identity, "RETRY_S", 0.05)
    file = tmp_path / "identity" / "passwords"
    task = asyncio.create_task(identity.watch(database_url, file, HASHES))
    yield file
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_identity_file_holds_services_and_then_each_new_device(database_url: str, watched: Path) -> None:
    await until(lambda: names(watched) == set(SERVICE_ACCOUNTS))
    community = small_community("ident")
    await put_community(database_url, community)
    speakers = {device.id for device in community.devices if device.gateway_id is None}
    await until(lambda: names(watched) == {*SERVICE_ACCOUNTS, *speakers})
    assert mode(watched) == 0o600


async def test_identity_file_drops_a_retired_device(database_url: str, watched: Path) -> None:
    await put_community(database_url, small_community("ident"))
    await until(lambda: "ident-sos_button-1" in names(watched))
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE device SET retired_at = now() WHERE id = 'ident-sos_button-1'")
    await connection.close()
    await until(lambda: "ident-sos_button-1" not in names(watched))
    assert "ident-wristband-1" in names(watched)


async def test_identity_comes_back_after_its_connection_was_cut(database_url: str, watched: Path) -> None:
    await until(lambda: bool(names(watched)))
    connection = await asyncpg.connect(database_url)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'linhub-identity'"
    await connection.execute(f"{cut} AND datname = current_database()")
    await connection.close()
    await put_community(database_url, small_community("ident"))
    await until(lambda: "ident-sos_button-1" in names(watched))


def start(database_url: str, file: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "services.cli.main", "identity", "--file", str(file), *arguments]
    told = {**os.environ, "LINHUB_DATABASE_URL": database_url, **PASSWORDS, **environment}
    return subprocess.Popen(command, env=told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_identity_command_writes_once_and_ends(database_url: str, tmp_path: Path) -> None:
    process = start(database_url, tmp_path / "passwords")
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert names(tmp_path / "passwords") == set(SERVICE_ACCOUNTS)


def test_identity_command_stays_until_it_is_stopped(database_url: str, tmp_path: Path) -> None:
    process = start(database_url, tmp_path / "passwords", "--watch")
    deadline = time.monotonic() + 120
    while not (tmp_path / "passwords").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_identity_command_names_the_password_that_is_missing(database_url: str, tmp_path: Path) -> None:
    process = start(database_url, tmp_path / "passwords", LINHUB_SVC_API_PASSWORD="")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "LINHUB_SVC_API_PASSWORD is not set" in error
