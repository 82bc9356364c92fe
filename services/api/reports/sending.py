"""How a report comes in: as JSON or as a form with photos; limited, its place checked, its photos kept."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from services.adapters.evidence import rows as evidence_rows
from services.adapters.orders import append_moves
from services.adapters.reports import NewReport, Opened, load_categories, rows
from services.api.answers.shapes import Row
from services.api.context import Context
from services.api.guard import community_in_scope
from services.api.identity.auth import Ticket
from services.api.orders import evidence as pieces
from services.api.reports.models import MOST_PHOTOS, ReportIn
from services.api.reports.shared import NOBODY, address_of
from services.api.store import communities as communities_store
from services.api.store.database import Connection
from services.api.uploads.intake import Sent, Taken
from services.api.uploads.photo_form import WHOLE
from services.api.web import meters
from services.api.web.middleware import MAX_BODY_BYTES, BodyTooLarge
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.evidence import EvidenceSort, Phase
from services.domain.orders import Move, MoveRequest
from services.domain.reports import Category
from services.domain.vocabulary import Role, Severity

_MARGIN_M = 500.0
_PHOTOS = {"photo": {"type": "array", "maxItems": MOST_PHOTOS, "items": {"type": "string", "format": "binary"}}}
_SCHEMA = ReportIn.model_json_schema(ref_template="#/components/schemas/{model}")
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _SCHEMA, "examples": {"bin": {"value": _SCHEMA["examples"][0]}}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["category"],
                    "properties": {**_SCHEMA["properties"], **_PHOTOS},
                },
                "example": {"category": "rubbish", "place": "3号楼东侧", "photo": ["(binary)"]},
            },
        },
    }
}


async def community_of(connection: Connection, ticket: Ticket | None, community_id: str) -> Row:
    if ticket is not None:
        return await community_in_scope(connection, ticket.principal, community_id)
    found = await communities_store.communities(connection, community_id=community_id)
    if not found:
        raise not_found("community", community_id)
    return found[0]


async def read(context: Context, request: Request, ticket: Ticket | None, community_id: str) -> tuple[ReportIn, Sent]:
    """What was sent, and the photos with it.

    Raises as a body that FastAPI reads, 415, 422 and 503 for photos of what can wait, and 429 before a photo is read of
    somebody who would not be heard anyway.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        return _checked(await _words(request)), Sent([], {}, [], [])
    if not _trusted(ticket):
        wait_s = context.report_limit.wait_s(
            account=_account(ticket), address=address_of(request), community=community_id, now=time.monotonic()
        )
        if wait_s > 0:
            raise _too_many(wait_s)
    sender = _account(ticket) or f"address:{address_of(request)}"
    context.intake.check(request, sender, EvidenceSort.PHOTO, files=WHOLE)
    sent = await context.intake.take_photos(request, MOST_PHOTOS)
    body = _checked({name: text for name, text in sent.fields.items() if text.strip()})
    category = load_categories().get(body.category)
    if category is None or category.severity.rank < Severity.MAJOR.rank:
        refused = next((one for one in sent.lost if not one.kept_out), None)
        if refused is not None:
            raise refused.why
    return body, sent


def lost_words(sent: Sent) -> list[str]:
    """Why photos are not with the report, each reason once, in both languages."""
    return list(dict.fromkeys(one.why.detail for one in sent.lost))


async def _words(request: Request) -> bytes:
    """A body without photos is as small as every other; the route as a whole takes larger ones. Raises 413."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(MAX_BODY_BYTES)
    return body


def _checked(given: bytes | dict[str, str]) -> ReportIn:
    try:
        return ReportIn.model_validate_json(given) if isinstance(given, bytes) else ReportIn.model_validate(given)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        ) from None


def digest_of(body: ReportIn, sent: Sent) -> bytes:
    """Of all that was sent: the same key with anything else is not the same report."""
    whole = {**body.model_dump(mode="json"), "photos": sent.digests}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).digest()


def _account(ticket: Ticket | None) -> str | None:
    return ticket.principal.id if ticket is not None else None


def _trusted(ticket: Ticket | None) -> bool:
    """Those at work write down what many call in."""
    return ticket is not None and ticket.may(Permission.ORDER_OPEN)


def admit(context: Context, request: Request, ticket: Ticket | None, community_id: str, category: Category) -> None:
    """Raises ApiError 429."""
    if _trusted(ticket):
        return
    wait_s = context.report_limit.admit(
        account=_account(ticket),
        address=address_of(request),
        community=community_id,
        grave=category.severity is Severity.CRITICAL,
        now=time.monotonic(),
    )
    if wait_s > 0:
        meters.REPORTS.labels(category.id, "limited").inc()
        raise _too_many(wait_s)


def _too_many(wait_s: float) -> ApiError:
    seconds = int(wait_s) + 1
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"上报过多，请 {seconds} 秒后再试；紧急情况请立即拨打 119、110、120 或社区值班电话 · "
        f"too many reports; try again in {seconds} s; in an emergency call 119, 110, 120 or the community desk",
        headers={"Retry-After": str(seconds)},
    )


async def where(connection: Connection, ticket: Ticket | None, community_id: str, body: ReportIn) -> dict[str, Any]:
    """The place as it is kept: of what was named, all that follows from it. Raises ApiError 422."""
    building, unit, household = body.building_id, body.unit_id, body.household_id
    own = ticket.principal.household_id if ticket is not None else None
    if body.at_home or (household is not None and household == own):
        home = await connection.fetchrow(rows.Q["home"], community_id, own) if own is not None else None
        if home is None:
            raise _nowhere("您的账号没有登记住址", "your account has no home in this community")
        building, unit, household = home["building_id"], home["unit_id"], home["household_id"]
    elif household is not None:
        raise _nowhere("只能填写本人的住户", "the household can only be your own")
    x, y = body.x, body.y
    if x is not None and y is not None:
        await _on_plan(connection, community_id, x, y)
        if building is None:
            around = await connection.fetchrow(rows.Q["around_pin"], community_id, x, y)
            building = around["building_id"] if around is not None else None
    if unit is not None and building is None:
        raise _nowhere("请先选择楼栋", "a unit needs its building")
    place, grid = body.place, None
    if building is not None:
        row = await connection.fetchrow(rows.Q["place"], community_id, building, unit, household)
        if row is None or (unit is not None and row["unit_id"] is None):
            raise _nowhere("本社区没有这个楼栋或单元", "there is no such building or unit in this community")
        grid = row["grid_id"]
        x, y = (x, y) if x is not None else (float(row["x"]), float(row["y"]))
        place = place or "".join((row["building_name"], row["unit_name"] or ""))
    return {
        "building_id": building,
        "unit_id": unit,
        "household_id": household,
        "grid_id": grid,
        "x": x,
        "y": y,
        "place": place,
    }


async def _on_plan(connection: Connection, community_id: str, x: float, y: float) -> None:
    size = await connection.fetchrow(rows.Q["plan_size"], community_id)
    if size is None or size["width"] is None or size["height"] is None:
        return
    if not (-_MARGIN_M <= x <= size["width"] + _MARGIN_M and -_MARGIN_M <= y <= size["height"] + _MARGIN_M):
        raise _nowhere("位置不在本社区范围", "the pin lies outside this community")


def _nowhere(zh: str, en: str) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{zh} · {en}")


async def own_evidence(connection: Connection, ticket: Ticket | None, community_id: str, body: ReportIn) -> list[Row]:
    """What was sent before, by whoever reports now. Raises ApiError 422."""
    found = []
    for one in dict.fromkeys(body.evidence_ids):
        row = await evidence_rows.by_id(connection, one)
        mine = row is not None and row["community_id"] == community_id and row["uploaded_by"] == _account(ticket)
        if row is None or not mine or row["removed_at"] is not None:
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"没有您上传的证据 {one} · you sent no such evidence: {one}"
            )
        found.append(row)
    return found


async def keep_photos(
    context: Context,
    connection: Connection,
    opened: Opened,
    community: Row,
    new: NewReport,
    taken: Sequence[Taken],
    linked: Sequence[Row],
) -> int:
    """Rows of the photos, with the report and its order, and lines of the order's history; how many. The events go
    with the others of the report. The order is held by this transaction already."""
    order, now = opened.order, context.clock.now()
    phase = Phase.BEFORE if order.arrived_at is None else Phase.OTHER
    sender = Principal(new.reporter_id or NOBODY, "", "", Role.RESIDENT if new.reporter_id else Role.VISITOR, None)
    kept: list[tuple[Any, str, str]] = []
    if taken:
        ground = pieces.ground_of(await evidence_rows.site(connection, new.community_id, None))
        for number, one in enumerate(taken):
            row = pieces.new_row(
                one,
                pieces.fields_of(replace(one, fields={})),
                community=community,
                ground=ground,
                who=sender,
                sort=EvidenceSort.PHOTO,
                phase=phase,
                now=now,
                key=f"report:{new.id}:{number}",
            )
            row = replace(row, order_id=order.id, alert_id=order.alert_id, place=new.place)
            written, _ = await pieces.written(connection, context.intake.store, row)
            await evidence_rows.link_report(connection, written["id"], new.id)
            kept.append((written["id"], EvidenceSort.PHOTO.value, phase.value))
    for row_before in linked:
        row_linked = await evidence_rows.link(connection, row_before["id"], order.id, order.alert_id)
        if row_linked is None or await evidence_rows.link_report(connection, row_before["id"], new.id) is None:
            raise ApiError(HTTPStatus.CONFLICT, "该证据已被使用 · that evidence belongs to something else already")
        kept.append((row_linked["id"], row_linked["sort"], row_linked["phase"]))
    moves = [
        MoveRequest(Move.EVIDENCE, order.version, evidence_id=str(id), sort=sort, phase=phase_of)
        for id, sort, phase_of in kept
    ]
    if moves:
        _, outgoing = await append_moves(connection, order.id, moves, now)
        opened.outgoing.extend(outgoing)
    return len(kept)
