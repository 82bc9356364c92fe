"""What routes share: page sizes, the answer as bytes, and the problems every route may answer with."""

from __future__ import annotations

import hashlib
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Header, Query, Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from services.api.answers.models import Problem
from services.api.identity.auth import unauthorised
from services.api.web import cursor
from services.api.web.problems import ApiError
from services.domain.access import Principal

PREFIX = "/api/v1"

State = Annotated[Literal["open", "all"], Query(description="open: 未终结 not ended; all: 全部 all, newest first")]
Limit = Annotated[int, Query(ge=1, le=500, description="rows a page")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next` of the page before")]

OnceKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=128,
        description="必填，重试时用同一个值 · required; the same value on a retry makes the thing once",
    ),
]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words}
    for status, words in {
        401: "未登录 · no session",
        403: "无权限 · the role may not do this",
        404: "找不到或不在权限范围 · not there, or outside your scope",
        422: "请求有误 · the request is not valid",
        503: "数据库暂不可用 · the database is away; try again",
    }.items()
}


AsAccount = Annotated[
    str | None,
    Header(
        alias="X-LinHub-Account",
        max_length=128,
        description="可选：须由此账号发出，否则 412 · optional: refused with 412 unless this account sends it",
    ),
]
"""What a phone kept while it had no network is its maker's, whoever has logged in on that phone since."""


def meant_by(account: str | None, who: Principal | None) -> None:
    """Raises ApiError 401 where nobody is logged in: a renewed session sends it yet; 412 where somebody else is."""
    if account is not None and who is None:
        raise unauthorised("登录已过期，请重新登录后发送 · the login has ended; log in again to send it")
    if account is not None and who is not None and account != who.id:
        raise ApiError(
            HTTPStatus.PRECONDITION_FAILED,
            "这是另一个账号的操作，请用该账号登录后再发送 · another account did this; log in as that one to send it",
        )


def once(key: str | None) -> str:
    """The header's value. Raises ApiError 400."""
    if not key:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "缺少 Idempotency-Key 请求头 · send the header Idempotency-Key, a new value for each thing you make",
        )
    return key


OF_WHO_ASKS = "Authorization, Cookie, X-API-Key"
"""Vary of what is somebody's own: a machine at the desk has several users and one cache."""


def answer(model: BaseModel | dict[str, Any]) -> Response:
    """The model as JSON, written once: these shapes are ours, checking them a second time would only cost."""
    return Response(to_json(model), media_type="application/json")


def tagged(request: Request, body: bytes, *, public_s: int = 0) -> Response:
    """JSON with an ETag of its own bytes; 304 where the asker has them. `public_s`: so long anybody may keep it."""
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    caching = f"public, max-age={public_s}" if public_s else "private, no-cache"
    headers = {"ETag": tag, "Cache-Control": caching}
    if not public_s:
        headers["Vary"] = OF_WHO_ASKS
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def time_and_id(text: str | None) -> tuple[datetime, UUID] | None:
    """The key of lists sorted by time and id. Raises ApiError 400."""
    key = cursor.decode(text, 2)
    if key is None:
        return None
    try:
        return datetime.fromisoformat(key[0]), UUID(key[1])
    except ValueError:
        raise cursor.refused() from None
