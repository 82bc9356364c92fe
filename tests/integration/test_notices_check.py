"""`linhub notices check`: which addresses the door refuses, what to list, and no secret of any of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from services.adapters.notices.carrier import endpoint
from services.adapters.postgres import open_pool
from services.cli.main import app
from services.cli.notices_check import checked
from tests.factory import put_community, small_community
from tests.notices_kit import give_channel


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    await put_community(database_url, small_community())
    pool = await open_pool(database_url, name="test", max_size=2)
    yield pool
    await pool.close()


async def put(pool: asyncpg.Pool[Any]) -> None:
    for sort, template in (
        ("sms", "json://user:very-secret@10.20.0.7:8080/send/{to}"),
        ("mail", "mailtos://user:very-secret@mail.example.cn?to={to}&smtp=192.168.4.5&from=a@example.cn"),
    ):
        await pool.execute(
            "INSERT INTO community_gateway (community_id, sort, template, changed_by) VALUES ('test', $1, $2, 'admin')",
            sort, template,
        )  # fmt: skip
    await give_channel(pool, "desk", "json://127.0.0.1:9/very-secret")
    await give_channel(pool, "admin", "json://169.254.169.254/very-secret")
    await give_channel(pool, "patrol1", "dingtalk://very-secret-12345", sort="dingtalk")


async def test_each_address_is_judged_as_the_door_would_and_what_to_list_is_said(
    pool: asyncpg.Pool[Any], database_url: str
) -> None:
    await put(pool)
    found = {(one.sort, one.why): one.networks for one in await checked(database_url, "")}
    assert found == {
        ("gateway sms", "private"): ("10.20.0.7/32",),
        ("gateway mail", "private"): ("192.168.4.5/32",),
        ("webhook", "loopback"): ("127.0.0.1/32",),
        ("webhook", "metadata"): (),
    }
    listed = await checked(database_url, "10.20.0.0/16,192.168.4.5/32,127.0.0.1/32")
    assert sorted(one.why or "" for one in listed) == ["", "", "", "metadata"]


async def test_command_says_the_setting_and_nothing_secret(
    pool: asyncpg.Pool[Any], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINHUB_DATABASE_URL", database_url)
    monkeypatch.delenv("LINHUB_NOTICES_NETWORKS", raising=False)
    none = await asyncio.to_thread(CliRunner().invoke, app, ["notices", "check"])
    assert none.exit_code == 0 and "0 " in none.output
    await put(pool)
    told = await asyncio.to_thread(CliRunner().invoke, app, ["notices", "check", "--networks", "127.0.0.1/32"])
    assert told.exit_code == 1
    assert "LINHUB_NOTICES_NETWORKS=127.0.0.1/32,10.20.0.7/32,192.168.4.5/32" in told.output
    assert "very-secret" not in told.output and "169.254.169.254/32" not in told.output
    wrong = await asyncio.to_thread(CliRunner().invoke, app, ["notices", "check", "--networks", "10.0.0.1/8"])
    assert wrong.exit_code == 2


@pytest.mark.parametrize(
    ("address", "there"),
    [
        ("json://10.0.0.1/x", ("10.0.0.1", 80)),
        ("jsons://hook.example.cn:8443/x", ("hook.example.cn", 8443)),
        ("mailto://user:word@gmail.com", ("smtp.gmail.com", 587)),
        ("mailtos://user:word@example.cn:465?to=a@b.cn&smtp=smtp.example.cn", ("smtp.example.cn", 465)),
        ("smseagle://token@10.0.0.9/+8613800000000", ("10.0.0.9", 80)),
        ("dingtalk://abcdefgh12345678", ("", 443)),
        ("json://", None),
    ],
)
def test_where_a_message_would_be_taken(address: str, there: tuple[str, int] | None) -> None:
    assert endpoint(address) == there
