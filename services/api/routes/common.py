"""What routes share: page sizes, the answer as bytes, and the problems every route may answer with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from starlette.responses import Response

from services.api import cursor
from services.api.models import Problem

PREFIX = "/api/v1"

State = Annotated[Literal["open", "all"], Query(description="open: 未终结 not ended; all: 全部 all, newest first")]
Limit = Annotated[int, Query(ge=1, le=500, description="rows a page")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next` of the page before")]

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


def answer(model: BaseModel) -> Response:
    """The model as JSON, written once: these shapes are ours, checking them a second time would only cost."""
    return Response(model.model_dump_json(), media_type="application/json")


def time_and_id(text: str | None) -> tuple[datetime, UUID] | None:
    """The key of lists sorted by time and id. Raises ApiError 400."""
    key = cursor.decode(text, 2)
    if key is None:
        return None
    try:
        return datetime.fromisoformat(key[0]), UUID(key[1])
    except ValueError:
        raise cursor.refused() from None
