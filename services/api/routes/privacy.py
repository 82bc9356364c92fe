"""The rights of a person over what is kept about them: a copy, erasure by two people, and how long it stays anyway."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import IO, Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Query
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from services.adapters.privacy import erase as erasing
from services.adapters.privacy.export import write_export
from services.api.answers.models import LabelOut, Page, Problem
from services.api.answers.shapes import Row, label
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, answer, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.people.masks import is_own, person_in_reach
from services.api.people.models import ErasureIn, ErasureOut, RetentionIn, RetentionOut
from services.api.privacy.purposes import AskedFor, required
from services.api.routes.channels import made_id
from services.api.store import system
from services.api.store.retention import kept_days, set_days
from services.api.store.tenancy import SERVICE
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.people.privacy import Purpose
from services.domain.people.retention import BY_NAME, CLASSES, Retained

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["privacy 隐私"], responses=PROBLEMS)
_CHUNK = 64 * 1024


class ErasurePage(Page):
    items: list[ErasureOut]


@router.get(
    "/people/{person_id}/export",
    summary="个人信息副本 Everything kept about one person",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}, "description": "ZIP of JSON and CSV"}},
)
async def export(
    person_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)],
    purpose: Annotated[Purpose | None, AskedFor] = None,
) -> Response:
    """For the person themselves (their guardian), or for an administrator who hands it to them."""
    who = ticket.principal
    async with context.database.read() as connection:
        row = await person_in_reach(connection, who, person_id)
    if not is_own(who, row) and not ticket.may(Permission.PRIVACY):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "只有本人、监护人或管理员可以导出 · only the person, their guardian or an administrator gets a copy",
        )
    asked = required(purpose, who)
    if asked not in (Purpose.SELF, Purpose.EXPORT):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "导出的用途为 self 或 export · for a copy: self or export")
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it was sent
    try:
        # Readings and events are no tenant's to read; whose they are, and who asks, was judged above.
        async with context.database.hold() as connection:
            counts = await write_export(connection, person_id, file)
            detail = {"purpose": asked.value, "person": person_id, "what": "export", "counts": counts}
            subject = f"person:{person_id}"
            await system.audit(connection, who, row["community_id"], "health.read", subject, detail)
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)
    log.info("person_exported", person=person_id, by=who.id, bytes=size)
    headers = {
        "Content-Disposition": f'attachment; filename="person-{person_id}.zip"',
        "Content-Length": str(size),
    }
    closing = BackgroundTask(file.close)
    return StreamingResponse(_pieces(file), media_type="application/zip", headers=headers, background=closing)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _CHUNK):
        yield piece


@router.post("/people/{person_id}/erase", summary="申请抹除 Ask for a person to be erased")
async def ask(
    person_id: str,
    body: ErasureIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PRIVACY)],
    key: OnceKey = None,
) -> ErasureOut:
    """`dry_run`: what would go. Else it waits for somebody else to approve it; asking again gives the same request."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.read() as connection:
        row = await person_in_reach(connection, who, person_id)
    # Counts look into telemetry and sessions, which are no tenant's to read.
    async with context.database.write(as_=SERVICE) as connection:
        scope = await erasing.scope_of(connection, person_id)
        if body.dry_run:
            return ErasureOut(
                id=None, person_id=person_id, community_id=row["community_id"], reason=body.reason, state="dry_run",
                requested_by=who.id, requested_name=who.display_name, requested_at=now, approved_by=None,
                approved_name=None, approved_at=None, done_at=None,
                counts=await erasing.counted(connection, scope),
            )  # fmt: skip
        request_id = made_id(f"{who.id}|{person_id}|erase", key)
        asked = await erasing.ask(connection, scope, request_id, body.reason, who.id, who.role.value, now)
    return _erasure(asked)


@router.post(
    "/erasures/{erasure_id}/approve",
    summary="批准并执行抹除 Approve it, as a second person, and do it",
    responses={409: {"model": Problem, "description": "申请人不能批准 · who asked may not approve"}},
)
async def approve(
    erasure_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PEOPLE_EDIT)]
) -> ErasureOut:
    """It cannot be taken back. Called again after something failed, it does what is left."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.hold() as connection:
        found = await connection.fetchrow(erasing.Q["request"], erasure_id)
        await in_scope(connection, who, found, "erasure", erasure_id)
        try:
            await erasing.approve(connection, erasure_id, who.id, now)
            done = await erasing.erase(connection, erasure_id, who.id, who.role.value, now)
        except erasing.NotTheirs:
            raise ApiError(
                HTTPStatus.CONFLICT,
                "申请人不能自己批准，请另一位批准 · who asked may not approve it; ask somebody else",
            ) from None
        except erasing.Gone:
            raise not_found("erasure", erasure_id) from None
    context.gallery.consents_changed(done["community_id"])
    log.info("person_erased", person=done["person_id"], by=who.id)
    return _erasure(done)


@router.delete("/erasures/{erasure_id}", status_code=204, summary="撤销抹除申请 Take a request back")
async def take_back(erasure_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PRIVACY)]) -> None:
    who = ticket.principal
    async with context.database.write() as connection:
        found = await connection.fetchrow(erasing.Q["lock_request"], erasure_id)
        row = await in_scope(connection, who, found, "erasure", erasure_id)
        if await connection.fetchval(erasing.Q["withdraw_request"], erasure_id) is None:
            raise ApiError(HTTPStatus.CONFLICT, "已批准，不能撤销 · it was approved and cannot be taken back")
        subject, detail = f"person:{row['person_id']}", {"id": str(erasure_id)}
        await system.audit(connection, who, row["community_id"], "person.erase_withdraw", subject, detail)


@router.get(
    "/communities/{community_id}/erasures",
    response_model=ErasurePage,
    summary="抹除申请 Requests to erase, newest first",
)
async def erasures(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PEOPLE_EDIT)],
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    """Whom it is about is an id alone: those who were erased have nothing else."""
    at, last = time_and_id(after) or (None, None)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await connection.fetch(erasing.Q["requests"], community_id, at, last, limit + 1)
    page = rows[:limit]
    more = cursor.encode(page[-1]["requested_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return answer(ErasurePage(items=[_erasure(row) for row in page], next=more))


def _erasure(row: Row) -> ErasureOut:
    state = "done" if row["done_at"] else "approved" if row["approved_at"] else "waiting"
    return ErasureOut(**{name: row[name] for name in ErasureOut.model_fields if name != "state"}, state=state)


@router.get("/communities/{community_id}/retention", summary="保存期限 How long what is kept, and why")
async def retention(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMUNITY)]
) -> list[RetentionOut]:
    """Everybody may know it. What is older is let go of within the hour."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        chosen = await kept_days(connection, community_id)
    contacts = context.settings.report_contact_days
    return [*(_retained(one, chosen.get(one.name, one.days)) for one in CLASSES), _contacts(contacts)]


def _retained(one: Retained, days: int) -> RetentionOut:
    return RetentionOut(
        name=one.name,
        label=label(one.label),
        days=days,
        default_days=one.days,
        editable=one.least < one.most,
        basis=label(one.basis),
    )


def _contacts(days: int) -> RetentionOut:
    return RetentionOut(
        name="report_contacts",
        label=LabelOut(zh="上报人的姓名与电话", en="Names and numbers of reporters"),
        days=days,
        default_days=30,
        editable=False,
        basis=LabelOut(zh="工单结束后回访所需", en="to call back after the order has ended"),
    )


@router.put("/communities/{community_id}/retention/{name}", summary="修改保存期限 Change how long")
async def set_retention(
    community_id: str,
    name: str,
    body: RetentionIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PRIVACY)],
) -> RetentionOut:
    """Shorter counts at the next sweep, and what went does not come back."""
    who = ticket.principal
    known = BY_NAME.get(name)
    if known is None:
        raise not_found("class", name)
    if not known.least <= body.days <= known.most:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"须为 {known.least} 到 {known.most} 天 · between {known.least} and {known.most} days",
        )
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        await set_days(connection, community_id, name, body.days, who.id)
        detail = {"class": name, "days": body.days}
        await system.audit(connection, who, community_id, "retention.set", f"community:{community_id}", detail)
    return _retained(known, body.days)
