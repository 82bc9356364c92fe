"""The published contract: FastAPI's, with the ways to log in and, at each operation, the permission it asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.api import openapi_links
from services.api.common import PREFIX
from services.api.guard import COOKIE, KEY_HEADER, Maybe, Open, Requires
from services.api.routes import ROUTERS
from services.domain.access import Permission

_TOKEN = f"{PREFIX}/auth/token"


def _schemes() -> dict[str, Any]:
    scopes = {one.value: one.value for one in Permission if one is not Permission.ANYONE}
    return {
        "oauth2": {
            "type": "oauth2",
            "flows": {
                "password": {"tokenUrl": _TOKEN, "refreshUrl": _TOKEN, "scopes": scopes},
                "clientCredentials": {"tokenUrl": _TOKEN, "scopes": scopes},
            },
        },
        "apiKey": {"type": "apiKey", "in": "header", "name": KEY_HEADER},
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": "browsers; changes need the header X-LinHub besides",
        },
    }


def _guards(dependant: Dependant) -> Iterator[Requires | Open]:
    for one in dependant.dependencies:
        if isinstance(one.call, Requires | Open):
            yield one.call
        yield from _guards(one)


class Application(FastAPI):
    """FastAPI whose schema says who may do what, and is made once, beside what else is going on."""

    _publishing: asyncio.Lock

    def setup(self) -> None:
        url, self.openapi_url = self.openapi_url, None
        super().setup()
        self.openapi_url = url
        self._publishing = asyncio.Lock()
        if url:
            self.add_route(url, self._published, include_in_schema=False)

    async def _published(self, request: Request) -> Response:
        """In a thread: it takes seconds of a slow machine, in which every stream would stand still."""
        async with self._publishing:
            return JSONResponse(await asyncio.to_thread(self.openapi))

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schema = super().openapi()
            schema.setdefault("components", {})["securitySchemes"] = _schemes()
            # Not of `self.routes`: what was included stands there as a router, not as its routes.
            for router in ROUTERS:
                for route in router.routes:
                    if isinstance(route, APIRoute) and route.include_in_schema:
                        self._secure(schema, route)
            openapi_links.finish(schema)
            return schema
        return self.openapi_schema

    def _secure(self, schema: dict[str, Any], route: APIRoute) -> None:
        for guard in _guards(route.dependant):
            ways: list[dict[str, list[str]]] = [
                {"oauth2": [guard.permission.value]},
                {"bearer": []},
                {"apiKey": []},
                {"cookie": []},
            ]
            if isinstance(guard, Open):
                ways = [{}, *ways[1:]] if isinstance(guard, Maybe) else []
            for method in route.methods or ():
                schema["paths"][route.path_format][method.lower()]["security"] = ways
