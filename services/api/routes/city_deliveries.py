"""What becomes of a subscription's events: its signing keys, tests and replays, the delivery log and dead letters."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Query

from services.adapters.city.reading import Q
from services.adapters.city.signing import new_key
from services.api.answers.models import Problem
from services.api.answers.shapes import Row
from services.api.city import shared as city
from services.api.city.models import (
    CityAttemptOut,
    CityAttemptPage,
    DeadLetterOut,
    DeadLetterPage,
    NewSigningKeyOut,
    ReplayIn,
    SigningKeyIn,
    SigningKeyOut,
    SigningKeys,
    SubscriptionOut,
    TestOut,
)
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit
from services.api.context import Ctx
from services.api.guard import needs
from services.api.identity.auth import Ticket
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.city import Way

router = APIRouter(prefix=f"{PREFIX}/city/subscriptions", tags=["city 城市平台"], responses=PROBLEMS)

Editor = Annotated[Ticket, needs(Permission.CITY_EDIT)]
Listener = Annotated[Ticket, needs(Permission.CITY_EVENTS)]
_BUSY: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "现在不行 · not now"}}


@router.get("/{subscription_id}/keys", summary="签名密钥 Its signing keys, newest first; never a secret")
async def keys(subscription_id: UUID, context: Ctx, ticket: Listener) -> SigningKeys:
    async with context.database.read() as connection:
        await city.one(connection, ticket, subscription_id)
        rows = await connection.fetch(Q["keys"], subscription_id)
    return SigningKeys(items=[SigningKeyOut(**dict(row)) for row in rows])


@router.post(
    "/{subscription_id}/keys", status_code=201, summary="新建或轮换签名密钥 A new key beside or after the others"
)
async def make_key(subscription_id: UUID, body: SigningKeyIn, context: Ctx, ticket: Editor) -> NewSigningKeyOut:
    """While several keys are in force every event is signed by each of them. If the answer is lost, make another."""
    who, id, now = ticket.principal, uuid4(), context.clock.now()
    signing = new_key(body.sort)
    async with context.database.write() as connection:
        row = await city.one(connection, ticket, subscription_id)
        await connection.fetchval(Q["lock"], subscription_id)
        await connection.execute(
            Q["insert_key"], id, subscription_id, signing.sort, signing.secret, signing.public, who.id
        )
        if body.overlap_s is not None:
            ends = now + timedelta(seconds=body.overlap_s)
            await connection.execute(Q["end_other_keys"], subscription_id, id, ends)
        made = next(one for one in await connection.fetch(Q["keys"], subscription_id) if one["id"] == id)
        detail = {"key": str(id), "sort": body.sort, "overlap_s": body.overlap_s}
        await city.audit(connection, who, row, "city.key", detail)
    return NewSigningKeyOut(key=SigningKeyOut(**dict(made)), secret=signing.secret if signing.sort == "hmac" else None)


@router.post("/{subscription_id}/keys/{signing_key_id}/end", summary="停用签名密钥 Sign by it no more")
async def end_key(subscription_id: UUID, signing_key_id: UUID, context: Ctx, ticket: Editor) -> SigningKeys:
    """Again changes nothing. Without any key nothing is sent."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await city.one(connection, ticket, subscription_id)
        before = await connection.fetch(Q["keys"], subscription_id)
        if not any(one["id"] == signing_key_id for one in before):
            raise not_found("key", signing_key_id)
        ended = await connection.execute(Q["end_key"], subscription_id, signing_key_id, context.clock.now())
        if ended == "UPDATE 1":
            await city.audit(connection, who, row, "city.key_end", {"key": str(signing_key_id)})
        rows = await connection.fetch(Q["keys"], subscription_id)
    return SigningKeys(items=[SigningKeyOut(**dict(one)) for one in rows])


# -- what came of it -----------------------------------------------------------------------------------------------


@router.post("/{subscription_id}/test", status_code=202, summary="测试 Send a test event", responses=_BUSY)
async def test(subscription_id: UUID, context: Ctx, ticket: Listener) -> TestOut:
    """Sent by the way the events go, also while it is paused; marked `Test`. The delivery log says what came of it."""
    async with context.database.write() as connection:
        row = await city.one(connection, ticket, subscription_id)
        _delivered(row)
        id = uuid4()
        await connection.execute(Q["ask_test"], subscription_id, id, context.clock.now())
        await city.audit(connection, ticket.principal, row, "city.test", {"test": str(id)})
    return TestOut(test_id=id)


@router.post("/{subscription_id}/replay", status_code=202, summary="重放 Send a range again", responses=_BUSY)
async def replay(subscription_id: UUID, body: ReplayIn, context: Ctx, ticket: Listener) -> SubscriptionOut:
    """With the same ids, before anything new, in order. One range at a time; of what has been passed already."""
    async with context.database.write() as connection:
        row = await city.one(connection, ticket, subscription_id)
        _delivered(row)
        asked = await connection.execute(Q["ask_replay"], subscription_id, body.first, body.last, context.clock.now())
        if asked != "UPDATE 1":
            raise ApiError(
                HTTPStatus.CONFLICT,
                f"正在重放，或范围超出已处理的 {row['seq']} · a replay is under way, or the range ends beyond "
                f"{row['seq']}, up to which events were dealt with",
            )
        await city.audit(connection, ticket.principal, row, "city.replay", {"first": body.first, "last": body.last})
        row = await city.one(connection, ticket, subscription_id)
    return city.shape(row)


def _delivered(row: Row) -> None:
    if Way(row["way"]) is Way.PULL:
        raise ApiError(
            HTTPStatus.CONFLICT,
            "该订阅由平台自行拉取，请用游标 · this one is pulled: ask for events with an earlier cursor instead",
        )


@router.get("/{subscription_id}/attempts", summary="投递日志 Its delivery log, newest first")
async def attempts(
    subscription_id: UUID,
    context: Ctx,
    ticket: Listener,
    ok: Annotated[bool | None, Query(description="taken, or not")] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> CityAttemptPage:
    async with context.database.read() as connection:
        await city.one(connection, ticket, subscription_id)
        rows = await connection.fetch(Q["attempts"], subscription_id, _number(after), ok, limit + 1)
    return CityAttemptPage(items=[CityAttemptOut(**dict(row)) for row in rows[:limit]], next=_next(rows, limit))


@router.get("/{subscription_id}/dead-letters", summary="死信 What was given up, newest first")
async def dead_letters(
    subscription_id: UUID,
    context: Ctx,
    ticket: Listener,
    all_of_them: Annotated[bool, Query(alias="all", description="those that were replayed as well")] = False,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> DeadLetterPage:
    """Send them again with `replay`, as long as the outbox holds them."""
    async with context.database.read() as connection:
        await city.one(connection, ticket, subscription_id)
        rows = await connection.fetch(Q["dead_letters"], subscription_id, _number(after), all_of_them, limit + 1)
    return DeadLetterPage(items=[DeadLetterOut(**dict(row)) for row in rows[:limit]], next=_next(rows, limit))


def _number(text: str | None) -> int | None:
    key = cursor.decode(text, 1)
    if key is None:
        return None
    if not key[0].isascii() or not key[0].isdigit() or len(key[0]) > 18:
        raise cursor.refused()
    return int(key[0])


def _next(rows: list[Row], limit: int) -> str | None:
    return cursor.encode(rows[limit - 1]["id"]) if len(rows) > limit else None
