"""Whose word on a caller's address is believed."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from services.adapters.observe import serve
from services.api.reports.shared import address_of


async def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(address_of(request))


@pytest.mark.parametrize(
    ("proxies", "address"),
    [
        ("127.0.0.1", "203.0.113.9"),
        ("10.0.0.0/8,127.0.0.0/8", "203.0.113.9"),
        ("10.0.0.1", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
async def test_forwarded_address_is_believed_of_named_proxies_alone(proxies: str, address: str) -> None:
    app = Starlette(routes=[Route("/", _who)])
    async with serve(app, "127.0.0.1", 0, proxies=proxies) as port, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://127.0.0.1:{port}/", headers={"X-Forwarded-For": "203.0.113.9"})
        assert answer.text == address
