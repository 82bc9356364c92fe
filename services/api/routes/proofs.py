"""What rules would have said over the last days: asked for, run beside, looked at when it is done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.responses import Response

from services.adapters.rules import read_text
from services.api.answers.models import Problem
from services.api.common import PREFIX, PROBLEMS, answer
from services.api.context import Context, Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.rules.proofs import NAMED, Q
from services.api.store import system
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission

router = APIRouter(prefix=f"{PREFIX}/communities/{{community_id}}", tags=["rules 规则"], responses=PROBLEMS)

LONGEST = timedelta(days=62)
MOST_WAITING = 3
BUSY: dict[int | str, dict[str, Any]] = {
    429: {"model": Problem, "description": "已有多项在排队 · too many of this community are waiting"}
}
Rules = Annotated[
    str,
    Field(
        max_length=256 * 1024,
        description="current, default, 规则@版本 rule@version, 或 YAML 文本 or a document",
        examples=["current", "water_meter.burst@2"],
    ),
]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    begin: AwareDatetime = Field(alias="from", examples=["2026-11-15T00:00:00+08:00"])
    end: AwareDatetime | None = Field(default=None, alias="to", description="left out: now")


class BacktestIn(_Asked):
    rules: Rules = "current"


class DiffIn(_Asked):
    a: Rules = "current"
    b: Rules


class ProofOut(BaseModel):
    """`result` as `linhub rules backtest --json` or `diff --json` tells it; values of vitals are left out."""

    id: UUID
    what: str
    state: str = Field(description="waiting, running, done, failed, cancelled")
    progress: float
    asked_at: datetime
    from_at: datetime
    to_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    why: str | None = Field(description="why it failed")
    result: dict[str, Any] | None


@router.post(
    "/rules/backtest",
    status_code=202,
    response_model=ProofOut,
    responses=BUSY,
    summary="回测 What rules would have said over stored history",
)
async def backtest(
    community_id: str, asked: BacktestIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)]
) -> Response:
    return await _ask(context, ticket, community_id, "backtest", asked, {"rules": asked.rules})


@router.post(
    "/rules/diff",
    status_code=202,
    response_model=ProofOut,
    responses=BUSY,
    summary="比较 What two rulebooks would have said otherwise",
)
async def diff(
    community_id: str, asked: DiffIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)]
) -> Response:
    return await _ask(context, ticket, community_id, "diff", asked, {"a": asked.a, "b": asked.b})


@router.get("/proofs/{proof_id}", response_model=ProofOut, summary="回测进度与结果 How far it is, and what came of it")
async def proof(
    community_id: str, proof_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.RULE_EDIT)]
) -> Response:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        row = await connection.fetchrow(Q["one"], community_id, proof_id)
    if row is None:
        raise not_found("proof", str(proof_id))
    return answer(ProofOut(**row))


async def _ask(
    context: Context, ticket: Ticket, community_id: str, what: str, asked: _Asked, documents: dict[str, str]
) -> Response:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
    end = asked.end or datetime.now(UTC)
    if not timedelta(0) < end - asked.begin <= LONGEST:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"时间段须为正且不超过 {LONGEST.days} 天 · from must lie before to, by {LONGEST.days} days at most",
        )
    for name, text in documents.items():
        if NAMED.fullmatch(text) is None and (findings := read_text(text).findings):
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"{name}: 规则有误 · these are no usable rules",
                errors=[{"line": one.line, "column": one.column, "said": one.said(name)} for one in findings[:50]],
            )
    async with context.database.write() as connection:
        if await connection.fetchval(Q["waiting"], community_id) >= MOST_WAITING:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "已有多项在排队，请稍候 · others of this community are waiting; try again when they are done",
            )
        row = await connection.fetchrow(
            Q["ask"], uuid4(), community_id, what, ticket.principal.id, asked.begin, end, documents
        )
        await connection.execute(Q["forget_old"], community_id)
        detail = {"from": asked.begin.isoformat(), "to": end.isoformat(), "what": what}
        await system.audit(connection, ticket.principal, community_id, "rules.proof", f"proof:{row['id']}", detail)
    context.proofs.ask()
    return Response(to_json(ProofOut(**row)), status_code=202, media_type="application/json")
