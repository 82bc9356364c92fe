"""Seeding: the community is in the database, secrets in private files, and a second run keeps them all."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import asyncpg
import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from services.cli.seed import accounts_file, credentials_file, fits, seed


async def _stored(database_url: str) -> tuple[dict[str, str], dict[str, str]]:
    connection = await asyncpg.connect(database_url)
    try:
        secrets = await connection.fetch(
            "SELECT d.id, c.secret_hash FROM device_credential c JOIN device d USING (device_no)"
        )
        people = await connection.fetch("SELECT username, password_hash FROM app_user")
    finally:
        await connection.close()
    return dict(map(tuple, secrets)), dict(map(tuple, people))


async def test_seed_twice_keeps_every_password_and_secret(database_url: str, tmp_path: Path) -> None:
    first = await seed(database_url, tmp_path, "gongyuan", 0.05)
    before = await _stored(database_url)
    second = await seed(database_url, tmp_path, "gongyuan", 0.05)
    assert second == first
    assert await _stored(database_url) == before


async def test_seed_hashes_fit_the_secrets_that_it_wrote(database_url: str, tmp_path: Path) -> None:
    seeded = await seed(database_url, tmp_path, "fengshu", 0.05)
    hashes, passwords = await _stored(database_url)
    credentials = json.loads(credentials_file(tmp_path).read_text())
    assert set(hashes) == set(credentials)
    assert all(fits(credentials[device], hashed) for device, hashed in hashes.items())
    device, other = sorted(credentials)[:2]
    assert not fits(credentials[device], hashes[other])
    desk = next(account for account in seeded.accounts if account.username == "desk")
    assert PasswordHash((Argon2Hasher(),)).verify(desk.password, passwords["desk"])
    assert {account["username"] for account in json.loads(accounts_file(tmp_path).read_text())} == set(passwords)


async def test_seed_files_are_for_their_owner_alone(database_url: str, tmp_path: Path) -> None:
    await seed(database_url, tmp_path, "gongyuan", 0.05)
    for path in (accounts_file(tmp_path), credentials_file(tmp_path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_seed_second_community_has_its_own_user_names(database_url: str, tmp_path: Path) -> None:
    await seed(database_url, tmp_path, "gongyuan", 0.05)
    other = await seed(database_url, tmp_path, "hainaer", 0.05)
    assert {"hainaer-desk", "hainaer-patrol1", "admin"} <= {account.username for account in other.accounts}
    told = json.loads(accounts_file(tmp_path).read_text())
    assert {account["username"] for account in told} >= {"desk", "hainaer-desk"}


async def test_seed_refuses_an_unknown_preset(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        await seed(database_url, tmp_path, "atlantis", 0.05)
