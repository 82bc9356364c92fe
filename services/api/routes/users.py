"""Accounts, as those who may administer them see and change them; every change is audited, secrets never."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Query, Request, Response

from services.api.answers.models import Problem
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, once
from services.api.context import Context, Ctx
from services.api.guard import needs
from services.api.identity import accounts, store
from services.api.identity.accounts import Row, account_out
from services.api.identity.auth import Ticket
from services.api.identity.models import (
    AccountIn,
    AccountNew,
    AccountOut,
    AccountPage,
    AccountSearchIn,
    AccountState,
    ExternalIdentityIn,
    OneTimeOut,
    SessionPage,
    SessionsEndedOut,
    WhyIn,
)
from services.api.routes.sessions import page_of
from services.api.store import system
from services.api.store.database import Connection
from services.api.web import cursor as cursors
from services.api.web.preconditions import etag, expected_version
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.vocabulary import Role

router = APIRouter(prefix=f"{PREFIX}/users", tags=["users 账号"], responses=PROBLEMS)
Administrator = Annotated[Ticket, needs(Permission.USERS)]
Helper = Annotated[Ticket, needs(Permission.USERS_HELP)]
_CHANGED: dict[int | str, dict[str, Any]] = {
    409: {
        "model": Problem,
        "description": "最后一个管理员，或用户名已用 · the last administrator, or a taken name",
    },
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster; `current` is how it is now"},
    428: {"model": Problem, "description": "缺少 If-Match · name the version you have seen"},
}


@router.get("", summary="账号列表 Accounts")
async def list_accounts(
    request: Request,
    context: Ctx,
    ticket: Helper,
    community_id: Annotated[str | None, Query(max_length=64)] = None,
    role: Role | None = None,
    state: AccountState = "all",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> AccountPage:
    """To look for somebody by name, `POST /users/search`: an address is kept by proxies, a body is not."""
    if "q" in request.query_params:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "姓名不能写在网址里，请用 POST /users/search · names do not belong into an address; send them to "
            "POST /users/search",
        )
    asked = AccountSearchIn(community_id=community_id, role=role, state=state, cursor=cursor, limit=limit)
    return await _found(context, ticket.principal, asked)


@router.post("/search", summary="查找账号 Find accounts by name or user name")
async def search_accounts(body: AccountSearchIn, context: Ctx, ticket: Helper) -> AccountPage:
    """It changes nothing; what was looked for is written down nowhere."""
    return await _found(context, ticket.principal, body)


async def _found(context: Context, who: Principal, asked: AccountSearchIn) -> AccountPage:
    after = cursors.decode(asked.cursor, 1)
    async with context.database.read() as connection:
        rows = await accounts.page(
            connection,
            who,
            community_id=asked.community_id,
            role=asked.role,
            disabled=None if asked.state == "all" else asked.state == "disabled",
            words=asked.words,
            after=after[0] if after else None,
            limit=asked.limit + 1,
        )
    shown = rows[: asked.limit]
    following = cursors.encode(shown[-1]["username"]) if len(rows) > asked.limit else None
    return AccountPage(items=[account_out(row) for row in shown], next=following)


@router.get("/{user_id}", summary="账号 An account")
async def get_account(user_id: str, response: Response, context: Ctx, ticket: Helper) -> AccountOut:
    async with context.database.read() as connection:
        row = await accounts.one(connection, ticket.principal, user_id)
    response.headers.update(etag(row["version"]))
    return account_out(row)


@router.post("", status_code=201, summary="新建账号 Make an account", responses=_CHANGED)
async def create_account(
    body: AccountNew, response: Response, context: Ctx, ticket: Administrator, key: OnceKey = None
) -> OneTimeOut:
    """Answers with a one-time password, good for 72 hours: whoever logs in with it has to choose one of their own."""
    who, once_key = ticket.principal, once(key)
    password, mark = accounts.one_time_password(context.settings.keys[0], who, once_key, body.username)
    hashed = await context.auth.hashing.hash(password)
    user_id = f"user-{uuid4()}"
    async with context.database.write() as connection:
        await accounts.check_wish(connection, who, body)
        made = await connection.fetchval(
            store.Q["account_insert"], user_id, body.username, hashed, body.display_name, body.role.value, body.team,
            body.community_id, body.street_id, body.grid_id, body.household_id, True, accounts.ONE_TIME_S, mark,
        )  # fmt: skip
        if made is None:
            there = await connection.fetchrow(store.Q["account_once"], body.username)
            if there is None or there["once_key"] != mark:
                raise ApiError(HTTPStatus.CONFLICT, "用户名已被使用 · that user name is taken")
            user_id = there["id"]
        row = await accounts.one(connection, who, user_id)
        if made is not None:
            detail = _told(row)
            await system.audit(connection, who, body.community_id, "account.create", f"user:{user_id}", detail)
    response.headers.update(etag(row["version"]) | {"Location": f"{PREFIX}/users/{user_id}"})
    return OneTimeOut(account=account_out(row), one_time_password=password, until=row["password_until"])


def _told(row: Row) -> dict[str, str | None]:
    """What the trail says of an account: what it may do and where, no names of people."""
    fields = ("username", "role", "team", "community_id", "street_id", "grid_id", "household_id")
    return {field: row[field] for field in fields}


async def _seen(connection: Connection, who: Principal, user_id: str, request: Request) -> Row:
    """The account, locked, as the asker has seen it. Raises ApiError 404, 412, 428."""
    await connection.fetchval(store.Q["account_version"], user_id)
    row = await accounts.one(connection, who, user_id)
    if expected_version(request) != row["version"]:
        raise ApiError(
            HTTPStatus.PRECONDITION_FAILED,
            "他人已先修改，请看过再改 · somebody was faster; look at it again",
            headers=etag(row["version"]),
            current=account_out(row).model_dump(mode="json"),
        )
    return row


@router.put("/{user_id}", summary="更改账号 Change an account", responses=_CHANGED)
async def change_account(
    user_id: str, body: AccountIn, request: Request, response: Response, context: Ctx, ticket: Administrator
) -> AccountOut:
    """A new role or scope counts at once: sessions go on with it, live streams are cut and opened anew."""
    who = ticket.principal
    async with context.database.write() as connection:
        before = await _seen(connection, who, user_id, request)
        renamed_only = _told(before) == _told({**before, **body.model_dump(exclude={"display_name"})})
        if not renamed_only:
            accounts.check_over(who, before)
            await accounts.check_wish(connection, who, body)
            if body.role is not Role.ADMIN or body.community_id != before["community_id"]:
                await accounts.check_administrators_left(connection, before)
        await connection.execute(
            store.Q["account_update"], user_id, body.display_name, body.role.value, body.team, body.community_id,
            body.street_id, body.grid_id, body.household_id,
        )  # fmt: skip
        row = await accounts.one(connection, who, user_id)
        detail = {"before": _told(before), "after": _told(row)}
        await system.audit(connection, who, row["community_id"], "account.change", f"user:{user_id}", detail)
    context.auth.revoked(f"user:{user_id}")
    response.headers.update(etag(row["version"]))
    return account_out(row)


@router.post("/{user_id}/disable", summary="停用账号 Disable an account", responses=_CHANGED)
async def disable(
    user_id: str, body: WhyIn, request: Request, response: Response, context: Ctx, ticket: Administrator
) -> AccountOut:
    """Ends all its sessions; live streams are cut within a second."""
    return await _switch(context, ticket.principal, user_id, request, response, True, body.why)


@router.post("/{user_id}/enable", summary="启用账号 Enable an account", responses=_CHANGED)
async def enable(user_id: str, request: Request, response: Response, context: Ctx, ticket: Administrator) -> AccountOut:
    return await _switch(context, ticket.principal, user_id, request, response, False, "")


async def _switch(
    context: Context, who: Principal, user_id: str, request: Request, response: Response, off: bool, why: str
) -> AccountOut:
    async with context.database.write() as connection:
        before = await _seen(connection, who, user_id, request)
        accounts.check_over(who, before)
        if off:
            await accounts.check_administrators_left(connection, before)
        await connection.execute(store.Q["account_switch"], user_id, off)
        if off:
            await store.end_all(connection, user_id, who.id, "disabled")
        row = await accounts.one(connection, who, user_id)
        action, detail = ("account.disable", {"why": why}) if off else ("account.enable", {})
        await system.audit(connection, who, row["community_id"], action, f"user:{user_id}", detail)
    context.auth.revoked(f"user:{user_id}")
    response.headers.update(etag(row["version"]))
    return account_out(row)


@router.post("/{user_id}/external-identity", summary="绑定统一登录 Link to another place of login", responses=_CHANGED)
async def link(
    user_id: str, body: ExternalIdentityIn, response: Response, context: Ctx, ticket: Administrator
) -> AccountOut:
    """From now on whoever logs in there as this subject is this account. Said again, it changes nothing."""
    who = ticket.principal
    if body.issuer != context.settings.oidc_issuer:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "issuer 不是本系统配置的统一登录 · that is not the place of login that is set here (LINHUB_OIDC_ISSUER)",
        )
    async with context.database.write() as connection:
        row = await accounts.one(connection, who, user_id)
        accounts.check_over(who, row)
        made = await connection.fetchval(store.Q["external_link"], body.issuer, body.subject, user_id)
        if made is not None:
            detail = {"at": body.issuer, "subject": body.subject}
            await system.audit(connection, who, row["community_id"], "account.link", f"user:{user_id}", detail)
        elif await connection.fetchval(store.Q["external_account"], body.issuer, user_id) != body.subject:
            raise ApiError(
                HTTPStatus.CONFLICT,
                "该账号或该身份已绑定，请先解除 · that account or that identity is linked already to another",
            )
        row = await accounts.one(connection, who, user_id)
    response.headers.update(etag(row["version"]))
    return account_out(row)


@router.delete("/{user_id}/external-identity", status_code=204, summary="解除统一登录 Unlink the other place of login")
async def unlink(user_id: str, context: Ctx, ticket: Administrator) -> None:
    """Nobody comes in as this account from there any more; its sessions end, for some may have begun there."""
    who = ticket.principal
    ended: list[str] = []
    async with context.database.write() as connection:
        row = await accounts.one(connection, who, user_id)
        accounts.check_over(who, row)
        gone = await connection.fetch(store.Q["external_unlink"], user_id)
        if gone:
            ended = await store.end_all(connection, user_id, who.id, "administrator")
            detail = {"from": [one["issuer"] for one in gone], "ended": len(ended)}
            await system.audit(connection, who, row["community_id"], "account.unlink", f"user:{user_id}", detail)
    context.auth.forget(ended)


@router.post("/{user_id}/password", summary="重置密码 Reset the password")
async def reset_password(user_id: str, context: Ctx, ticket: Helper, key: OnceKey = None) -> OneTimeOut:
    """Answers with a one-time password, good for 72 hours; ends all sessions of the account and frees it."""
    who = ticket.principal
    async with context.database.read() as connection:
        accounts.check_help(who, await accounts.one(connection, who, user_id))
    password, mark = accounts.one_time_password(context.settings.keys[0], who, once(key), user_id)
    hashed = await context.auth.hashing.hash(password)
    ended: list[str] = []
    async with context.database.write() as connection:
        given = await connection.fetchval(store.Q["account_once_key"], user_id)
        row = await accounts.one(connection, who, user_id)
        accounts.check_help(who, row)
        if given != mark:
            ended = await accounts.put_password(connection, context.auth, who, row, hashed, once=mark)
            row = await accounts.one(connection, who, user_id)
    context.auth.forget(ended)
    if row["password_until"] is None:
        raise ApiError(HTTPStatus.CONFLICT, "已改为本人的密码 · its owner has chosen a password of their own meanwhile")
    return OneTimeOut(account=account_out(row), one_time_password=password, until=row["password_until"])


@router.post("/{user_id}/free", status_code=204, summary="解除锁定 Free a locked account")
async def free(user_id: str, context: Ctx, ticket: Helper) -> None:
    """Whoever was locked out by wrong passwords may try again at once, from anywhere."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await accounts.one(connection, who, user_id)
        accounts.check_help(who, row)
        await context.auth.gate.free(connection, user_id)
        await system.audit(connection, who, row["community_id"], "account.free", f"user:{user_id}", {})


@router.get("/{user_id}/sessions", summary="账号的登录 Sessions of an account")
async def list_sessions(
    user_id: str, context: Ctx, ticket: Administrator, cursor: Cursor = None, limit: Limit = 50
) -> SessionPage:
    async with context.database.read() as connection:
        await accounts.one(connection, ticket.principal, user_id)
        return await page_of(connection, user_id, ticket.token_id, cursor, limit)


@router.delete("/{user_id}/sessions/{session_id}", status_code=204, summary="结束一个登录 End a session")
async def end_session(user_id: str, session_id: str, context: Ctx, ticket: Administrator) -> None:
    async with context.database.read() as connection:
        await accounts.one(connection, ticket.principal, user_id)
    if not await context.auth.end_one(ticket.principal, user_id, session_id, "administrator"):
        raise not_found("session", session_id)


@router.post("/{user_id}/sessions/end", summary="结束其全部登录 End all sessions of an account")
async def end_sessions(user_id: str, context: Ctx, ticket: Administrator) -> SessionsEndedOut:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await accounts.one(connection, who, user_id)
        ended = await store.end_all(connection, user_id, who.id, "administrator")
        detail = {"ended": len(ended)}
        await system.audit(connection, who, row["community_id"], "session.end_all", f"user:{user_id}", detail)
    context.auth.forget(ended)
    return SessionsEndedOut(ended=len(ended))
