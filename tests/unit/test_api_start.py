"""What the API has behind it before the first request, so that no request stands for it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import SecretStr
from pydantic_core import SchemaValidator

from services.api import main
from services.api.app import create_app, warm
from services.api.routes import ROUTERS
from services.api.settings import ApiSettings


def settings() -> ApiSettings:
    return ApiSettings(database_url="postgresql://nobody@127.0.0.1:1/none", secret_key=SecretStr("0" * 64))


def validators() -> int:
    gc.collect()  # what other tests have left behind must not end in between
    return sum(type(one) is SchemaValidator for one in gc.get_objects())


async def test_the_first_request_builds_nothing() -> None:
    app = create_app(main.compose(settings()), lambda: None)
    before = validators()
    await warm(app)
    warmed = validators()
    assert warmed > before
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://linhub") as http:
        assert (await http.get("/api/v1/communities/c/snapshot")).status_code == 401
        assert (await http.get("/health/live")).status_code == 200
    assert validators() == warmed


def dependencies(of: Dependant) -> Iterator[Callable[..., Any]]:
    for one in of.dependencies:
        if one.call is not None:
            yield one.call
        yield from dependencies(one)


def test_no_dependency_of_a_route_is_called_in_a_thread() -> None:
    """A plain function would be: a thread's turn for each request, beside whatever else threads do."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    found = {call for route in routes for call in dependencies(route.dependant)}
    assert len(routes) > 100 and found
    plain = {call for call in found if not iscoroutinefunction(call) and not iscoroutinefunction(type(call).__call__)}
    assert plain == set()


async def test_what_is_there_at_the_start_is_collected_and_then_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))

    async def run(_: ApiSettings, stop: asyncio.Event, on_ready: Callable[[int], None]) -> None:
        assert done == []
        on_ready(8080)

    monkeypatch.setattr(main, "run", run)
    await main._main(settings())
    assert done == ["collect", "freeze"]
