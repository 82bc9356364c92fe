"""Consents to health data: given, withdrawn, in force at once; emergency access beside them, and who looked."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Query
from starlette.responses import Response

from services.adapters.outbox import Outgoing, append
from services.api.answers.models import LabelOut
from services.api.answers.shapes import Row, label
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, answer, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.people import store
from services.api.people.masks import OUTSIDERS, consent_out, is_own, person_in_reach
from services.api.people.models import (
    ConsentIn,
    ConsentOut,
    EmergencyIn,
    EmergencyOut,
    EmergencyPage,
    HealthReadOut,
    HealthReadPage,
)
from services.api.people.store import Q
from services.api.routes.channels import made_id
from services.api.store import system
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.people.privacy import PURPOSES, Purpose

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["privacy 隐私"], responses=PROBLEMS)
_BACKDATED = timedelta(days=3650)


def _own_or_staff(who: Principal, row: Row) -> None:
    """Residents decide for themselves and for whom they are guardian; staff enters what was signed. Raises 403."""
    if who.role in OUTSIDERS and not is_own(who, row):
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            "只有本人或监护人可以决定，请联系社区登记监护关系 · "
            "only the person or their guardian decides; the community can enter who the guardian is",
        )


@router.get("/people/{person_id}/consents", summary="同意记录 Consents, newest first")
async def consents(
    person_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)]
) -> list[ConsentOut]:
    who = ticket.principal
    async with context.database.read() as connection:
        row = await person_in_reach(connection, who, person_id)
        _own_or_staff(who, row)
        return [consent_out(one) for one in await store.consents(connection, person_id)]


@router.post("/people/{person_id}/consents", status_code=HTTPStatus.CREATED, summary="登记同意 Record a consent")
async def give(
    person_id: str,
    body: ConsentIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)],
    key: OnceKey = None,
) -> ConsentOut:
    """In force at once. What somebody gives in the app is their own; staff enters what was signed on paper."""
    who, now = ticket.principal, context.clock.now()
    consent_id = made_id(f"{who.id}|{person_id}|consent", key)
    starts = body.from_ or now
    if (body.until is not None and body.until <= max(starts, now)) or starts < now - _BACKDATED:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "起止时间不对 · it would be over already, or begin too long ago"
        )
    async with context.database.write() as connection:
        row = await person_in_reach(connection, who, person_id)
        _own_or_staff(who, row)
        _said_rightly(who, row, body)
        made = await connection.fetchval(
            Q["insert_consent"], consent_id, row["community_id"], person_id, body.what.value, body.given_by,
            body.giver, body.how, starts, body.until, body.note, who.id,
        )  # fmt: skip
        shown = await store.consent(connection, consent_id)
        if shown is None or shown["person_id"] != person_id:
            raise not_found("person", person_id)
        if made is not None:
            detail = {"what": body.what.value, "given_by": body.given_by, "how": body.how, "id": str(consent_id)}
            await _told(connection, who, row, "consent.give", detail)
    context.gallery.consents_changed(row["community_id"])
    log.info("consent_given", person=person_id, what=body.what.value, by=who.id)
    return consent_out(shown)


def _said_rightly(who: Principal, row: Row, body: ConsentIn) -> None:
    if who.role in OUTSIDERS:
        if body.how != "app" or body.given_by != ("self" if who.id == row["account_id"] else "guardian"):
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "本人请用 how=app、given_by=self；监护人用 given_by=guardian · "
                "of your own: how=app and given_by=self; as a guardian: given_by=guardian",
            )
    elif body.how != "paper" or (body.given_by == "guardian" and not body.giver.strip()):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "代为登记须凭纸质签字（how=paper），监护人签的请写姓名 · what you enter for somebody was signed on paper "
            "(how=paper); name the guardian where one signed",
        )


@router.post("/consents/{consent_id}/withdraw", summary="撤回同意 Withdraw a consent")
async def withdraw(
    consent_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)]
) -> ConsentOut:
    """At once: what is open on a screen goes from it within a second or two. Doing it again changes nothing."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        found = await in_scope(connection, who, await store.consent(connection, consent_id), "consent", consent_id)
        try:
            row = await person_in_reach(connection, who, found["person_id"])
        except ApiError:
            raise not_found("consent", consent_id) from None
        _own_or_staff(who, row)
        if (await connection.execute(Q["withdraw_consent"], consent_id, now, who.id)).endswith(" 1"):
            await _told(connection, who, row, "consent.withdraw", {"what": found["what"], "id": str(consent_id)})
        shown = await store.consent(connection, consent_id)
    context.gallery.consents_changed(found["community_id"])
    if shown is None:
        raise not_found("consent", consent_id)
    log.info("consent_withdrawn", person=found["person_id"], what=found["what"], by=who.id)
    return consent_out(shown)


async def _told(connection: Connection, who: Principal, row: Row, action: str, detail: dict[str, str]) -> None:
    """Into the audit, and to whoever has the person's open alerts on a screen; audit before outbox."""
    await system.audit(connection, who, row["community_id"], action, f"person:{row['id']}", detail)
    leaving = []
    for one in await connection.fetch(Q["open_things"], row["id"]):
        data = {"id": str(one["alert_id"])} | ({"order_id": str(one["order_id"])} if one["order_id"] else {})
        leaving.append(Outgoing("alert.consent", row["community_id"], str(one["alert_id"]), "", data))
    await append(connection, leaving)


@router.post(
    "/people/{person_id}/emergency-access",
    status_code=HTTPStatus.CREATED,
    summary="紧急访问 Look without a consent, where a life is at stake",
)
async def emergency(
    person_id: str,
    body: EmergencyIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.HEALTH)],
    key: OnceKey = None,
) -> EmergencyOut:
    """Opens this person's health data to whoever asked, with the purpose `emergency`, for a while. It is shown to the
    person, their guardian and the administrator, with its reason."""
    who, now = ticket.principal, context.clock.now()
    access_id = made_id(f"{who.id}|{person_id}|emergency", key)
    async with context.database.write() as connection:
        row = await person_in_reach(connection, who, person_id)
        until = now + timedelta(minutes=body.minutes)
        await connection.execute(
            Q["insert_emergency"], access_id, row["community_id"], person_id, who.id, who.role.value, body.reason,
            now, until,
        )  # fmt: skip
        found = await connection.fetchrow(Q["emergency_by_id"], access_id)
        if found is None or found["person_id"] != person_id:
            raise not_found("person", person_id)
        detail = {"purpose": Purpose.EMERGENCY.value, "person": person_id, "what": "access", "id": str(access_id)}
        await system.audit(connection, who, row["community_id"], "health.emergency", f"person:{person_id}", detail)
    log.warning("emergency_access", person=person_id, by=who.id, minutes=body.minutes)
    return EmergencyOut(**{name: found[name] for name in EmergencyOut.model_fields})


@router.get(
    "/communities/{community_id}/emergency-access",
    response_model=EmergencyPage,
    summary="紧急访问记录 Emergency access",
)
async def emergencies(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PRIVACY)],
    person_id: Annotated[str | None, Query(max_length=128)] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    """Newest first."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await store.emergencies(connection, community_id, person_id, time_and_id(after), limit + 1)
    page = rows[:limit]
    more = cursor.encode(page[-1]["at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    items = [EmergencyOut(**{name: row[name] for name in EmergencyOut.model_fields}) for row in page]
    return answer(EmergencyPage(items=items, next=more))


@router.get(
    "/people/{person_id}/health-reads", response_model=HealthReadPage, summary="谁看过我的健康数据 Who looked at it"
)
async def health_reads(
    person_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)],
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    """For the person, their guardian, and the desk. Newest first, from the audit that nobody can edit."""
    who, key = ticket.principal, cursor.decode(after, 1)
    if key is not None and not (key[0].isascii() and key[0].isdigit() and len(key[0]) < 19):
        raise cursor.refused()
    async with context.database.read() as connection:
        row = await person_in_reach(connection, who, person_id)
        _own_or_staff(who, row)
        before = int(key[0]) if key else None
        rows = await store.health_reads(connection, row["community_id"], person_id, before, limit + 1)
        watching = await store.watched_by(connection, row["community_id"], context.clock.now())
    page = rows[:limit]
    more = cursor.encode(page[-1]["id"]) if len(rows) > limit else None
    return answer(HealthReadPage(items=[_read(row) for row in page], next=more, watched_by=watching))


def _read(row: Row) -> HealthReadOut:
    detail = row["detail"]
    asked = str(detail.get("purpose", ""))
    words = label(PURPOSES[Purpose(asked)]) if asked in set(Purpose) else LabelOut(zh=asked, en=asked)
    what = str(detail.get("metric") or detail.get("what") or detail.get("rule") or "device")
    return HealthReadOut(at=row["at"], by=row["by"], role=row["role"], purpose=asked, label=words, what=what)
