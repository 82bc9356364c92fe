"""What the NGSI-LD routes share: errors as ETSI GS CIM 009 has them, the @context, who sees which entities."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from pydantic_core import to_json
from starlette.responses import Response

from services.adapters.city.ngsi import reading
from services.api.city.shared import base_of
from services.api.context import Context
from services.api.identity.auth import Ticket
from services.api.web.problems import MEDIA_TYPE, ApiError
from services.domain.access import city_wide
from services.domain.city import DataClass
from services.domain.city.ngsi import Entity, NgsiType, Site
from services.domain.city.ngsi.asking import Asked, AskedWrongly, Fault

PREFIX = "/ngsi-ld/v1"
CONTEXT_PATH = f"{PREFIX}/jsonldContexts/linhub"
CONTEXT_RELATION = "http://www.w3.org/ns/json-ld#context"
JSON, LD_JSON = "application/json", "application/ld+json"
SCANNED = 50_000
"""So many entities one request looks at."""
_AT_ONCE = 500

_STATUS: Mapping[Fault, HTTPStatus] = {
    Fault.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    Fault.BAD_REQUEST_DATA: HTTPStatus.BAD_REQUEST,
    Fault.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Fault.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    Fault.UNSUPPORTED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Fault.TOO_MANY: HTTPStatus.FORBIDDEN,
    Fault.NO_TENANTS: HTTPStatus.NOT_IMPLEMENTED,
}


class NgsiError(ApiError):
    """Answered as a problem whose `type` names the kind of error, as clients of NGSI-LD expect it."""

    def __init__(self, fault: Fault, zh: str, en: str) -> None:
        super().__init__(_STATUS[fault], f"{zh} · {en}")
        self.fault = fault


def wrongly(error: AskedWrongly) -> NgsiError:
    return NgsiError(error.fault, error.zh, error.en)


def not_there(id: str) -> NgsiError:
    """Also said of what is outside of the asker's scope and grants."""
    return NgsiError(Fault.NOT_FOUND, f"找不到 {id[:200]}", f"there is no {id[:200]} within your scope and grants")


def install(app: FastAPI) -> None:
    async def ngsi_error(request: Request, error: NgsiError) -> Response:
        problem = {
            "type": f"https://uri.etsi.org/ngsi-ld/errors/{error.fault.value}",
            "title": error.fault.value,
            "status": int(error.status),
            "detail": error.detail,
            "instance": request.url.path,
        }
        return Response(
            to_json(problem), status_code=error.status, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"}
        )

    app.exception_handler(NgsiError)(ngsi_error)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose view: the communities it reaches, and what it was granted by the subscriptions an administrator made."""

    ticket: Ticket
    sites: tuple[Site, ...]
    classes: frozenset[DataClass]

    def may(self, kind: NgsiType) -> bool:
        return self.ticket.may(kind.needs) and kind.shown(self.classes)


async def viewer(context: Context, ticket: Ticket) -> Viewer:
    who = ticket.principal
    async with context.database.read() as connection:
        sites = await reading.sites(connection, who.community_id, who.street_id, city_wide(who.role))
        classes = await reading.granted(connection, who.id)
    return Viewer(ticket, tuple(sites), classes)


@dataclass(frozen=True, slots=True)
class Found:
    entities: Sequence[Entity]
    total: int | None
    more: bool


async def find(context: Context, seen: Viewer, asked: Asked) -> Found:
    """Community by community; without a count it stops where the page is full. Raises NgsiError."""
    kinds = [kind for kind in asked.kinds if seen.may(kind)]
    page: list[Entity] = []
    met = scanned = 0
    sites = seen.sites if kinds else ()
    if asked.names is not None and sites:
        async with context.database.read() as connection:
            there = await reading.holding(connection, asked.names)
        sites = tuple(site for site in sites if site.id in there)
    for site in sites:
        async with context.database.read() as connection:
            found = await reading.entities(connection, site, kinds, seen.classes, asked.names)
        scanned += len(found)
        for number, entity in enumerate(found):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            if asked.is_met(entity):
                met += 1
                if asked.offset < met <= asked.offset + asked.limit:
                    page.append(asked.representation.of(entity))
        if met > asked.offset + asked.limit and not asked.count:
            break
        if scanned > SCANNED:
            raise NgsiError(
                Fault.TOO_MANY,
                f"涉及实体超过 {SCANNED}，请用 type 或 id 缩小范围",
                f"more than {SCANNED} entities to look at: narrow it by type or id",
            )
    return Found(page, met if asked.count else None, met > asked.offset + asked.limit)


def checked(request: Request) -> str:
    """The media type to answer in. Raises NgsiError for a tenant and ApiError 406 for a type that is not offered."""
    if "NGSILD-Tenant" in request.headers:
        raise NgsiError(
            Fault.NO_TENANTS,
            "请勿发送 NGSILD-Tenant，范围由账号决定",
            "send no NGSILD-Tenant: your account says what you reach",
        )
    accept = request.headers.get("Accept", "*/*").lower()
    if LD_JSON in accept:
        return LD_JSON
    if any(one in accept for one in ("*/*", "application/*", JSON)):
        return JSON
    raise ApiError(HTTPStatus.NOT_ACCEPTABLE, f"可用 {JSON} 或 {LD_JSON} · there are {JSON} and {LD_JSON}")


def context_url(context: Context, request: Request) -> str:
    """Where the @context is: with us, so that nobody needs any other place to read an entity."""
    return (base_of(context) or str(request.base_url).rstrip("/")) + CONTEXT_PATH


def answered(
    body: Any, media_type: str, url: str, *, more: Sequence[str] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """In plain JSON the @context is named in a header. `more`: further links."""
    links = [*([] if media_type == LD_JSON else [f'<{url}>; rel="{CONTEXT_RELATION}"; type="{LD_JSON}"']), *more]
    said = {"Cache-Control": "private, no-store", "Vary": "Accept", **(headers or {})}
    if links:
        said["Link"] = ", ".join(links)
    return Response(to_json(body), media_type=media_type, headers=said)


def page_links(request: Request, asked: Asked, more: bool) -> list[str]:
    def link(offset: int, rel: str) -> str:
        given = {**dict(request.query_params), "offset": str(offset), "limit": str(asked.limit)}
        return f'<{request.url.path}?{urlencode(given)}>; rel="{rel}"; type="{JSON}"'

    links = []
    if asked.offset and asked.limit:
        links.append(link(max(0, asked.offset - asked.limit), "prev"))
    if more and asked.limit:
        links.append(link(asked.offset + asked.limit, "next"))
    return links
