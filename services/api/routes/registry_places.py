"""Places: the community itself, 小区, 网格, buildings, units and homes; listed, made, changed, removed."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.adapters.registry.places import (
    E,
    Standing,
    foreign_places,
    known_places,
    lock_places,
    place_row,
    put_places,
    remove_places,
)
from services.adapters.registry.sheets import of_place
from services.api.answers.models import Problem
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.registry.models import (
    CommunityChange,
    CommunityIn,
    CountsOut,
    PlaceChange,
    PlaceIn,
    PlaceOut,
    PlacePage,
    RegisteredCommunity,
)
from services.api.registry.shared import REGISTRAR, Row, occupied, outdated, refused, remember, same_as_before
from services.api.store import system
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.preconditions import etag, expected_version
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.ids import CommunityId, partition_of
from services.domain.places import FIELDS, PlaceRow, PlaceSort, check_places

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["registry 档案"], responses=PROBLEMS)

EDITED: dict[int | str, dict[str, Any]] = {
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster"},
    428: {"model": Problem, "description": "缺少 If-Match · the header If-Match is missing"},
}
TAKEN: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "仍被占用 · something stands on it"}}


async def _community(connection: Connection, community_id: str) -> RegisteredCommunity:
    row = await connection.fetchrow(E["community_full"], community_id)
    counts = await connection.fetchrow(E["counts"], community_id)
    fields = {name: row[name] for name in RegisteredCommunity.model_fields if name != "counts"}
    return RegisteredCommunity(**fields, counts=CountsOut(**counts))


def _check_zone(name: str | None) -> None:
    try:
        ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"没有时区 {name} · there is no time zone {name}; say Asia/Shanghai"
        ) from None


@router.post("", status_code=201, summary="新建社区 Make a community", responses=TAKEN)
async def add_community(
    body: CommunityIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    response: Response,
    key: OnceKey = None,
) -> RegisteredCommunity:
    """Only an account bound to nothing makes communities."""
    who = ticket.principal
    if who.community_id is not None or who.street_id is not None:
        raise ApiError(
            HTTPStatus.FORBIDDEN, "只有全市管理员可新建社区 · only an administrator of the whole city makes communities"
        )
    _check_zone(body.timezone)
    street = "street-" + sha256(f"{body.city}|{body.district}|{body.street}".encode()).hexdigest()[:12]
    async with context.database.write(as_=REGISTRAR) as connection:
        asked = body.model_dump_json()
        if await connection.fetchrow(E["community_full"], body.id) is not None:
            if await same_as_before(connection, who, body.id, key, asked) is not None:
                return await _community(connection, body.id)
            raise ApiError(HTTPStatus.CONFLICT, f"{body.id} 已存在 · there is a community {body.id} already")
        await connection.execute(E["put_street"], street, body.city, body.district, body.street)
        await connection.fetchval(
            E["add_community"],
            body.id,
            street,
            body.name,
            partition_of(CommunityId(body.id)),
            body.latitude,
            body.longitude,
            body.timezone,
            body.households,
            body.residents,
            json.dumps({"width": 400.0, "height": 300.0, "shapes": []}),
        )
        await remember(connection, who, body.id, key, asked, body.id)
        out = await _community(connection, body.id)
        await system.audit(
            connection, who, body.id, "community.create", f"community:{body.id}", body.model_dump(mode="json")
        )
    response.headers.update(etag(out.version))
    return out


@router.get("/{community_id}/registry", summary="社区档案 The community with its counts")
async def registered(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.REGISTRY)], response: Response
) -> RegisteredCommunity:
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        out = await _community(connection, community_id)
    response.headers.update(etag(out.version))
    return out


@router.patch("/{community_id}/registry", summary="修改社区档案 Change the community", responses=EDITED)
async def change_community(
    community_id: str,
    body: CommunityChange,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    response: Response,
) -> RegisteredCommunity:
    who, seen = ticket.principal, expected_version(request)
    _check_zone(body.timezone)
    async with context.database.write(as_=REGISTRAR) as connection:
        await community_in_scope(connection, who, community_id)
        version = (await connection.fetchrow(E["lock_community"], community_id))["version"]
        if version != seen:
            raise outdated([(community_id, version)])
        before = await _community(connection, community_id)
        named = {name: value for name, value in body.model_dump(exclude_unset=True).items() if value is not None}
        now = before.model_copy(update=named)
        await connection.execute(
            E["change_community"],
            community_id,
            now.name,
            now.latitude,
            now.longitude,
            now.timezone,
            now.households,
            now.residents,
        )
        out = await _community(connection, community_id)
        changed = {name: [getattr(before, name), value] for name, value in named.items()}
        await system.audit(connection, who, community_id, "community.change", f"community:{community_id}", changed)
    response.headers.update(etag(out.version))
    return out


@router.delete(
    "/{community_id}/registry", status_code=204, summary="删除社区 Remove an empty one", responses={**EDITED, **TAKEN}
)
async def remove_community(
    community_id: str, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)]
) -> None:
    """Refused while anything stands on it: places, devices, people, accounts, orders."""
    who, seen = ticket.principal, expected_version(request)
    async with context.database.write(as_=REGISTRAR) as connection:
        await community_in_scope(connection, who, community_id)
        version = (await connection.fetchrow(E["lock_community"], community_id))["version"]
        if version != seen:
            raise outdated([(community_id, version)])
        rows = await connection.fetch(E["stands_on_community"], community_id)
        if rows:
            raise occupied([Standing(community_id, row["what"], row["n"], ()) for row in rows])
        await connection.execute(E["remove_community"], community_id)
        await system.audit(connection, who, community_id, "community.remove", f"community:{community_id}", {})


def place_out(row: Row) -> PlaceOut:
    fields = {name: row[name] for name in PlaceOut.model_fields}
    for name in ("x", "y", "width", "depth"):
        if fields[name] is not None:
            fields[name] = round(fields[name], 2)
    return PlaceOut(**fields)


async def _one(connection: Connection, community_id: str, sort: str, place_id: str) -> PlaceOut:
    rows = await connection.fetch(E["places"], community_id, sort, place_id, None, None, None, None, 1)
    if not rows:
        raise not_found("place", place_id)
    return place_out(rows[0])


@router.get("/{community_id}/places", summary="空间列表 Places, from the whole to its parts, by id")
async def places(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY)],
    sort: PlaceSort | None = None,
    under: Annotated[str | None, Query(max_length=64, description="所属 the place they stand on")] = None,
    text: Annotated[str | None, Query(max_length=100, description="编号或名称含 in the id or name")] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 200,
) -> PlacePage:
    key = cursor.decode(after, 2)
    if key is not None and not key[0].isdecimal():
        raise cursor.refused()
    rank, last = (min(int(key[0]), 9), key[1]) if key else (None, None)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await connection.fetch(E["places"], community_id, sort, None, under, text, rank, last, limit + 1)
    page = rows[:limit]
    more = cursor.encode(page[-1]["rank"], page[-1]["id"]) if len(rows) > limit else None
    return PlacePage(items=[place_out(row) for row in page], next=more)


@router.get("/{community_id}/places/{sort}/{place_id}", summary="一处空间 One place")
async def place(
    community_id: str,
    sort: PlaceSort,
    place_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY)],
    response: Response,
) -> PlaceOut:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        out = await _one(connection, community_id, sort, place_id)
    response.headers.update(etag(out.version))
    return out


def _fields(sort: PlaceSort, body: PlaceChange) -> dict[str, Any]:
    """Raises ApiError 422 for what the sort has not."""
    said = {
        name: value
        for name, value in body.model_dump(exclude_unset=True, exclude={"sort", "id"}).items()
        if value is not None
    }
    if wrong := sorted(set(said) - set(FIELDS[sort])):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{sort} 没有这些项：{'、'.join(wrong)} · a {sort} has no {', '.join(wrong)}",
            errors=[{"where": name, "zh": "没有此项", "en": "no such field"} for name in wrong],
        )
    return said


async def _put(connection: Connection, community_id: str, row: PlaceRow) -> tuple[str, ...]:
    """Checks and writes one; the fields it changes. Raises ApiError 422."""
    known = await known_places(connection, community_id)
    would, faults = check_places([row], known, await foreign_places(connection, community_id, [row.id]))
    if faults:
        raise refused(of_place(faults))
    await put_places(connection, community_id, [one.row for one in would])
    return would[0].columns


@router.post("/{community_id}/places", status_code=201, summary="新建空间 Make a place", responses=TAKEN)
async def add_place(
    community_id: str,
    body: PlaceIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    response: Response,
    key: OnceKey = None,
) -> PlaceOut:
    who, asked = ticket.principal, body.model_dump_json()
    async with context.database.write(as_=REGISTRAR) as connection:
        await community_in_scope(connection, who, community_id)
        await lock_places(connection, community_id)
        if await same_as_before(connection, who, community_id, key, asked) is None:
            fields = _fields(body.sort, body)
            if (body.sort, body.id) in await known_places(connection, community_id):
                raise ApiError(HTTPStatus.CONFLICT, f"{body.id} 已存在 · there is a {body.sort} {body.id} already")
            await _put(connection, community_id, PlaceRow(0, body.sort, body.id, **fields))
            subject = f"{body.sort}:{body.id}"
            await remember(connection, who, community_id, key, asked, subject)
            await system.audit(connection, who, community_id, "place.create", subject, fields)
        out = await _one(connection, community_id, body.sort, body.id)
    response.headers.update(etag(out.version))
    return out


@router.patch("/{community_id}/places/{sort}/{place_id}", summary="修改空间 Change a place", responses=EDITED)
async def change_place(
    community_id: str,
    sort: PlaceSort,
    place_id: str,
    body: PlaceChange,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    response: Response,
) -> PlaceOut:
    who, seen = ticket.principal, expected_version(request)
    async with context.database.write(as_=REGISTRAR) as connection:
        await community_in_scope(connection, who, community_id)
        await lock_places(connection, community_id)
        before = await _one(connection, community_id, sort, place_id)
        if before.version != seen:
            raise outdated([(place_id, before.version)])
        row = replace(place_row(before.model_dump()), **_fields(sort, body))
        changed = await _put(connection, community_id, row)
        out = await _one(connection, community_id, sort, place_id)
        if changed:
            detail = {name: [getattr(before, name), getattr(out, name)] for name in changed}
            await system.audit(connection, who, community_id, "place.change", f"{sort}:{place_id}", detail)
    response.headers.update(etag(out.version))
    return out


@router.delete(
    "/{community_id}/places/{sort}/{place_id}",
    status_code=204,
    summary="删除空间 Remove a place on which nothing stands",
    responses={**EDITED, **TAKEN},
)
async def remove_place(
    community_id: str,
    sort: PlaceSort,
    place_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
) -> None:
    who, seen = ticket.principal, expected_version(request)
    async with context.database.write(as_=REGISTRAR) as connection:
        await community_in_scope(connection, who, community_id)
        await lock_places(connection, community_id)
        before = await _one(connection, community_id, sort, place_id)
        if before.version != seen:
            raise outdated([(place_id, before.version)])
        if standing := await remove_places(connection, community_id, [(sort, place_id)]):
            raise occupied(standing)
        detail = before.model_dump(include=set(FIELDS[sort]))
        await system.audit(connection, who, community_id, "place.remove", f"{sort}:{place_id}", detail)
