"""For tests of NGSI-LD: platforms with keys and grants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.access_kit import key, service
from tests.api_server import client
from tests.city_kit import subscribe

SCOPES = ["city_events", "devices", "alerts", "readings"]
EVERYTHING = {"classes": ["text", "location", "device", "health"], "classes_reason": "联动处置协议"}


@asynccontextmanager
async def platform(url: str, **grants: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A key of a service account of the community, with a subscription of these grants, at the root of the server."""
    scopes, mark = grants.pop("scopes", SCOPES), grants.pop("mark", "Actual")
    async with client(url, "admin") as admin:
        account = await service(admin, community_id=grants.pop("community_id", "test"))
        await subscribe(admin, account, mark=mark, **grants)
        secret = (await key(admin, account, scopes=scopes))["secret"]
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=f"{url}/ngsi-ld/v1", headers=headers, trust_env=False, timeout=30) as http:
        yield http
