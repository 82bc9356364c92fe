"""Accounts as others administer them: within their own scope, never above their own role, never the last of admins."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from services.api.answers.models import LabelOut
from services.api.identity import store
from services.api.identity.auth import Auth
from services.api.identity.hashing import password_mark
from services.api.identity.models import AccountIn, AccountOut
from services.api.identity.store import Q
from services.api.store import system
from services.api.store.database import Connection
from services.api.web.problems import ApiError, not_found
from services.domain.access import Principal
from services.domain.accounts import Scope, may_grant, may_help, scope_faults, within
from services.domain.passwords import fault
from services.domain.vocabulary import ROLE_LABELS, Label, Role

Row = Mapping[str, Any]
ONE_TIME_S = 72 * 3600.0
"""A one-time password that nobody used ends by itself."""


async def page(
    connection: Connection,
    who: Principal,
    *,
    community_id: str | None = None,
    role: Role | None = None,
    disabled: bool | None = None,
    words: str | None = None,
    after: str | None = None,
    only: str | None = None,
    limit: int = 1,
) -> list[Row]:
    """Accounts within the asker's scope, by user name."""
    street_id = None
    if who.community_id is not None:
        if community_id not in (None, who.community_id):
            return []
        community_id = who.community_id
    elif who.street_id is not None:
        street_id = who.street_id
    rows: Sequence[Row] = await connection.fetch(
        Q["accounts_page"], community_id, street_id, role, disabled, words, after, only, limit
    )
    return [row for row in rows if within(who, row["community_id"], row["street_id"], row["street_of_community"])]


async def one(connection: Connection, who: Principal, user_id: str) -> Row:
    """Raises ApiError 404 alike for one that is not there and one outside the asker's scope."""
    rows = await page(connection, who, only=user_id)
    if not rows:
        raise not_found("account", user_id)
    return rows[0]


def account_out(row: Row) -> AccountOut:
    role = Role(row["role"])
    label = ROLE_LABELS[role]
    same = AccountOut.model_fields.keys() & set(row.keys()) - {"role"}
    return AccountOut(
        **{name: row[name] for name in same},
        role=role,
        role_label=LabelOut(zh=label.zh, en=label.en),
        locked_until=row["blocked_until"],
    )


def refuse_password(password: str, *names: str) -> None:
    """Raises ApiError 422 with what to do."""
    words = fault(password, *names)
    if words is not None:
        raise _refused([("new", words)])


def _refused(faults: Sequence[tuple[str, Label]]) -> ApiError:
    first = faults[0][1]
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{first.zh} · {first.en}",
        errors=[{"where": where, "what": f"{words.zh} · {words.en}"} for where, words in faults],
    )


def forbidden(zh: str, en: str) -> ApiError:
    return ApiError(HTTPStatus.FORBIDDEN, f"{zh} · {en}")


async def check_wish(connection: Connection, who: Principal, wish: AccountIn) -> None:
    """That the asker may make an account of this: raises ApiError 422 for what does not fit, 403 for what is above."""
    scope = Scope(wish.community_id, wish.street_id, wish.grid_id, wish.household_id)
    faults = scope_faults(wish.role, wish.team, scope)
    known = await connection.fetchrow(
        Q["scope_known"], wish.community_id, wish.street_id, wish.grid_id, wish.household_id
    )
    reached = within(who, wish.community_id, wish.street_id, known["street_of_community"])
    if not (reached and may_grant(who, wish.role)):
        raise forbidden("不能授予超出本人的角色或范围", "you cannot grant a role or a scope beyond your own")
    missing = {"community_id": "community", "street_id": "street", "grid_id": "grid", "household_id": "household"}
    faults += [
        (field, Label("本社区没有这一项", f"there is no such {what} there"))
        for field, what in missing.items()
        if not known[what]
    ]
    if faults:
        raise _refused(faults)


def check_over(who: Principal, row: Row) -> None:
    """That the asker may change this account. Raises ApiError 403."""
    if row["id"] == who.id:
        raise forbidden("不能更改本人的角色、范围或停用本人", "nobody changes their own role or scope")
    if row["service"]:
        raise forbidden("程序与大屏的账号随其密钥或配对管理", "those of programs and screens go with their keys")
    if not may_grant(who, Role(row["role"])):
        raise forbidden("该账号的权限高于您", "that account may do more than yours")


def check_help(who: Principal, row: Row) -> None:
    """That the asker may free this account and reset its password. Raises ApiError 403."""
    if row["id"] == who.id:
        raise forbidden("请用“修改密码”", "use the change of your own password")
    if row["service"] or not may_help(who, Role(row["role"])):
        raise forbidden("请由管理员处理该账号", "an administrator has to deal with that account")


async def check_administrators_left(connection: Connection, row: Row) -> None:
    """Locks all administrators. Raises ApiError 409 where nobody would be left to administer what this one does."""
    if row["role"] != Role.ADMIN or row["disabled_at"] is not None:
        return
    for other in await connection.fetch(Q["admins_locked"]):
        if other["id"] == row["id"] or other["disabled"]:
            continue
        unbound = other["community_id"] is None and other["street_id"] is None
        same = other["community_id"] == row["community_id"] and other["street_id"] == row["street_id"]
        street = other["street_id"] is not None and other["street_id"] == row["street_of_community"]
        if unbound or same or street:
            return
    raise ApiError(
        HTTPStatus.CONFLICT,
        "这是最后一个管理员，请先设立另一个 · this is the last administrator; make another one first",
    )


def one_time_password(key: str, who: Principal, once_key: str, subject: str) -> tuple[str, bytes]:
    """20 letters and digits that a repeated request gives again, and what tells that it is a repetition."""
    asked = f"{who.id}\n{subject}\n{once_key}".encode()
    drawn = hmac.new(key.encode(), b"one-time:" + asked, hashlib.sha256).digest()
    letters = base64.b32encode(drawn[:15]).decode().lower()[:20]
    return "-".join(letters[at : at + 5] for at in range(0, 20, 5)), hashlib.sha256(asked).digest()


async def put_password(
    connection: Connection,
    auth: Auth,
    who: Principal,
    row: Row,
    hashed: str,
    *,
    once: bytes | None,
    save: str = "",
) -> list[str]:
    """Stores it and ends the account's sessions, save one; audited last. `once`: a one-time password.

    Returns the ids of the sessions that it ended.
    """
    user_id = row["id"]
    lifetime = ONE_TIME_S if once is not None else None
    await connection.execute(Q["account_password"], user_id, hashed, once is not None, lifetime, once)
    if save:
        await connection.execute(Q["session_mark"], save, password_mark(hashed))
    ended = await store.end_all(connection, user_id, who.id, "password", save=save)
    await auth.gate.free(connection, user_id)
    action = "account.password_reset" if once is not None else "account.password"
    detail = {"sessions_ended": len(ended)}
    await system.audit(connection, who, row["community_id"], action, f"user:{user_id}", detail)
    return ended
