"""Codes that hang at places (场所码): made, listed, printed, changed for new ones, and voided."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from services.adapters.evidence import rows
from services.api.answers.models import Problem
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, State, time_and_id
from services.api.context import Context, Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders.evidence_models import PlaceCodeIn, PlaceCodeOut, PlaceCodePage
from services.api.registry.labels import label
from services.api.store import system
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.problems import ApiError
from services.domain.access import Permission, Principal

router = APIRouter(prefix=PREFIX, tags=["place codes 场所码"], responses=PROBLEMS)

_VOID: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "已作废 · it is void already"}}
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=128, description="重试时用同一个值 · the same value on a retry"),
]


def _out(context: Context, row: Row) -> PlaceCodeOut:
    same = {name: row[name] for name in PlaceCodeOut.model_fields if name != "code"}
    void = row["revoked_at"] is not None
    return PlaceCodeOut(**same, code=None if void else context.intake.signer.code(row["id"]))


@router.post("/communities/{community_id}/place-codes", summary="新建场所码 Make a code for a place")
async def create(
    community_id: str,
    body: PlaceCodeIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PLACE_CODES)],
    key: Key = None,
) -> PlaceCodeOut:
    who = ticket.principal
    own = f"{who.id}:{key}" if key else None
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        place, x, y = await _where(connection, community_id, body)
        row = await rows.insert_code(
            connection,
            uuid4(),
            community_id,
            body.building_id,
            body.unit_id,
            place,
            x,
            y,
            context.clock.now(),
            who.id,
            own,
        )
        if row is None:
            assert own is not None  # noqa: S101 - nothing else conflicts
            row = await rows.code_by_key(connection, community_id, own)
            assert row is not None  # noqa: S101 - it is what was in the way
            return _out(context, row)
        await _audit(connection, who, row, "create")
    return _out(context, row)


async def _where(connection: Connection, community_id: str, body: PlaceCodeIn) -> tuple[str, float, float]:
    """(name, x, y). Raises ApiError 422."""
    if body.building_id is None:
        if body.place is None or body.x is None or body.y is None or body.unit_id is not None:
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "请指定楼栋，或同时给出地点名称与平面坐标 · name a building, or a place with its x and y",
            )
        return body.place, body.x, body.y
    found = await rows.place_of(connection, community_id, body.building_id, body.unit_id)
    if found is None or (body.unit_id is not None and found["unit"] is None):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "没有这栋楼或这个单元 · there is no such building or unit")
    name = body.place or found["building"] + (found["unit"] or "")
    return name, found["x"] if body.x is None else body.x, found["y"] if body.y is None else body.y


@router.get("/communities/{community_id}/place-codes", summary="场所码列表 Place codes, newest first")
async def codes(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PLACE_CODES)],
    state: State = "open",
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> PlaceCodePage:
    key = time_and_id(after)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        found = await rows.codes(connection, community_id, revoked=state == "all", after=key, limit=limit + 1)
    page = found[:limit]
    more = cursor.encode(page[-1]["created_at"].isoformat(), page[-1]["id"]) if len(found) > limit else None
    return PlaceCodePage(items=[_out(context, row) for row in page], next=more)


@router.get(
    "/place-codes/{code_id}/label",
    response_class=Response,
    summary="打印标签 The label to print, A6",
    responses={200: {"content": {"image/svg+xml": {}}}, **_VOID},
)
async def print_label(
    code_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PLACE_CODES)]
) -> Response:
    async with context.database.read() as connection:
        row = await _mine(connection, ticket.principal, code_id)
        community = await community_in_scope(connection, ticket.principal, row["community_id"])
    if row["revoked_at"] is not None:
        raise _void()
    drawn = label(context.intake.signer.code(code_id), row["place"], community["name"], str(code_id)[:8].upper())
    return Response(
        drawn,
        media_type="image/svg+xml",
        headers={"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "no-store"},
    )


@router.post("/place-codes/{code_id}/revoke", summary="作废 Void it", responses=_VOID)
async def revoke(code_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PLACE_CODES)]) -> PlaceCodeOut:
    who = ticket.principal
    async with context.database.write() as connection:
        await _mine(connection, who, code_id)
        row = await rows.revoke_code(connection, code_id, context.clock.now(), who.id, None)
        if row is None:
            raise _void()
        await _audit(connection, who, row, "revoke")
    return _out(context, row)


@router.post("/place-codes/{code_id}/rotate", summary="换新码 A new code for the same place", responses=_VOID)
async def rotate(code_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PLACE_CODES)]) -> PlaceCodeOut:
    """The old one is void at once; the answer is the new one."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        old = await _mine(connection, who, code_id)
        new = await rows.insert_code(
            connection,
            uuid4(),
            old["community_id"],
            old["building_id"],
            old["unit_id"],
            old["place"],
            old["x"],
            old["y"],
            now,
            who.id,
            None,
        )
        assert new is not None  # noqa: S101 - without a key nothing conflicts
        if await rows.revoke_code(connection, code_id, now, who.id, new["id"]) is None:
            raise _void()
        await _audit(connection, who, new, "rotate")
    return _out(context, new)


async def _mine(connection: Connection, who: Principal, code_id: UUID) -> Row:
    return await in_scope(connection, who, await rows.code_by_id(connection, code_id), "code", code_id)


async def _audit(connection: Connection, who: Principal, row: Row, what: str) -> None:
    detail = {"place": row["place"], "building_id": row["building_id"]}
    await system.audit(connection, who, row["community_id"], f"place_code.{what}", f"place_code:{row['id']}", detail)


def _void() -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, "该场所码已作废 · this code is void already")
