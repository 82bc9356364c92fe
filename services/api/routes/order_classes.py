"""Classes of work orders (工单类别) of a community: what is in force, changes by version, drills, and the calendars."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.adapters.orders import classes as store
from services.adapters.orders.class_files import default_document, load_defaults, read_text
from services.api.answers.models import LabelOut, Problem
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders.class_models import (
    CalendarOut,
    CalendarsOut,
    ClassClockOut,
    ClassesChangedOut,
    ClassVersionOut,
    DayOut,
    DefaultClassesOut,
    DrillIn,
    OrderClassesOut,
    OrderClassOut,
    StretchOut,
)
from services.api.rules.shared import refuse_faults, yaml_body
from services.api.store import system
from services.api.store.database import Connection
from services.api.web.preconditions import etag, expected_version, stale
from services.api.web.problems import ApiError
from services.domain import calendar
from services.domain.access import Permission
from services.domain.orders import working_time
from services.domain.orders.classes import ALWAYS, Classes, OrderClass
from services.domain.orders.terms import Span, Step

log = structlog.get_logger(__name__)
router = APIRouter(
    prefix=f"{PREFIX}/communities/{{community_id}}/order-classes", tags=["orders 工单"], responses=PROBLEMS
)
LONGEST_DRILL = timedelta(hours=24)
SHOWN = 20
Note = Annotated[str, Query(max_length=500, description="为何修改，记入历史与审计 · why; kept in history and audit")]
CHANGES: dict[int | str, dict[str, Any]] = {
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster"},
    415: {"model": Problem, "description": "请发送 YAML · send YAML"},
    422: {"model": Problem, "description": "工单类别有误，逐行列出 · every fault with its line, in `errors`"},
    428: {"model": Problem, "description": "缺少 If-Match · the header is missing"},
}
_EXAMPLE = """\
classes:
  - id: emergency
    title: {zh: 紧急, en: Emergency}
    clocks:
      accept: {due: 1m, warn: 15s, ladder: {leader: 0s, desk: 1m, street: 2m}}
      resolve: {due: 4h, ladder: {desk: 0s}}
"""
BODY = {
    "requestBody": {
        "required": True,
        "content": {"text/yaml": {"schema": {"type": "string", "maxLength": 65536}, "example": _EXAMPLE}},
    }
}


@router.get("", summary="现行工单类别 The classes in force, with their text and history")
async def order_classes(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ORDERS)], response: Response
) -> OrderClassesOut:
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        found, classes = await store.classes_of(connection, community_id, context.clock.now())
        history = await store.versions(connection, community_id, limit=SHOWN)
        document = await store.document_of(connection, community_id, found.version)
    newest = history[0].version if history else 0
    response.headers.update(etag(newest))
    return OrderClassesOut(
        version=found.version,
        newest=newest,
        scale=found.scale,
        until=found.until,
        document=document or default_document(),
        classes=_classes(classes),
        history=[
            ClassVersionOut(
                version=one.version,
                at=one.created_at,
                by=one.created_by,
                note=one.note,
                removed=not one.document and one.scale is None,
                scale=one.scale,
                until=one.until,
            )
            for one in history
        ],
    )


@router.get("/defaults", summary="默认工单类别 The classes that come with LinHub")
async def defaults(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ORDERS)]
) -> DefaultClassesOut:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
    return DefaultClassesOut(document=default_document(), classes=_classes(load_defaults()))


@router.get("/calendars", summary="工作时日历及今后各日 The calendars, and the working time of the days to come")
async def calendars(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDERS)],
    days: Annotated[int, Query(ge=1, le=62)] = 14,
) -> CalendarsOut:
    """So that people see which holidays (and made-up working days 调休) the clocks go by."""
    now = context.clock.now()
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        found, classes = await store.classes_of(connection, community_id, now)
    today = now.astimezone(ZoneInfo(found.timezone)).date()
    names = (ALWAYS, *classes.calendars)
    return CalendarsOut(
        timezone=found.timezone,
        calendars=[
            CalendarOut(
                name=name,
                used_by=[one.id for one in classes.classes if one.calendar == name],
                days=list(_days(classes.spans(name), found.timezone, today, days)),
            )
            for name in names
        ],
    )


@router.put("", summary="修改工单类别 Write a version, in force at once", responses=CHANGES, openapi_extra=BODY)
async def put(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDER_CLASS_EDIT)],
    response: Response,
    note: Note = "",
) -> ClassesChangedOut:
    """If-Match names the version seen; the first: `If-None-Match: *`. Orders that stand keep their terms."""
    seen = expected_version(request)
    document = await yaml_body(request)
    if len(document) > 65536:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "超过 65536 字 · longer than 65536 characters")
    async with context.database.write() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        refuse_faults(read_text(document).findings)
        number = await _write(connection, ticket, community_id, "order_class.put", document, note, seen)
    response.headers.update(etag(number))
    return ClassesChangedOut(version=number, scale=1.0, until=None)


@router.delete("", summary="恢复默认 Put the defaults back in force", responses=CHANGES)
async def remove(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDER_CLASS_EDIT)],
    response: Response,
    note: Note = "",
) -> ClassesChangedOut:
    seen = expected_version(request)
    async with context.database.write() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        number = await _write(connection, ticket, community_id, "order_class.remove", "", note, seen)
    response.headers.update(etag(number))
    return ClassesChangedOut(version=number, scale=1.0, until=None)


@router.post("/drill", summary="演练：时限加速 A drill: faster clocks for a while", responses=CHANGES)
async def drill(
    community_id: str,
    body: DrillIn,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDER_CLASS_EDIT)],
    response: Response,
) -> ClassesChangedOut:
    """Orders opened until then run by the same classes on faster clocks; afterwards what counts now counts again."""
    seen, now = expected_version(request), context.clock.now()
    if not now < body.until <= now + LONGEST_DRILL:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "until 须在今后 24 小时内 · until lies within the next 24 hours"
        )
    async with context.database.write() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        document = await store.standing_document(connection, community_id)
        number = await _write(
            connection, ticket, community_id, "order_class.drill", document, body.note, seen, body.scale, body.until
        )
    response.headers.update(etag(number))
    return ClassesChangedOut(version=number, scale=body.scale, until=body.until)


@router.delete("/drill", summary="结束演练 End a drill: what counted before it counts again", responses=CHANGES)
async def end_drill(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDER_CLASS_EDIT)],
    response: Response,
) -> ClassesChangedOut:
    seen = expected_version(request)
    async with context.database.write() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        document = await store.standing_document(connection, community_id)
        number = await _write(connection, ticket, community_id, "order_class.drill_end", document, "", seen)
    response.headers.update(etag(number))
    return ClassesChangedOut(version=number, scale=1.0, until=None)


async def _write(
    connection: Connection,
    ticket: Ticket,
    community_id: str,
    what: str,
    document: str,
    note: str,
    seen: int,
    scale: float | None = None,
    until: datetime | None = None,
) -> int:
    """The next version and its line in the audit. Raises ApiError 412."""
    who = ticket.principal
    try:
        number = await store.write_version(
            connection, community_id, document, who.id, note, expected=seen, scale=scale, until=until
        )
    except store.VersionMoved as moved:
        raise stale(moved.current, None) from None
    detail: dict[str, Any] = {"version": number, "note": note}
    if scale is not None and until is not None:
        detail |= {"scale": scale, "until": until.isoformat()}
    await system.audit(connection, who, community_id, what, "order_classes", detail)
    log.info("order_classes_changed", community=community_id, version=number, by=who.id, what=what)
    return number


def _classes(classes: Classes) -> list[OrderClassOut]:
    return [_class(one) for one in classes.classes]


def _class(one: OrderClass) -> OrderClassOut:
    return OrderClassOut(
        id=one.id,
        title=LabelOut(zh=one.title.zh, en=one.title.en),
        calendar=one.calendar,
        mode=one.mode.value,
        clocks={
            name: ClassClockOut(
                due_s=clock.due_s, warn_s=clock.warn_s, ladder=_ladder(clock.ladder), nights=_ladder(clock.nights)
            )
            for name, clock in one.clocks.items()
        },
        needs={move: list(names) for move, names in one.needs.items()},
        pause_reasons=list(one.pause.reasons),
        pause_longest_s=one.pause.longest_s,
    )


def _ladder(steps: tuple[Step, ...]) -> dict[str, float]:
    return {step.rung.name.lower(): step.after_s for step in steps}


def _days(spans: tuple[Span, ...], zone: str, first: date, count: int) -> Iterator[DayOut]:
    place = ZoneInfo(zone)
    for number in range(count):
        day = first + timedelta(days=number)
        start = datetime(day.year, day.month, day.day, tzinfo=place)
        after = day + timedelta(days=1)
        end = datetime(after.year, after.month, after.day, tzinfo=place)
        found = working_time.stretches(spans, zone, start, end)
        note = calendar.note(day)
        yield DayOut(
            date=day,
            workday=calendar.is_workday(day),
            note=LabelOut(zh=note.zh, en=note.en) if note else None,
            stretches=[StretchOut(start=a.astimezone(place), end=b.astimezone(place)) for a, b in found],
            hours=round(sum((b - a).total_seconds() for a, b in found) / 3600, 4),
        )
