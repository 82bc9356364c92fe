"""Evidence (证据): taken in, listed, shown, linked, and taken away with a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.adapters.evidence import StoreAway, rows
from services.adapters.evidence.upkeep import drop_unreferred
from services.adapters.orders import fetch_order
from services.api.answers.models import Problem
from services.api.answers.moves import actor_of
from services.api.answers.shapes import Row
from services.api.common import (
    PREFIX,
    PROBLEMS,
    AsAccount,
    Cursor,
    Limit,
    OnceKey,
    meant_by,
    once,
    time_and_id,
)
from services.api.context import Context, Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders import evidence as pieces
from services.api.orders.evidence_models import (
    AlertEvidenceOut,
    EvidenceOut,
    EvidencePage,
    LinkIn,
    ReferenceOut,
    RemoveIn,
)
from services.api.store import system, work
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.evidence import EvidenceSort, Phase, references
from services.domain.orders import Actor

log = structlog.get_logger(__name__)

UPLOAD: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "缺少 Idempotency-Key · the header is missing"},
    413: {"model": Problem, "description": "文件过大，未读取 · too large; refused before it is read"},
    415: {"model": Problem, "description": "不接收此类文件 · not a type that is taken"},
    412: {"model": Problem, "description": "另一个账号的操作 · not the account in X-LinHub-Account"},
    429: {"model": Problem, "description": "过于频繁 · too many uploads"},
    507: {"model": Problem, "description": "存储已满 · the store is full; nothing was kept"},
}
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "taken_at": {"type": "string", "format": "date-time"},
                        "place": {"type": "string", "maxLength": 200},
                        "latitude": {"type": "number"},
                        "longitude": {"type": "number"},
                        "datum": {"type": "string", "enum": ["wgs84", "gcj02", "bd09"]},
                        "x": {"type": "number"},
                        "y": {"type": "number"},
                    },
                },
                "example": {"file": "(binary)", "taken_at": "2026-11-22T18:20:00+08:00", "place": "3号楼2单元"},
            }
        },
    }
}

router = APIRouter(prefix=PREFIX, tags=["evidence 证据"], responses=PROBLEMS)

SortOf = Annotated[EvidenceSort, Query(description="photo 照片, clip 短片, voice 语音, signature 签名")]
PhaseOf = Annotated[Phase, Query(description="before 处置前, after 处置后, other 其他")]
SHOWN = 200


def _key(who: Principal, key: str | None) -> str:
    return f"{who.id}:{once(key)}"


@router.post(
    "/communities/{community_id}/evidence",
    response_model=EvidenceOut,
    summary="上传证据，稍后关联 Keep a file, to be linked",
    responses=UPLOAD,
    openapi_extra=FORM,
)
async def add(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.EVIDENCE_ADD)],
    sort: SortOf,
    phase: PhaseOf = Phase.OTHER,
    key: OnceKey = None,
) -> EvidenceOut:
    who = ticket.principal
    async with context.database.read() as connection:
        community = await community_in_scope(connection, who, community_id)
        known = await rows.by_key(connection, community_id, _key(who, key))
    if known is not None:
        return pieces.out(known, who.display_name)
    return await taken_in(context, request, who, community, None, sort, phase, _key(who, key))


@router.post(
    "/orders/{order_id}/evidence",
    response_model=EvidenceOut,
    summary="为工单上传证据 Keep a file with an order",
    responses=UPLOAD,
    openapi_extra=FORM,
)
async def add_to_order(
    order_id: UUID,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.EVIDENCE_ADD)],
    sort: SortOf,
    phase: PhaseOf = Phase.OTHER,
    key: OnceKey = None,
    account: AsAccount = None,
) -> EvidenceOut:
    who = ticket.principal
    meant_by(account, who)
    async with context.database.read() as connection:
        order = await pieces.visible_order(connection, who, order_id)
        if pieces.hidden(order, who):
            raise not_found("order", order_id)
        known = await rows.by_key(connection, order["community_id"], _key(who, key))
        if known is not None:
            return pieces.out(known, who.display_name)
        community = await community_in_scope(connection, who, order["community_id"])
    asked = pieces.move_of(order_id, sort.value, phase.value, None)
    pieces.refuse_early(order, asked, actor_of(who), context.clock.now())
    return await taken_in(context, request, who, community, order, sort, phase, _key(who, key))


async def taken_in(
    context: Context,
    request: Request,
    who: Principal,
    community: Row,
    order: Row | None,
    sort: EvidenceSort,
    phase: Phase,
    key: str,
    actor: Actor | None = None,
) -> EvidenceOut:
    """`key`: the sender's own, told apart from others'. `actor`: who they are to the order, where more than their
    account says."""
    context.intake.check(request, who.id, sort)
    taken = await context.intake.take(request, sort)
    fields, now = pieces.fields_of(taken), context.clock.now()
    async with context.database.write() as connection:
        ground = pieces.ground_of(await rows.site(connection, community["id"], None))
        new = pieces.new_row(
            taken, fields, community=community, ground=ground, who=who, sort=sort, phase=phase, now=now, key=key
        )
        await rows.hold(connection, *pieces.names_of(new))
        if order is not None:
            current = await fetch_order(connection, order["id"], lock=True)
            new = replace(new, order_id=current.id, alert_id=current.alert_id)
        row, fresh = await pieces.written(connection, context.intake.store, new)
        if fresh and order is not None:
            await pieces.told(connection, actor or actor_of(who), row, order["id"], now, f"evidence:{key}")
    log.info(
        "evidence_stored",
        evidence=str(row["id"]),
        order=str(order["id"]) if order else None,
        correlation=order["correlation"] if order else "",
        sort=sort.value,
        bytes=taken.size,
        by=who.id,
    )
    return pieces.out(row, who.display_name)


@router.get("/orders/{order_id}/evidence", summary="工单的证据 The evidence of an order, oldest first")
async def of_order(
    order_id: UUID,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.EVIDENCE)],
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> EvidencePage:
    key = time_and_id(after)
    async with context.database.read() as connection:
        order = await pieces.visible_order(connection, ticket.principal, order_id)
        if pieces.hidden(order, ticket.principal):
            return EvidencePage(items=[], next=None)
        found = await rows.of_order(connection, order_id, key, limit + 1)
        page = found[:limit]
        shown = await pieces.shown_only(connection, ticket.principal, page)
    more = cursor.encode(page[-1]["uploaded_at"].isoformat(), page[-1]["id"]) if len(found) > limit else None
    return EvidencePage(items=[pieces.out(row) for row in shown], next=more)


@router.get(
    "/alerts/{alert_id}/evidence", summary="告警的证据 What shows an alert: pictures, and what its device names"
)
async def of_alert(
    alert_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.EVIDENCE)]
) -> AlertEvidenceOut:
    who = ticket.principal
    async with context.database.consistent() as connection:
        alerts = await work.alerts_by_ids(connection, [alert_id])
        alert = await in_scope(connection, who, alerts[0] if alerts else None, "alert", alert_id)
        if who.role in pieces.OUTSIDERS:
            raise not_found("alert", alert_id)
        if pieces.alert_hidden(alert, who):
            return AlertEvidenceOut(items=[], references=[])
        found = await rows.of_alert(connection, alert_id, alert["order_id"], SHOWN)
        found = await pieces.shown_only(connection, who, found)
        said: list[tuple[datetime, Any]] = [(alert["fired_at"], alert["trigger"])]
        said += [(row["at"], row["trigger"]) for row in await rows.occurrences(connection, alert_id)]
    named = {pair: at for at, trigger in said for pair in references(trigger)}
    return AlertEvidenceOut(
        items=[pieces.out(row) for row in found],
        references=[ReferenceOut(name=name, reference=text, at=at) for (name, text), at in named.items()],
    )


@router.get(
    "/evidence/{evidence_id}",
    response_class=Response,
    summary="证据原件 The file itself; parts by Range",
    responses={200: {"content": {"image/jpeg": {}, "video/mp4": {}, "audio/ogg": {}}}, 410: {"model": Problem}},
)
async def show(
    evidence_id: UUID, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.EVIDENCE)]
) -> Response:
    async with context.database.read() as connection:
        row = await pieces.visible(connection, ticket.principal, evidence_id)
    return await pieces.handed_out(context, request, row, thumb=False)


@router.get(
    "/evidence/{evidence_id}/thumbnail",
    response_class=Response,
    summary="缩略图 A small picture of it",
    responses={200: {"content": {"image/webp": {}}}, 410: {"model": Problem}},
)
async def thumbnail(
    evidence_id: UUID, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.EVIDENCE)]
) -> Response:
    async with context.database.read() as connection:
        row = await pieces.visible(connection, ticket.principal, evidence_id)
    return await pieces.handed_out(context, request, row, thumb=True)


@router.post(
    "/evidence/{evidence_id}/link",
    summary="关联到工单 Link it to an order",
    responses={409: {"model": Problem, "description": "已关联其他工单 · it is linked to another one"}},
)
async def link(
    evidence_id: UUID, body: LinkIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.EVIDENCE_ADD)]
) -> EvidenceOut:
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        row = await pieces.visible(connection, who, evidence_id)
        order = await pieces.visible_order(connection, who, body.order_id)
        if order["community_id"] != row["community_id"] or pieces.hidden(order, who):
            raise not_found("order", body.order_id)
        if row["removed_at"] is not None:
            raise ApiError(HTTPStatus.CONFLICT, "该证据已被移除 · it was taken away")
        current = await fetch_order(connection, body.order_id, lock=True)
        linked = await rows.link(connection, evidence_id, body.order_id, current.alert_id)
        if linked is None:
            known = await rows.by_id(connection, evidence_id)
            if known is None or known["order_id"] != body.order_id:
                raise ApiError(HTTPStatus.CONFLICT, "该证据已关联其他工单 · it is linked to another order")
            return pieces.out(known)
        await pieces.told(connection, actor_of(who), linked, body.order_id, now, f"link:{evidence_id}")
    return pieces.out(linked)


@router.delete(
    "/evidence/{evidence_id}",
    summary="移除证据（留存记录） Take its picture away; the record stays",
    responses={409: {"model": Problem, "description": "已移除 · it was taken away before"}},
)
async def remove(
    evidence_id: UUID, body: RemoveIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.EVIDENCE_REMOVE)]
) -> EvidenceOut:
    who = ticket.principal
    async with context.database.write() as connection:
        await pieces.visible(connection, who, evidence_id)
        row = await rows.remove(connection, evidence_id, context.clock.now(), who.id, body.why)
        if row is None:
            raise ApiError(HTTPStatus.CONFLICT, "该证据已被移除 · it was taken away before")
        detail = {"why": body.why, "sha256": row["sha256"].hex(), "order_id": str(row["order_id"] or "")}
        await system.audit(connection, who, row["community_id"], "evidence.remove", f"evidence:{evidence_id}", detail)
    for raw in (row["sha256"], row["thumb_sha256"]):
        if raw is not None:
            await _drop(context, raw.hex())
    log.info("evidence_removed", evidence=str(evidence_id), by=who.id)
    return pieces.out(row)


async def _drop(context: Context, name: str) -> None:
    """What another row needs stays. Where the store does not answer, the sweep does it within a day."""
    try:
        async with context.database.read() as connection:
            await drop_unreferred(connection, context.intake.store, name)
    except StoreAway as error:
        log.warning("evidence_not_dropped", object=name, why=str(error))
