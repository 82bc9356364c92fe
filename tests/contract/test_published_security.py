"""The published contract says at every operation how to log in for it, and is made beside the event loop."""

from __future__ import annotations

import threading
from typing import Any, cast

import httpx
import pytest

from services.api.app import create_app
from services.api.main import compose
from services.api.openapi import Application
from services.api.settings import ApiSettings


@pytest.fixture(scope="module")
def app() -> Application:
    settings = ApiSettings.model_validate({"database_url": "postgresql://nowhere", "secret_key": "-" * 32})
    return cast(Application, create_app(compose(settings), lambda: None))


def test_every_operation_says_how_to_log_in_and_only_what_is_open_needs_nothing(app: Application) -> None:
    operations = {
        (method, path): operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }
    silent = {where for where, operation in operations.items() if "security" not in operation}
    assert len(operations) > 200 and not silent
    opened = {path for (_, path), operation in operations.items() if operation["security"] == []}
    assert {"/api/v1/auth/login", "/api/v1/auth/token", "/api/v1/public/communities"} <= opened
    assert operations["get", "/api/v1/users"]["security"][0] == {"oauth2": ["users_help"]}
    assert len(opened) < 30


async def test_the_contract_is_made_in_a_thread_and_served(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    made = app.openapi()

    def making() -> dict[str, Any]:
        threads.append(threading.get_ident())
        return made

    monkeypatch.setattr(app, "openapi", making)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://linhub") as client:
        told = await client.get("/api/v1/openapi.json")
    assert told.status_code == 200 and told.json()["paths"].keys() == made["paths"].keys()
    assert threads and threading.get_ident() not in threads


def test_no_shape_is_named_after_where_its_code_lies(app: Application) -> None:
    """Two classes of one name would be told apart by their modules, and clients break when these move."""
    shapes = app.openapi()["components"]["schemas"]
    assert len(shapes) > 300 and not [name for name in shapes if "__" in name]
