"""People as CSV, in and out."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from services.adapters.registry import csv_file
from services.adapters.registry.csv_file import Unreadable
from services.api.answers.models import LabelOut
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.people import store
from services.api.people.models import FaultLineOut, PeopleImportOut
from services.api.people.sheet import COLUMNS, Compared, compared, ids_of, sheet_row
from services.api.people.store import PeopleFilter, Q
from services.api.privacy.purposes import AskedFor, required
from services.api.store import system
from services.api.web.problems import ApiError
from services.domain.access import Permission
from services.domain.people.privacy import Purpose

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["people 人口"], responses=PROBLEMS)
MOST_FAULTS = 200
Lang = Annotated[Literal["zh", "en"], Query(description="表头与标签的语言 · of head and tags")]


@router.post(
    "/communities/{community_id}/people/import",
    summary="导入人口（CSV） Import people",
    openapi_extra={"requestBody": {"content": {"text/csv": {"schema": {"type": "string"}}}, "required": True}},
)
async def bring(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PEOPLE_EDIT)],
    dry_run: Annotated[bool, Query(description="只检查不写入 · check only")] = True,
) -> PeopleImportOut:
    """UTF-8 or GB18030, heads in Chinese or English. All or nothing: with a single fault nothing is written."""
    who = ticket.principal
    raw = await request.body()
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        try:
            sheet = csv_file.read(raw, COLUMNS)
        except Unreadable as error:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error.words.zh} · {error.words.en}") from None
        known = await store.known_people(connection, community_id, ids_of(sheet))
        found = compared(sheet, community_id, known, await store.homes(connection, community_id))
        if not dry_run and not found.faults and found.writes:
            await connection.execute(Q["import_people"], community_id, found.writes)
            detail = {"added": found.added, "changed": found.changed}
            await system.audit(connection, who, community_id, "person.import", f"community:{community_id}", detail)
    if not dry_run and not found.faults:
        log.info("people_imported", community=community_id, added=found.added, changed=found.changed, by=who.id)
    return _report(found, dry_run, sheet.encoding)


def _report(found: Compared, dry_run: bool, encoding: str) -> PeopleImportOut:
    return PeopleImportOut(
        dry_run=dry_run or bool(found.faults),
        encoding=encoding,
        lines=found.lines,
        added=found.added,
        changed=found.changed,
        unchanged=found.unchanged,
        faults=[
            FaultLineOut(line=one.line, column=one.column, words=LabelOut(zh=one.words.zh, en=one.words.en))
            for one in found.faults[:MOST_FAULTS]
        ],
        more_faults=max(0, len(found.faults) - MOST_FAULTS),
    )


@router.get(
    "/communities/{community_id}/people/export",
    summary="导出人口（CSV） People as a sheet",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "CSV"}},
)
async def export(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.PEOPLE_EDIT)],
    purpose: Annotated[Purpose | None, AskedFor] = None,
    lang: Lang = "zh",
) -> Response:
    """Everybody, whole, with tags of health and hardship: for a purpose, which is written down."""
    who = ticket.principal
    asked = required(purpose, who)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        rows = await store.people(connection, community_id, PeopleFilter(), after=None, limit=None)
        detail = {"purpose": asked.value, "people": len(rows)}
        await system.audit(connection, who, community_id, "person.export", f"community:{community_id}", detail)
    headers = {"Content-Disposition": f'attachment; filename="people-{community_id}.csv"'}
    return StreamingResponse(_lines(rows, lang), media_type="text/csv; charset=utf-8", headers=headers)


def _lines(rows: list[Row], lang: str) -> Iterator[str]:
    yield csv_file.head_line(COLUMNS, lang)
    for start in range(0, len(rows), 500):
        yield csv_file.written((sheet_row(row, lang) for row in rows[start : start + 500]), COLUMNS)
