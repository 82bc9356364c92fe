"""Every error as RFC 9457 problem details: what went wrong, and what to do about it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import asyncpg
import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from services.api.answers.models import Problem
from services.api.store.database import AWAY

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


class ApiError(Exception):
    """Raised anywhere below a route; answered as a problem. `errors` and `current` (a thing as it stands now) go into
    the body beside the standard members."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, Any]] | None = None,
        current: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.errors = errors
        self.current = current


def not_found(what: str, name: object) -> ApiError:
    """Also said of what exists outside the asker's scope: its existence is nobody else's business."""
    return ApiError(HTTPStatus.NOT_FOUND, f"找不到{_ZH.get(what, what)} {name} · no {what} {name} within your scope")


_ZH = {
    "community": "社区",
    "device": "设备",
    "person": "人员",
    "session": "登录",
    "subscription": "订阅",
    "event type": "事件类型",
    "login": "登录方式",
    "alert": "告警",
    "CAP message of alert": "CAP 消息（仅紧急告警有），告警",
    "order": "工单",
    "report": "上报",
    "rule": "规则",
    "version": "版本",
    "silence": "静默",
    "series": "曲线",
    "forecast": "预测",
    "metric": "指标",
    "figure": "关键指标",
    "plan": "预案",
    "run": "预案执行",
    "command": "指令",
    "batch": "批次",
    "schedule": "路灯计划",
    "rota": "排班",
    "shift": "班次",
    "swap": "换班申请",
    "handover": "交接",
    "evidence": "证据",
    "code": "场所码",
    "notice": "通知",
    "channel": "渠道",
    "gateway": "网关",
    "contact": "联系人",
    "account": "账号",
    "street": "街道",
    "key": "密钥",
    "screen": "屏幕",
    "pairing": "配对",
    "place": "空间",
    "building": "楼栋",
    "import": "导入",
}


def problem_response(
    status: int,
    detail: str,
    *,
    instance: str | None = None,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, Any]] | None = None,
    current: dict[str, Any] | None = None,
) -> Response:
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=int(status),
        detail=detail,
        instance=instance,
        errors=errors,
        current=current,
    )
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=int(status),
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def unavailable(instance: str | None = None) -> Response:
    return problem_response(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "数据库暂不可用，请稍候，系统会自行恢复 · the database does not answer; the API recovers by itself",
        instance=instance,
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def install(app: FastAPI) -> None:
    """Hooks every way in which a request can fail."""

    async def api_error(request: Request, error: ApiError) -> Response:
        return problem_response(
            error.status,
            error.detail,
            instance=request.url.path,
            headers=error.headers,
            errors=error.errors,
            current=error.current,
        )

    async def http_error(request: Request, error: HTTPException) -> Response:
        return problem_response(
            error.status_code,
            str(error.detail) if " · " in str(error.detail) else HTTP_WORDS.get(error.status_code, str(error.detail)),
            instance=request.url.path,
            headers=dict(error.headers or {}),
        )

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            {"where": ".".join(str(part) for part in one["loc"]), "what": one["msg"]}
            for one in jsonable_encoder(error.errors(), exclude={"input", "ctx", "url"})
        ]
        detail = "请求有误 · the request is not valid: " + "; ".join(f"{e['where']}: {e['what']}" for e in errors[:3])
        return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, detail, instance=request.url.path, errors=errors)

    async def database_away(request: Request, error: Exception) -> Response:
        log.warning("database_away", why=str(error) or type(error).__name__)
        return unavailable(request.url.path)

    async def unstorable(request: Request, error: asyncpg.DataError) -> Response:
        # Its words may hold what was sent: a name, a number.
        log.info("request_unstorable", why=type(error).__name__)
        return problem_response(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "请求中有无法处理的字符或数值 · a character or number in the request is outside what can be kept",
            instance=request.url.path,
        )

    async def outside(request: Request, error: asyncpg.InsufficientPrivilegeError) -> Response:
        """The database stopped what a route should have refused: nothing leaked, and the route is to be mended."""
        log.error("tenant_refused", path=request.url.path, why=str(error))
        if str(error).startswith("permission denied"):
            raise error  # a privilege that the tenants' role lacks: 500, whoever asks
        return problem_response(
            HTTPStatus.FORBIDDEN, "不在您的权限范围 · outside your scope", instance=request.url.path
        )

    app.exception_handler(ApiError)(api_error)
    app.exception_handler(asyncpg.InsufficientPrivilegeError)(outside)
    app.exception_handler(asyncpg.DataError)(unstorable)
    app.exception_handler(HTTPException)(http_error)
    app.exception_handler(RequestValidationError)(invalid)
    for kind in AWAY:
        app.exception_handler(kind)(database_away)


HTTP_WORDS = {
    404: "没有这个地址 · nothing lives at this address",
    405: "此地址不支持该方法 · this address does not take that method",
}
