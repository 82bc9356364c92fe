"""Linkage plans (预案) of a community: versions and their approval, dry runs, runs with their steps live."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.adapters import outbox
from services.adapters.outbox import Outgoing
from services.adapters.plans import runs, store
from services.adapters.plans.around import Q
from services.adapters.plans.dry import NoSuchAlert, dry_run, dry_run_made_up
from services.adapters.plans.files import DefaultPlan, PlanFileError, Text, load_defaults, parsed, read_text
from services.adapters.rules import effective, load_rules
from services.api.answers import shapes
from services.api.answers.health import about_health
from services.api.answers.models import LabelOut, Problem
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, answer, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.rules.plan_models import (
    ApproveIn,
    CancelIn,
    CommandOut,
    DryRunIn,
    DryRunOut,
    HappeningOut,
    PlanChangedOut,
    PlanDetailOut,
    PlanList,
    PlanOut,
    RunDetailOut,
    RunOut,
    RunPage,
    StepEndOut,
    StepOut,
    TroubleOut,
)
from services.api.rules.shared import refuse_faults, yaml_body
from services.api.store import system
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.preconditions import etag, expected_version, stale
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, ReaderClass, reader_class
from services.domain.people.privacy import Shown
from services.domain.plans.document import dangerous
from services.domain.plans.plan import Plan
from services.domain.plans.rehearsal import Rehearsal

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["plans 预案"], responses=PROBLEMS)
PLANS = "/communities/{community_id}/plans"
Note = Annotated[str, Query(max_length=500, description="为何修改，记入历史与审计 · why; kept in history and audit")]
CHANGES: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "不能批准，附原因 · cannot be approved, with the reason"},
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster"},
    415: {"model": Problem, "description": "请发送 YAML · send YAML"},
    422: {"model": Problem, "description": "预案有误，逐行列出 · every fault with its line, in `errors`"},
    428: {"model": Problem, "description": "缺少 If-Match · the header is missing"},
}
BODY = {"requestBody": {"required": True, "content": {"text/yaml": {"schema": {"type": "string"}}}}}


@router.get(PLANS, response_model=PlanList, summary="预案列表 Plans, the defaults not yet taken over among them")
async def plans(community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PLANS)]) -> Response:
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = {row["plan_id"]: row for row in await store.newest_versions(connection, community_id)}
    names = sorted({*rows, *load_defaults()})
    return answer(PlanList(items=[PlanOut(**_plan(name, rows.get(name))) for name in names]))


@router.get(PLANS + "/{plan_id}", summary="一份预案 One plan with its text")
async def plan(
    community_id: str,
    plan_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PLANS)],
    response: Response,
) -> PlanDetailOut:
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        row = await _newest(connection, community_id, plan_id)
    out = PlanDetailOut(
        **_plan(plan_id, row),
        document=str(row["document"]) if row is not None else load_defaults()[plan_id].document,
        live_document=row["live_document"] if row is not None else None,
    )
    response.headers.update(etag(out.version))
    return out


@router.put(PLANS + "/{plan_id}", summary="编写新版本，待批准 Write a version", responses=CHANGES, openapi_extra=BODY)
async def put(
    community_id: str,
    plan_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PLAN_EDIT)],
    response: Response,
    note: Note = "",
) -> PlanChangedOut:
    """If-Match names the version seen (0 for a default that was not taken over); a new plan: `If-None-Match: *`.

    The version before it stays in force until somebody else approves this one.
    """
    who, seen = ticket.principal, expected_version(request)
    document = await yaml_body(request)
    async with context.database.consistent() as connection:
        await community_in_scope(connection, who, community_id)
        text = await _read(connection, community_id, document)
    refuse_faults(text.findings)
    assert text.plan is not None  # noqa: S101
    if text.plan.id != plan_id:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"文中 id 为 {text.plan.id} · the text is about {text.plan.id}, not {plan_id}",
        )
    async with context.database.write() as connection:
        try:
            number = await store.write_version(
                connection, community_id, plan_id, text.plan.mode, document, who.id, note, expected=seen
            )
        except store.VersionMoved as moved:
            raise stale(moved.current, None) from None
        detail = {"version": number, "note": note, "dangerous": list(dangerous(text.plan))}
        await system.audit(connection, who, community_id, "plan.put", f"plan:{plan_id}", detail)
    response.headers.update(etag(number))
    return PlanChangedOut(id=plan_id, version=number, live=False, needs_approval=True)


@router.delete(PLANS + "/{plan_id}", summary="停用并移除 Take it out of force, at once", responses=CHANGES)
async def remove(
    community_id: str,
    plan_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PLAN_EDIT)],
    response: Response,
    note: Note = "",
) -> PlanChangedOut:
    """Needs no approval: a plan that does harm must be stopped by whoever notices. Runs under way are not touched."""
    who, seen = ticket.principal, expected_version(request)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        row = await _newest(connection, community_id, plan_id)
        if row is None:
            raise not_found("plan", plan_id)
        try:
            number = await store.write_version(
                connection, community_id, plan_id, "removed", "", who.id, note, expected=seen
            )
        except store.VersionMoved as moved:
            raise stale(moved.current, None) from None
        detail = {"version": number, "note": note}
        await system.audit(connection, who, community_id, "plan.remove", f"plan:{plan_id}", detail)
        await _tell(connection, "plan.changed", community_id, plan_id, {"version": number, "mode": "removed"})
    response.headers.update(etag(number))
    return PlanChangedOut(id=plan_id, version=number, live=False, needs_approval=False)


@router.post(PLANS + "/{plan_id}/approve", summary="批准，随即生效 Approve: in force from now on", responses=CHANGES)
async def approve(
    community_id: str,
    plan_id: str,
    body: ApproveIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PLAN_EDIT)],
) -> PlanChangedOut:
    """By somebody else than who wrote it; it answers for every dangerous command that the plan names."""
    who = ticket.principal
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        if await _newest(connection, community_id, plan_id) is None:
            raise not_found("plan", plan_id)
        try:
            found = await store.approve(connection, community_id, plan_id, body.version, who.id, body.note)
        except store.VersionMoved as moved:
            raise stale(moved.current, None) from None
        except store.NotApproved as refused:
            raise ApiError(HTTPStatus.CONFLICT, str(refused)) from None
        names = list(dangerous(parsed(found.document)))
        detail = {"version": body.version, "written_by": found.created_by, "note": body.note, "dangerous": names}
        await system.audit(connection, who, community_id, "plan.approve", f"plan:{plan_id}", detail)
        await _tell(connection, "plan.changed", community_id, plan_id, {"version": body.version, "mode": found.mode})
    log.info("plan_approved", community=community_id, plan=plan_id, version=body.version, by=who.id)
    return PlanChangedOut(id=plan_id, version=body.version, live=found.mode == "live", needs_approval=False)


@router.post(PLANS + "/{plan_id}/dry-run", summary="演练，不写入 What would happen; nothing is written")
async def rehearse(
    community_id: str,
    plan_id: str,
    body: DryRunIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PLAN_EDIT)],
) -> DryRunOut:
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        tried, version = await _tried(connection, community_id, plan_id, body.document)
        try:
            if body.alert_id is not None:
                found = await dry_run(connection, community_id, tried, version, body.alert_id)
            else:
                assert body.made_up is not None  # noqa: S101
                made_up = body.made_up
                found = await dry_run_made_up(
                    connection, community_id, tried, version, made_up.rule_id, made_up.device_id, made_up.severity
                )
        except NoSuchAlert as missing:
            raise not_found("alert" if body.alert_id is not None else "device", missing) from None
    return dry_run_out(found)


@router.get("/communities/{community_id}/plan-runs", response_model=RunPage, summary="预案执行 Runs, newest first")
async def plan_runs(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PLANS)],
    plan_id: Annotated[str | None, Query(max_length=64)] = None,
    alert_id: Annotated[UUID | None, Query()] = None,
    running: Annotated[bool, Query(description="只看进行中 · only those under way")] = False,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    at, last = time_and_id(after) or (None, None)
    reader = reader_class(ticket.principal)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await connection.fetch(Q["list_runs"], community_id, plan_id, alert_id, running, at, last, limit + 1)
    page = rows[:limit]
    more = cursor.encode(page[-1]["started_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return answer(RunPage(items=[RunOut(**_run(row, reader)) for row in page], next=more))


@router.get("/plan-runs/{run_id}", summary="一次执行及其步骤 One run with its steps and commands")
async def plan_run(run_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PLANS)]) -> RunDetailOut:
    async with context.database.consistent() as connection:
        return await _detail(connection, ticket, run_id)


@router.post("/plan-runs/{run_id}/cancel", summary="中止执行 Cancel a run", responses={409: {"model": Problem}})
async def cancel(
    run_id: UUID, body: CancelIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PLAN_EDIT)]
) -> RunDetailOut:
    """Nothing more is begun; what a device has been told already is not taken back."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await in_scope(connection, who, await runs.lock_run(connection, run_id), "run", run_id)
        if row["state"] != "running":
            raise ApiError(HTTPStatus.CONFLICT, f"该执行已结束（{row['state']}） · the run has ended: {row['state']}")
        told = await runs.cancel_run(connection, row, parsed(row["document"]), who.id, body.why, context.clock.now())
        detail = {"run_id": str(run_id), "why": body.why}
        await system.audit(connection, who, row["community_id"], "plan.cancel", f"plan:{row['plan_id']}", detail)
        await outbox.append(connection, told)
        return await _detail(connection, ticket, run_id)


async def _detail(connection: Connection, ticket: Ticket, run_id: UUID) -> RunDetailOut:
    found = await connection.fetchrow(Q["fetch_run"], run_id)
    row = await in_scope(connection, ticket.principal, found, "run", run_id)
    steps = await connection.fetch(Q["run_steps"], run_id)
    commands = await connection.fetch(Q["run_commands"], run_id)
    return RunDetailOut(
        **_run(row, reader_class(ticket.principal)),
        steps=[StepOut(**dict(one)) for one in steps],
        commands=[CommandOut(**dict(one)) for one in commands],
    )


def dry_run_out(found: Rehearsal) -> DryRunOut:
    run = found.run
    return DryRunOut(
        starts=found.starts,
        why_not=found.why_not,
        happenings=[
            HappeningOut(after_s=one.after_ms / 1000, step=one.step, what=dict(one.what)) for one in found.happenings
        ],
        troubles=[TroubleOut(step=step, why=why) for step, why in found.troubles],
        steps=[
            StepEndOut(
                step=name,
                state=one.state,
                after_s=None if one.ended_ms is None else (one.ended_ms - run.started_ms) / 1000,
            )
            for name, one in run.steps.items()
        ],
    )


async def _newest(connection: Connection, community_id: str, plan_id: str) -> Mapping[str, Any] | None:
    """None: a default that was never taken over. Raises 404 for a plan there is nothing of."""
    rows = await store.newest_versions(connection, community_id, plan_id)
    if not rows and plan_id not in load_defaults():
        raise not_found("plan", plan_id)
    return rows[0] if rows else None


async def _read(connection: Connection, community_id: str, document: str) -> Text:
    found = effective(await load_rules(connection, None, community_id), community_id)
    return read_text(document, [(str(one.rule.id), str(one.rule.family or one.rule.id)) for one in found.values()])


async def _tried(connection: Connection, community_id: str, plan_id: str, document: str | None) -> tuple[Plan, int]:
    if document is not None:
        text = await _read(connection, community_id, document)
        refuse_faults(text.findings)
        assert text.plan is not None  # noqa: S101
        return text.plan, 0
    row = await _newest(connection, community_id, plan_id)
    if row is None:
        return load_defaults()[plan_id].plan, 0
    if row["mode"] == "removed":
        raise not_found("plan", plan_id)
    return parsed(row["document"]), row["version"]


async def _tell(connection: Connection, kind: str, community_id: str, plan_id: str, data: dict[str, Any]) -> None:
    await outbox.append(connection, [Outgoing(kind, community_id, plan_id, "", {"plan_id": plan_id} | data)])


def _plan(plan_id: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    default: DefaultPlan | None = load_defaults().get(plan_id)
    known = _known(row, default)
    title = known.title if known is not None else None
    return {
        "id": plan_id,
        "title": LabelOut(zh=title.zh, en=title.en) if title is not None else LabelOut(zh=plan_id, en=plan_id),
        "version": row["version"] if row is not None else 0,
        "mode": row["mode"] if row is not None else "off",
        "written_by": row["created_by"] if row is not None else None,
        "written_at": row["created_at"] if row is not None else None,
        "approved_by": row["approved_by"] if row is not None else None,
        "live_version": row["live_version"] if row is not None else None,
        "live_approved_by": row["live_approved_by"] if row is not None else None,
        "alerts": list(known.trigger.alerts) if known is not None else [],
        "dangerous": list(dangerous(known)) if known is not None else [],
        "steps": [step.id for step in known.steps] if known is not None else [],
        "is_default": default is not None and (row is None or row["document"] == default.document),
    }


def _known(row: Mapping[str, Any] | None, default: DefaultPlan | None) -> Plan | None:
    if row is None:
        return default.plan if default is not None else None
    try:
        return parsed(row["document"]) if row["document"] else None
    except PlanFileError:
        return None


def _run(row: Mapping[str, Any], reader: ReaderClass) -> dict[str, Any]:
    shown = {name: row[name] for name in RunOut.model_fields if name not in ("title", "place")}
    title = LabelOut(zh=row["title_zh"], en=row["title_en"])
    if about_health(row["rule_id"]) and Shown.VITALS not in shapes.shown(reader, row):
        title = LabelOut(zh="健康告警", en="Health alert")
    return {**shown, "place": row["place"] or "", "title": title}
