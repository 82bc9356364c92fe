"""One person (人房): shown with masks, revealed for a purpose, entered, changed, moved out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from services.api.answers.models import Problem
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, OnceKey, answer
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.people import store
from services.api.people.masks import may_see_whole, person_in_reach, person_out
from services.api.people.models import MoveOutIn, NewPersonIn, PersonIn, PersonOut, RevealIn
from services.api.people.store import Q
from services.api.privacy.purposes import required
from services.api.routes.channels import made_id
from services.api.store import system
from services.api.store.database import Connection
from services.api.web.preconditions import etag, expected_version, stale
from services.api.web.problems import ApiError
from services.domain.access import Permission, Principal
from services.domain.people.privacy import Purpose
from services.domain.vocabulary import Role

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["people 人口"], responses=PROBLEMS)
_CHANGED: dict[int | str, dict[str, Any]] = {
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster"},
    428: {"model": Problem, "description": "缺少 If-Match · If-Match is missing"},
}


@router.get("/me/household", summary="我家的人 The people of my own household")
async def my_household(context: Ctx, ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)]) -> list[PersonOut]:
    """Nobody's own but a resident's: for all others it is empty. Of others at home, tags of illness are left out."""
    who = ticket.principal
    if who.household_id is None:
        return []
    async with context.database.read() as connection:
        rows = await store.of_household(connection, who.household_id)
    own = {row["id"] for row in rows if who.id in (row["account_id"], row["guardian_id"])}
    return [person_out(row, whole=True, tags=row["id"] in own) for row in rows]


@router.get("/people/{person_id}", response_model=PersonOut, summary="一个人 One person")
async def person(person_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)]) -> Response:
    """Whole for a grid member of their 网格 (written down as on duty) and for residents at home; masked for the desk
    until it is revealed."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await person_in_reach(connection, who, person_id)
        whole = may_see_whole(who, row)
        if whole and who.role is Role.GRID:
            await _seen(connection, who, row, Purpose.DUTY)
    own = who.role is Role.GRID or who.id in (row["account_id"], row["guardian_id"])
    response = answer(person_out(row, whole=whole, tags=whole and own))
    response.headers.update(etag(row["version"]))
    return response


@router.post("/people/{person_id}/reveal", response_model=PersonOut, summary="显示全部信息 Show all of one person")
async def reveal(
    person_id: str, body: RevealIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PEOPLE)]
) -> Response:
    """For a purpose; who did is written down, and the person can see it."""
    who = ticket.principal
    purpose = required(body.purpose, who)
    async with context.database.write() as connection:
        row = await person_in_reach(connection, who, person_id)
        await _seen(connection, who, row, purpose)
    response = answer(person_out(row, whole=True))
    response.headers.update(etag(row["version"]))
    return response


async def _seen(connection: Connection, who: Principal, row: Row, purpose: Purpose) -> None:
    """Tags of illness and hardship were shown: the person finds it among the reads of their health data."""
    detail = {"purpose": purpose.value, "person": row["id"], "what": "person"}
    await system.audit(connection, who, row["community_id"], "health.reveal", f"person:{row['id']}", detail)


@router.post(
    "/communities/{community_id}/people", status_code=HTTPStatus.CREATED, summary="登记 Enter a person",
    responses={409: {"model": Problem, "description": "编号已被使用 · the id is taken"}},
)  # fmt: skip
async def create(
    community_id: str,
    body: NewPersonIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PEOPLE_EDIT)],
    response: Response,
    key: OnceKey = None,
) -> PersonOut:
    who = ticket.principal
    # Of a key that was used before the same id comes out, and the person is there already.
    person_id = body.id or f"p-{made_id(f'{who.id}|{community_id}|person', key).hex[:20]}"
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        await _check(connection, community_id, body)
        made = await connection.fetchval(Q["insert_person"], person_id, community_id, *_values(body))
        row = await store.person(connection, person_id)
        if row is None or row["community_id"] != community_id or (made is None and body.id is not None):
            raise ApiError(HTTPStatus.CONFLICT, "该编号已被使用，请换一个 · that id is taken; choose another")
        if made is not None:
            await system.audit(connection, who, community_id, "person.create", f"person:{person_id}", {})
    response.headers.update(etag(row["version"]))
    return person_out(row, whole=True)


@router.put("/people/{person_id}", summary="修改 Change a person", responses=_CHANGED)
async def change(
    person_id: str,
    body: PersonIn,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PEOPLE_EDIT)],
    response: Response,
) -> PersonOut:
    """The whole of it; reveal first. Another household: they have moved."""
    who = ticket.principal
    async with context.database.write() as connection:
        before = await person_in_reach(connection, who, person_id)
        await _current(connection, person_id, request)
        await _check(connection, before["community_id"], body)
        await connection.execute(Q["update_person"], person_id, *_values(body))
        row = await person_in_reach(connection, who, person_id)
        fields = sorted(name for name in PersonIn.model_fields if row[name] != before[name])
        if fields:
            subject = f"person:{person_id}"
            await system.audit(connection, who, row["community_id"], "person.change", subject, {"fields": fields})
    response.headers.update(etag(row["version"]))
    return person_out(row, whole=True)


@router.post("/people/{person_id}/move-out", summary="迁出 Move out", responses=_CHANGED)
async def move_out(
    person_id: str,
    body: MoveOutIn,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PEOPLE_EDIT)],
    response: Response,
) -> PersonOut:
    """Out of the household; what they wore is nobody's, and what they consented to ends."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        row = await person_in_reach(connection, who, person_id)
        await _current(connection, person_id, request)
        await connection.execute(Q["withdraw_all"], person_id, now, who.id)
        await connection.execute(Q["unbind_devices"], person_id)
        await connection.execute(Q["move_out"], person_id, now)
        moved = await person_in_reach(connection, who, person_id)
        detail = {"reason": body.reason}
        await system.audit(connection, who, row["community_id"], "person.move_out", f"person:{person_id}", detail)
    log.info("person_moved_out", person=person_id, by=who.id)
    response.headers.update(etag(moved["version"]))
    return person_out(moved, whole=False)


@router.delete(
    "/people/{person_id}", status_code=204, summary="删除误登记 Remove what was entered by mistake",
    responses={**_CHANGED, 409: {"model": Problem, "description": "有关联数据 · something hangs on it"}},
)  # fmt: skip
async def remove(
    person_id: str, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PEOPLE_EDIT)]
) -> None:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await person_in_reach(connection, who, person_id)
        await _current(connection, person_id, request)
        bound = await connection.fetchrow(Q["bound_to"], person_id)
        if any(bound.values()):
            raise ApiError(
                HTTPStatus.CONFLICT,
                f"名下有设备 {bound['devices']}、同意 {bound['consents']}、联系人 {bound['contacts']}，请迁出或抹除 · "
                "devices, consents or contacts hang on this person; move them out, or ask for erasure",
            )
        await connection.execute(Q["delete_person"], person_id)
        await system.audit(connection, who, row["community_id"], "person.remove", f"person:{person_id}", {})


async def _current(connection: Connection, person_id: str, request: Request) -> None:
    """Holds the person. Raises ApiError 412 and 428."""
    version = await store.lock(connection, person_id) or 0
    if expected_version(request) != version:
        raise stale(version, None)


def _values(body: PersonIn) -> tuple[object, ...]:
    return body.household_id, body.name, body.birth_year, body.phone, body.tags, body.account_id, body.guardian_id


async def _check(connection: Connection, community_id: str, body: PersonIn) -> None:
    """That household and accounts are of the community. Raises ApiError 422."""
    if body.household_id is not None and not await connection.fetchval(
        Q["household_there"], community_id, body.household_id
    ):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "本社区没有这个住户 · there is no such household here")
    if body.account_id is not None and body.account_id == body.guardian_id:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "监护人不能是本人的账号 · nobody is their own guardian: choose another account",
        )
    wanted = sorted({one for one in (body.account_id, body.guardian_id) if one})
    if wanted and len(await connection.fetch(Q["accounts_there"], community_id, wanted)) < len(wanted):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "本社区没有这个账号 · there is no such account here")
