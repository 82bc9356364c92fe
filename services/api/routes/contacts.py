"""Emergency contacts (紧急联系人) of residents: whom to call where the family has no account here."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Request, Response

from services.adapters.notices import book
from services.api.answers.models import Problem
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, OnceKey
from services.api.context import Ctx
from services.api.guard import needs
from services.api.identity.auth import Ticket
from services.api.people.contact_models import ContactChangeIn, ContactIn, ContactOrderIn, ContactOut
from services.api.people.contacts import check_number, contact_out, row_of, seen, tag, telephone
from services.api.people.masks import person_in_reach
from services.api.people.models import RevealIn
from services.api.privacy.purposes import required
from services.api.routes.channels import made_id
from services.api.store import system
from services.api.store.database import Connection
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["households 家庭"], responses=PROBLEMS)
Household = Annotated[Ticket, needs(Permission.HOUSEHOLD)]
_CHANGED: dict[int | str, dict[str, Any]] = {
    412: {
        "model": Problem,
        "description": "他人已先修改；ETag 是整份联系人的 · somebody was faster; of the whole list",
    },
    428: {"model": Problem, "description": "缺少 If-Match · If-Match is missing"},
}


@router.get(
    "/people/{person_id}/contacts", summary="紧急联系人 Emergency contacts, in the order they are called; masked"
)
async def contacts(person_id: str, context: Ctx, ticket: Household, response: Response) -> list[ContactOut]:
    """`ETag` is of the whole list, its order included: send it as `If-Match` with every change of it."""
    who = ticket.principal
    async with context.database.read() as connection:
        person = await person_in_reach(connection, who, person_id)
        rows = await book.contacts(connection, person_id)
    response.headers.update(tag(rows, context.settings.keys[0]))
    return [contact_out(row, who, person) for row in rows]


@router.post("/people/{person_id}/contacts/reveal", summary="显示联系人全部信息 Show them whole")
async def reveal(
    person_id: str,
    body: RevealIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PEOPLE)],
    response: Response,
) -> list[ContactOut]:
    """For a purpose; who did is written down, and the person can see it."""
    who = ticket.principal
    purpose = required(body.purpose, who)
    async with context.database.write() as connection:
        person = await person_in_reach(connection, who, person_id)
        rows = await book.contacts(connection, person_id)
        detail = {"purpose": purpose.value, "person": person_id, "what": "contacts"}
        await system.audit(connection, who, person["community_id"], "health.reveal", f"person:{person_id}", detail)
    response.headers.update(tag(rows, context.settings.keys[0]))
    return [contact_out(row, who, person, whole=True) for row in rows]


@router.post("/people/{person_id}/contacts", summary="添加紧急联系人 Add one")
async def add(
    person_id: str, body: ContactIn, context: Ctx, ticket: Household, response: Response, key: OnceKey = None
) -> ContactOut:
    who, now = ticket.principal, context.clock.now()
    contact_id = made_id(f"{who.id}|{person_id}", key)
    phone = telephone(body.phone)
    async with context.database.write() as connection:
        person = await person_in_reach(connection, who, person_id)
        await book.hold_contacts(connection, person_id)
        known = await book.contacts(connection, person_id)
        if row_of(known, contact_id) is None:
            if len(known) >= book.MOST_CONTACTS:
                raise ApiError(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    f"最多 {book.MOST_CONTACTS} 位 · at most {book.MOST_CONTACTS} contacts a person",
                )
            check_number(phone, person, known)
        made = await book.add_contact(
            connection, contact_id, person, body.name, body.relation, phone, body.position, body.language, who.id, now
        )
        rows = await book.contacts(connection, person_id)
        row = row_of(rows, contact_id)
        if row is None:
            raise not_found("person", person_id)
        if made:
            await _told(connection, who, person, "contact.add", {"id": str(contact_id)})
    response.headers.update(tag(rows, context.settings.keys[0]))
    return contact_out(row, who, person)


@router.put("/people/{person_id}/contacts/order", summary="拨打顺序 In which order they are called", responses=_CHANGED)
async def order(
    person_id: str, body: ContactOrderIn, request: Request, context: Ctx, ticket: Household, response: Response
) -> list[ContactOut]:
    """All of them, each once: whoever stands first is called first. A call for help tells all of them at once."""
    who, secret = ticket.principal, context.settings.keys[0]
    async with context.database.write() as connection:
        person = await person_in_reach(connection, who, person_id)
        before = await seen(connection, person_id, request, secret)
        if {row["id"] for row in before} != set(body.ids):
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "须列出此人的全部联系人 · name all contacts of this person, and nobody else",
            )
        await book.order_contacts(connection, person_id, body.ids)
        if [row["id"] for row in before] != body.ids:
            await _told(connection, who, person, "contact.order", {"ids": [str(one) for one in body.ids]})
        rows = await book.contacts(connection, person_id)
    response.headers.update(tag(rows, secret))
    return [contact_out(row, who, person) for row in rows]


@router.put("/contacts/{contact_id}", summary="修改紧急联系人 Change one", responses=_CHANGED)
async def change(
    contact_id: UUID, body: ContactChangeIn, request: Request, context: Ctx, ticket: Household, response: Response
) -> ContactOut:
    """Without `phone` the number stays, so that nobody has to be shown it to mend a name."""
    who, secret = ticket.principal, context.settings.keys[0]
    phone = None if body.phone is None else telephone(body.phone)
    async with context.database.write() as connection:
        person = await _person_of(connection, who, contact_id)
        before = await seen(connection, person["id"], request, secret)
        was = row_of(before, contact_id)
        if was is None:
            raise not_found("contact", contact_id)
        if phone is not None:
            check_number(phone, person, [row for row in before if row["id"] != contact_id])
        fields = [name for name in ("name", "relation", "language") if was[name] != getattr(body, name)]
        fields += ["phone"] if phone is not None and phone.number != was["address"] else []
        if fields:
            new_phone = phone if "phone" in fields else None
            await book.set_contact(
                connection, contact_id, body.name, body.relation, new_phone, body.language, context.clock.now()
            )
            await _told(connection, who, person, "contact.change", {"id": str(contact_id), "fields": fields})
        rows = await book.contacts(connection, person["id"])
    response.headers.update(tag(rows, secret))
    return next(contact_out(row, who, person) for row in rows if row["id"] == contact_id)


@router.delete("/contacts/{contact_id}", status_code=204, summary="删除紧急联系人 Remove one", responses=_CHANGED)
async def remove(contact_id: UUID, request: Request, context: Ctx, ticket: Household, response: Response) -> None:
    who, secret = ticket.principal, context.settings.keys[0]
    async with context.database.write() as connection:
        person = await _person_of(connection, who, contact_id)
        before = await seen(connection, person["id"], request, secret)
        await book.delete_contact(connection, contact_id)
        await _told(connection, who, person, "contact.remove", {"id": str(contact_id)})
    response.headers.update(tag([row for row in before if row["id"] != contact_id], secret))


async def _person_of(connection: Connection, who: Principal, contact_id: UUID) -> Row:
    """Whose contact it is. Raises ApiError 404 alike where there is none and where it is out of reach."""
    contact = await book.contact_of(connection, contact_id)
    if contact is None:
        raise not_found("contact", contact_id)
    try:
        return await person_in_reach(connection, who, contact["person_id"])
    except ApiError:
        raise not_found("contact", contact_id) from None


async def _told(connection: Connection, who: Principal, person: Row, action: str, detail: dict[str, Any]) -> None:
    """Ids and names of fields alone: what was written stands in the contact, where it can be erased."""
    await system.audit(connection, who, person["community_id"], action, f"person:{person['id']}", detail)
    log.info(action.replace(".", "_"), person=person["id"], by=who.id)
