"""Emergency contacts (紧急联系人) of residents: whom to call where the family has no account here."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter

from services.adapters.notices import book
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, OnceKey
from services.api.context import Ctx
from services.api.guard import in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders.notice_models import ContactIn, ContactOut
from services.api.routes.channels import made_id
from services.api.routes.households import own_household
from services.api.store import holding, system
from services.api.store.database import Connection
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.notices import ChannelSort, parse_address

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["households 家庭"], responses=PROBLEMS)


async def _person(connection: Connection, who: Principal, person_id: str) -> Row:
    row = await in_scope(connection, who, await holding.person(connection, person_id), "person", person_id)
    own_household(who, row, "person", person_id)
    return row


def _out(row: Row) -> ContactOut:
    return ContactOut(**{name: row[name] for name in ContactOut.model_fields})


@router.get("/people/{person_id}/contacts", summary="紧急联系人 Emergency contacts, in the order they are told")
async def contacts(
    person_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)]
) -> list[ContactOut]:
    async with context.database.read() as connection:
        await _person(connection, ticket.principal, person_id)
        return [_out(row) for row in await book.contacts(connection, person_id)]


@router.post("/people/{person_id}/contacts", summary="添加紧急联系人 Add one")
async def add(
    person_id: str,
    body: ContactIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)],
    key: OnceKey = None,
) -> ContactOut:
    who, now = ticket.principal, context.clock.now()
    contact_id = made_id(f"{who.id}|{person_id}", key)
    phone = parse_address(ChannelSort.SMS, body.phone)
    if not isinstance(phone, str):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{phone.zh} · {phone.en}")
    async with context.database.write() as connection:
        person = await _person(connection, who, person_id)
        known = await book.contacts(connection, person_id)
        if len(known) >= book.MOST_CONTACTS and all(row["id"] != contact_id for row in known):
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"最多 {book.MOST_CONTACTS} 位 · at most {book.MOST_CONTACTS} contacts a person",
            )
        made = await book.add_contact(
            connection, contact_id, person, body.name, body.relation, phone, body.position, body.language, who.id, now
        )
        row = next(row for row in await book.contacts(connection, person_id) if row["id"] == contact_id)
        if made:
            subject = f"person:{person_id}"
            await system.audit(connection, who, person["community_id"], "contact.add", subject, {"id": str(contact_id)})
    return _out(row)


@router.delete("/contacts/{contact_id}", status_code=204, summary="删除紧急联系人 Remove one")
async def remove(contact_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)]) -> None:
    who = ticket.principal
    async with context.database.write() as connection:
        contact = await book.contact_of(connection, contact_id)
        if contact is None:
            raise not_found("contact", contact_id)
        try:
            await _person(connection, who, contact["person_id"])
        except ApiError:
            raise not_found("contact", contact_id) from None
        await book.delete_contact(connection, contact_id)
        subject = f"person:{contact['person_id']}"
        await system.audit(connection, who, contact["community_id"], "contact.remove", subject, {"id": str(contact_id)})
