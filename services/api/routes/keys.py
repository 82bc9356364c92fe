"""Accounts of platforms and services (服务账号), their API keys and their OAuth2 clients."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Path, Query

from services.api.access.credentials import hashed, key_text, new_id, new_secret
from services.api.access.models import (
    KeyIn,
    KeyOut,
    KeyPage,
    NewKeyOut,
    Rotation,
    ServiceIn,
    ServiceOut,
    ServicePage,
)
from services.api.answers.models import Problem
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, State
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store import access, system
from services.api.store.access import NewKey, Reach, Row
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import PERMISSIONS, Permission, Principal
from services.domain.vocabulary import Role

router = APIRouter(prefix=PREFIX, tags=["keys 密钥"], responses=PROBLEMS)

CLIENT = "lhc_"
_OVER: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "已失效 · it has ended already"}}
KeyId = Annotated[str, Path(pattern=r"^[a-z0-9]{12}$")]
ServiceId = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$")]


def reach_of(who: Principal) -> Reach:
    """Raises ApiError 403 for an account that is bound to nothing and is not of the whole city."""
    if who.community_id is None and who.street_id is None and who.role is not Role.ADMIN:
        raise ApiError(HTTPStatus.FORBIDDEN, "您的账号没有范围 · your account is bound to nothing")
    return Reach(who.community_id, None if who.community_id else who.street_id)


def _text_key(text: str | None) -> tuple[datetime, str] | None:
    key = cursor.decode(text, 2)
    if key is None:
        return None
    try:
        at = datetime.fromisoformat(key[0])
    except ValueError:
        raise cursor.refused() from None
    if at.tzinfo is None or "\0" in key[1]:
        raise cursor.refused()
    return at, key[1]


def _next(rows: list[Row], limit: int) -> str | None:
    return (
        cursor.encode(rows[limit - 1]["created_at"].isoformat(), rows[limit - 1]["id"]) if len(rows) > limit else None
    )


def _key(row: Row) -> KeyOut:
    status = (
        "revoked"
        if row["revoked_at"] is not None
        else "expired"
        if row["expires_at"] <= datetime.now(UTC)
        else "disabled"
        if row["disabled"]
        else "alive"
    )
    return KeyOut(**{name: row[name] for name in KeyOut.model_fields if name != "status"}, status=status)


async def _service(connection: Connection, who: Principal, id: str) -> Row:
    rows = await access.services(connection, reach_of(who), id=id, after=None, limit=1)
    if not rows:
        raise not_found("account", id)
    return rows[0]


async def _one(connection: Connection, who: Principal, id: str) -> Row:
    rows = await access.keys(connection, reach_of(who), id=id)
    if not rows:
        raise not_found("key", id)
    return rows[0]


@router.post("/service-accounts", summary="新建服务账号 Make an account for a platform or service", status_code=201)
async def make_service(body: ServiceIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.KEYS)]) -> ServiceOut:
    """Comes in by key or client alone. The maker has every permission of its role; its scope lies within theirs."""
    who = ticket.principal
    reach = reach_of(who)
    if body.community_id is not None and body.street_id is not None:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "社区与街道只能选一个 · name a community or a street, not both")
    if not all(ticket.may(one) for one in PERMISSIONS[body.role]):
        raise ApiError(HTTPStatus.FORBIDDEN, "不能授予超出自己权限的角色 · that role may more than you may")
    async with context.database.write() as connection:
        community, street = body.community_id, body.street_id
        if community is None and street is None:
            community, street = reach.community_id, reach.street_id
        elif community is not None:
            await community_in_scope(connection, who, community)
        elif (
            reach.community_id is not None
            or reach.street_id not in (None, street)
            or not await access.street_is_there(connection, str(street))
        ):
            raise not_found("street", street)
        id = f"service-{uuid4().hex[:16]}"
        await access.insert_service(connection, id, body.name, body.role.value, community, street)
        row = await _service(connection, who, id)
        detail = {"name": body.name, "role": body.role.value, "street": street}
        await system.audit(connection, who, community, "service.create", f"user:{id}", detail)
    return ServiceOut(**row)


@router.get("/service-accounts", summary="服务账号 Accounts of platforms and services, newest first")
async def services(
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.KEYS)],
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> ServicePage:
    async with context.database.read() as connection:
        rows = await access.services(connection, reach_of(ticket.principal), after=_text_key(after), limit=limit + 1)
    return ServicePage(items=[ServiceOut(**row) for row in rows[:limit]], next=_next(rows, limit))


@router.post("/service-accounts/{account_id}/disable", summary="停用服务账号 Shut an account with all its keys")
async def disable(account_id: ServiceId, context: Ctx, ticket: Annotated[Ticket, needs(Permission.KEYS)]) -> ServiceOut:
    """Its requests and live streams end at once. Again changes nothing."""
    return await _switch(context, ticket, account_id, disabled=True)


@router.post("/service-accounts/{account_id}/enable", summary="启用服务账号 Open it again")
async def enable(account_id: ServiceId, context: Ctx, ticket: Annotated[Ticket, needs(Permission.KEYS)]) -> ServiceOut:
    return await _switch(context, ticket, account_id, disabled=False)


async def _switch(context: Ctx, ticket: Ticket, id: str, *, disabled: bool) -> ServiceOut:
    who = ticket.principal
    async with context.database.write() as connection:
        before = await _service(connection, who, id)
        if not all(ticket.may(one) for one in PERMISSIONS[Role(before["role"])]):
            raise ApiError(HTTPStatus.FORBIDDEN, "该账号的权限超出您的 · that account may more than you may")
        if before["disabled"] != disabled:
            await access.switch_service(connection, id, disabled=disabled)
            action = "service.disable" if disabled else "service.enable"
            await system.audit(connection, who, before["community_id"], action, f"user:{id}", {})
        row = await _service(connection, who, id)
    context.credentials.forget(f"user:{id}")
    return ServiceOut(**row)


@router.post("/service-accounts/{account_id}/keys", summary="新建密钥 Make a key or a client", status_code=201)
async def make_key(
    account_id: ServiceId, body: KeyIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.KEYS)]
) -> NewKeyOut:
    """The secret is in this answer and nowhere else. If the answer is lost, revoke the key and make another."""
    who, scopes = ticket.principal, sorted({one.value for one in body.scopes})
    async with context.database.write() as connection:
        account = await _service(connection, who, account_id)
        _check_scopes(ticket, Role(account["role"]), body.scopes)
        new, secret = (
            NewKey(
                id=new_id(),
                user_id=account_id,
                community_id=account["community_id"],
                sort=body.sort,
                name=body.name,
                secret_hash=b"",
                scopes=scopes,
                addresses=body.addresses,
                per_minute=body.per_minute or context.settings.key_per_minute,
                created_by=who.id,
                expires_at=context.clock.now() + timedelta(days=body.days),
            ),
            new_secret(),
        )
        return await _made(connection, who, new, secret, "key.create")


def _check_scopes(ticket: Ticket, role: Role, scopes: list[Permission]) -> None:
    """Raises ApiError 422 with what the account's role lacks, 403 with what the maker lacks."""
    lacks = sorted(one.value for one in scopes if one not in PERMISSIONS[role])
    if lacks:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"该账号的角色没有这些权限：{', '.join(lacks)} · the account's role may not: {', '.join(lacks)}",
        )
    beyond = sorted(one.value for one in scopes if not ticket.may(one))
    if beyond:
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            f"不能授予自己没有的权限：{', '.join(beyond)} · you cannot grant what you may not: {', '.join(beyond)}",
        )


async def _made(connection: Connection, who: Principal, key: NewKey, secret: str, action: str) -> NewKeyOut:
    await access.insert_key(connection, replace(key, secret_hash=hashed(secret)))
    row = await _one(connection, who, key.id)
    detail = {
        "account": key.user_id,
        "sort": key.sort,
        "scopes": list(key.scopes),
        "addresses": list(row["addresses"]),
        "expires_at": key.expires_at.isoformat(),
        "rotated_from": key.rotated_from,
    }
    await system.audit(connection, who, key.community_id, action, f"key:{key.id}", detail)
    if key.sort == "client":
        return NewKeyOut(key=_key(row), secret=secret, client_id=CLIENT + key.id)
    return NewKeyOut(key=_key(row), secret=key_text(key.id, secret))


@router.get("/keys", summary="密钥列表 Keys and clients, newest first; never a secret")
async def keys(
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.KEYS)],
    account: Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")] = None,
    state: State = "open",
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> KeyPage:
    async with context.database.read() as connection:
        rows = await access.keys(
            connection,
            reach_of(ticket.principal),
            user_id=account,
            ended=state == "all",
            after=_text_key(after),
            limit=limit + 1,
        )
    return KeyPage(items=[_key(row) for row in rows[:limit]], next=_next(rows, limit))


@router.post("/keys/{key_id}/rotate", summary="轮换密钥 A new one beside it", status_code=201, responses=_OVER)
async def rotate(
    key_id: KeyId, body: Rotation, context: Ctx, ticket: Annotated[Ticket, needs(Permission.KEYS)]
) -> NewKeyOut:
    """The same account, scopes, addresses and lifetime; the old one works until the overlap is over."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        old = await _one(connection, who, key_id)
        await access.lock_key(connection, key_id)
        old = await _one(connection, who, key_id)
        if old["revoked_at"] is not None or old["expires_at"] <= now:
            raise ApiError(HTTPStatus.CONFLICT, "该密钥已失效，请新建一个 · that key has ended; make a new one")
        _check_scopes(ticket, Role(old["role"]), [Permission(one) for one in old["scopes"]])
        new = NewKey(
            id=new_id(),
            user_id=old["user_id"],
            community_id=old["community_id"],
            sort=old["sort"],
            name=old["name"],
            secret_hash=b"",
            scopes=old["scopes"],
            addresses=old["addresses"],
            per_minute=old["per_minute"],
            created_by=who.id,
            expires_at=now + (old["expires_at"] - old["created_at"]),
            rotated_from=key_id,
        )
        await access.shorten_key(connection, key_id, now + timedelta(seconds=body.overlap_s))
        made = await _made(connection, who, new, new_secret(), "key.rotate")
    context.credentials.forget(f"key:{key_id}")
    return made


@router.post("/keys/{key_id}/revoke", summary="撤销密钥 End a key at once, its live streams too")
async def revoke(key_id: KeyId, context: Ctx, ticket: Annotated[Ticket, needs(Permission.KEYS)]) -> KeyOut:
    """Again changes nothing."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _one(connection, who, key_id)
        if await access.revoke_key(connection, key_id, row["user_id"], who.id):
            await system.audit(connection, who, row["community_id"], "key.revoke", f"key:{key_id}", {})
        row = await _one(connection, who, key_id)
    context.credentials.forget(f"key:{key_id}")
    return _key(row)
