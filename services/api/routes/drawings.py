"""The drawn plan: read once and cached for ever, uploaded as SVG or GeoJSON, kept by version; things placed on it."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.adapters.registry import editing
from services.adapters.registry.drawing_files import MOST_BYTES, Drawn, NoDrawing, from_geojson
from services.adapters.registry.places import E
from services.adapters.registry.sheets import CellFault
from services.adapters.registry.svg_file import from_svg
from services.api.common import OF_WHO_ASKS, PREFIX, PROBLEMS, Cursor, Limit
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.registry.drawing_models import (
    DrawingIn,
    DrawingOut,
    DrawingPreview,
    DrawingVersionOut,
    DrawingVersionPage,
    PlacementIn,
    PlacementOut,
    ShapeModel,
)
from services.api.registry.models import VersionOf
from services.api.registry.shared import label_out, locked, outdated, refused
from services.api.routes.registry_places import EDITED
from services.api.store import system
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.preconditions import etag, expected_version
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.drawing import check_drawing, layered
from services.domain.evidence.plan import Datum, Ground
from services.domain.vocabulary import Label

router = APIRouter(
    prefix=f"{PREFIX}/communities/{{community_id}}/plan", tags=["plan drawing 平面图"], responses=PROBLEMS
)

_FOR_EVER = "private, max-age=31536000, immutable"
_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "image/svg+xml": {"schema": {"type": "string", "format": "binary"}},
            "application/geo+json": {"schema": {"type": "object"}},
        },
    }
}
_PLAN = {304: {"description": "未变 · not changed"}}


def _written(version: int, plan: str) -> bytes:
    drawn = json.loads(plan)
    out = DrawingOut(
        version=version,
        width=drawn.get("width", 0),
        height=drawn.get("height", 0),
        shapes=drawn.get("shapes", []),
    )
    return out.model_dump_json().encode()


async def _row(connection: Connection, community_id: str, version: int) -> editing.Row:
    row = await editing.drawing(connection, community_id, version)
    if row is None:
        raise not_found("version", version)
    return row


@router.get("", response_model=DrawingOut, summary="平面图 The drawing that counts now", responses=_PLAN)  # type: ignore[arg-type]
async def newest(
    community_id: str, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COCKPIT)]
) -> Response:
    """Ask again with If-None-Match: 304 while nobody has drawn."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        version = (await connection.fetchrow(E["community_full"], community_id))["plan_version"]
        headers = {**etag(version), "Cache-Control": "private, no-cache"}
        if request.headers.get("If-None-Match", "").removeprefix("W/") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        row = await _row(connection, community_id, version)
    return Response(_written(version, row["plan"]), media_type="application/json", headers=headers)


@router.get("/drawings", summary="平面图版本 Its versions, newest first")
async def drawings(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY)],
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 50,
) -> DrawingVersionPage:
    key = cursor.decode(after, 1)
    if key is not None and not (key[0].isdecimal() and len(key[0]) < 10):
        raise cursor.refused()
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await connection.fetch(E["drawings"], community_id, int(key[0]) if key else None, limit + 1)
    page = rows[:limit]
    more = cursor.encode(page[-1]["version"]) if len(rows) > limit else None
    return DrawingVersionPage(items=[DrawingVersionOut(**row) for row in page], next=more)


@router.get("/drawings/{version}", response_model=DrawingOut, summary="一个版本 One version, which never changes")
async def drawing(
    community_id: str,
    version: int,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COCKPIT)],
) -> Response:
    """Cached for ever: a snapshot names the version, and a page that has it asks no more."""
    if not 0 < version < 2**31:
        raise not_found("version", version)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        row = await _row(connection, community_id, version)
    headers = {**etag(version), "Cache-Control": _FOR_EVER, "Vary": OF_WHO_ASKS}
    return Response(_written(version, row["plan"]), media_type="application/json", headers=headers)


@router.post("/preview", summary="上传预览 An SVG or GeoJSON as it would be drawn", openapi_extra=_FILE)
async def preview(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    metres_per_unit: Annotated[float, Query(gt=0, le=1_000, description="SVG: 一个单位多少米")] = 1.0,
    datum: Annotated[Datum, Query(description="GeoJSON: 坐标系")] = Datum.WGS84,
) -> DrawingPreview:
    """Nothing is kept. Only shapes are taken out of the file, as points: no text of it reaches any page."""
    async with context.database.read() as connection:
        row = await community_in_scope(connection, ticket.principal, community_id)
        drawn = await _row(
            connection, community_id, (await connection.fetchrow(E["community_full"], community_id))["plan_version"]
        )
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    raw = await _body(request)
    plan = json.loads(drawn["plan"])
    ground = Ground(row["latitude"], row["longitude"], plan.get("width") or 400.0, plan.get("height") or 300.0)
    try:
        if media == "image/svg+xml":
            found: Drawn = await asyncio.to_thread(from_svg, raw, metres_per_unit)
        elif media in ("application/geo+json", "application/json"):
            found = await asyncio.to_thread(from_geojson, raw, ground, datum)
        else:
            raise ApiError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "请发送 image/svg+xml 或 application/geo+json · send image/svg+xml or application/geo+json",
            )
    except NoDrawing as wrong:
        raise refused([CellFault(0, "file", wrong.words)]) from None
    kinds: dict[str, int] = {}
    for shape in found.shapes:
        kinds[shape["kind"]] = kinds.get(shape["kind"], 0) + 1
    return DrawingPreview(
        source="svg" if media == "image/svg+xml" else "geojson",
        width=found.width,
        height=found.height,
        shapes=[ShapeModel(**shape) for shape in layered(found.shapes)],
        kinds=kinds,
        left_out=[label_out(words) for words in found.told()],
    )


async def _body(request: Request) -> bytes:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise ApiError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "文件超过 4 MB，请先简化 · larger than 4 MB; simplify the drawing",
                headers={"Connection": "close"},
            )
    return bytes(raw)


async def _keep(
    connection: Connection, who: Principal, community_id: str, seen: int, plan: dict[str, Any], source: str, note: str,
    at: datetime,
) -> int:  # fmt: skip
    """The new version. Raises ApiError 412."""
    now = (await connection.fetchrow(E["lock_community"], community_id))["plan_version"]
    if now != seen:
        raise outdated([("plan", now)])
    told = json.dumps(plan)
    await connection.execute(E["keep_drawing"], community_id, now + 1, source, told, note, who.id, at)
    await connection.execute(E["set_plan"], community_id, told)
    new: int = (await connection.fetchrow(E["community_full"], community_id))["plan_version"]
    if new == now:  # The same drawing again: nothing to keep.
        raise ApiError(HTTPStatus.CONFLICT, "与现有平面图相同 · it is the drawing that counts already")
    detail = {"version": new, "source": source, "note": note, "shapes": len(plan.get("shapes", []))}
    await system.audit(connection, who, community_id, "plan.draw", f"plan:{community_id}", detail)
    return new


@router.post("/drawings", status_code=201, summary="保存平面图 Keep a new version", responses=EDITED)
async def draw(
    community_id: str,
    body: DrawingIn,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    response: Response,
) -> DrawingOut:
    who, seen = ticket.principal, expected_version(request)
    plan = body.model_dump(exclude={"source", "note"}, exclude_none=True)
    if faults := check_drawing(plan):
        raise refused([CellFault(0, one.where, one.words) for one in faults])
    plan["shapes"] = layered(plan["shapes"])
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        version = await _keep(connection, who, community_id, seen, plan, body.source, body.note, context.clock.now())
    response.headers.update(etag(version))
    return DrawingOut(version=version, **plan)


@router.post(
    "/drawings/{version}/restore", status_code=201, summary="恢复版本 An older one counts again", responses=EDITED
)
async def restore(
    community_id: str,
    version: int,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    response: Response,
) -> DrawingOut:
    """As a new version, so that nothing is lost."""
    who, seen = ticket.principal, expected_version(request)
    if not 0 < version < 2**31:
        raise not_found("version", version)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        plan = json.loads((await _row(connection, community_id, version))["plan"])
        new = await _keep(connection, who, community_id, seen, plan, "restore", f"v{version}", context.clock.now())
    response.headers.update(etag(new))
    return DrawingOut.model_validate_json(_written(new, json.dumps(plan)))


@router.patch("/places", summary="落图 Put devices and buildings on the plan, all or none", responses=EDITED)
async def put_on_plan(
    community_id: str, body: PlacementIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)]
) -> PlacementOut:
    who = ticket.principal
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        buildings = {one.id: one for one in body.buildings}
        devices = {one.id: one for one in body.devices}
        if len(buildings) < len(body.buildings) or len(devices) < len(body.devices):
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "同一对象出现两次 · something stands in it twice")
        moved_buildings: list[VersionOf] = []
        if buildings:
            rows = await connection.fetch(E["lock_buildings"], community_id, sorted(buildings))
            versions = {row["id"]: row["version"] for row in rows}
            for id in buildings:
                if id not in versions:
                    raise not_found("building", id)
            if stale := [(id, versions[id]) for id, one in buildings.items() if versions[id] != one.version]:
                raise outdated(stale)
            told = json.dumps([one.model_dump() for one in body.buildings])
            rows = await connection.fetch(E["move_buildings"], community_id, told)
            moved_buildings = [VersionOf(**row) for row in rows]
        moved: list[VersionOf] = []
        if devices:
            await locked(connection, community_id, {one.id: one.version for one in body.devices})
            await _check_inside(connection, community_id, body)
            told = json.dumps([one.model_dump() for one in body.devices])
            moved = [VersionOf(**row) for row in await connection.fetch(E["move_devices"], community_id, told)]
        detail = {"devices": list(devices)[:200], "buildings": list(buildings)[:200], "count": len(devices)}
        if devices or buildings:
            await system.audit(connection, who, community_id, "plan.place", f"plan:{community_id}", detail)
    return PlacementOut(devices=moved, buildings=moved_buildings)


async def _check_inside(connection: Connection, community_id: str, body: PlacementIn) -> None:
    """Raises ApiError 422 where a building is not there, a unit not in it, or a floor above its roof."""
    wanted = sorted({one.building_id for one in body.devices if one.inside and one.building_id})
    parts: dict[str, tuple[int, set[str]]] = {}
    for row in await connection.fetch(E["parts"], community_id, wanted):
        floors, units = parts.setdefault(row["building_id"], (row["floors"], set()))
        if row["unit_id"] is not None:
            units.add(row["unit_id"])
    faults = []
    for one in body.devices:
        if not one.inside:
            continue
        floors, units = parts.get(one.building_id or "", (0, set()))
        if one.building_id is None:
            words = Label("有单元须有楼栋", "a unit stands in a building") if one.unit_id else None
        elif one.building_id not in parts:
            words = Label(f"没有楼栋 {one.building_id}", f"there is no building {one.building_id}")
        elif one.unit_id is not None and one.unit_id not in units:
            words = Label(
                f"楼栋 {one.building_id} 没有单元 {one.unit_id}",
                f"building {one.building_id} has no unit {one.unit_id}",
            )
        elif one.floor is not None and one.floor > floors + 1:
            words = Label(f"楼层 {one.floor} 超出层数 {floors}", f"floor {one.floor} is above the {floors} there are")
        else:
            words = None
        if words is not None:
            faults.append(CellFault(0, one.id, words))
    if faults:
        raise refused(faults)
