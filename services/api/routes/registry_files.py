"""Sheets of places and devices: exported as they stand, imported in two steps, checked and then done."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from services.adapters.registry import csv_file, editing, importing
from services.adapters.registry.csv_file import MOST_BYTES
from services.adapters.registry.importing import Outcome
from services.adapters.registry.places import E
from services.adapters.registry.provision import Faulty
from services.adapters.registry.sheets import COLUMNS, What, place_cells, said_of
from services.api.answers.models import Problem
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Context, Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.registry.models import CellFaultOut, ImportApplied, ImportOut, WouldOut
from services.api.registry.shared import label_out, profiles, refused_faults, secret_out
from services.api.store import system
from services.api.store.database import Connection
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission

router = APIRouter(prefix=f"{PREFIX}/communities/{{community_id}}/registry", tags=["registry 档案"], responses=PROBLEMS)

SHOWN = 500
KEPT = timedelta(hours=1)
"""A sheet that was checked may be applied so long."""
Sort = Annotated[What, Query(description="places 空间, devices 设备")]
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "CSV, UTF-8 with BOM"}
}
_steps: dict[UUID, tuple[str, int]] = {}
"""How far the imports are that this process applies now."""


@router.get("/export", summary="导出 Places or devices as CSV", response_class=StreamingResponse, responses=_CSV)
async def export(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY)],
    what: Sort,
    lang: Literal["zh", "en"] = "zh",
) -> StreamingResponse:
    """As import takes it. Texts that a spreadsheet would take for formulas stand behind an apostrophe."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
    name = f"{community_id}-{what}-{context.clock.now():%Y%m%d}.csv"
    return StreamingResponse(
        _lines(context, community_id, what, lang),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


async def _lines(context: Context, community_id: str, what: What, lang: str) -> AsyncIterator[str]:
    columns = COLUMNS[what]
    yield csv_file.head_line(columns, lang)
    if what == "places":
        async with context.database.read() as connection:
            rows = await connection.fetch(E["places_plain"], community_id)
        for start in range(0, len(rows), editing.PAGE):
            yield csv_file.written(map(place_cells, rows[start : start + editing.PAGE]), columns)
        return
    after: str | None = None
    while True:
        # A page at a time: a slow reader holds no connection.
        async with context.database.read() as connection:
            page = await editing.devices_page(connection, community_id, after=after, limit=editing.PAGE)
        yield csv_file.written(map(said_of, page), columns)
        if len(page) < editing.PAGE:
            return
        after = page[-1]["id"]


async def _body(request: Request) -> bytes:
    """Raises ApiError 413 and 415."""
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media not in ("text/csv", "application/csv", "application/vnd.ms-excel", "application/octet-stream"):
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "请发送 text/csv · send text/csv")
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise ApiError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"文件超过 {MOST_BYTES >> 20} MB，请拆分 · larger than {MOST_BYTES >> 20} MB; split the file",
                headers={"Connection": "close"},
            )
    return bytes(raw)


def _report(id: UUID, what: What, outcome: Outcome, state: Literal["checked", "applied", "faulty"]) -> ImportOut:
    added, changed, removed = (outcome.count(does) for does in ("add", "change", "remove"))
    return ImportOut(
        id=id,
        what=what,
        encoding=outcome.encoding,
        state=state,
        lines=outcome.lines,
        added=added,
        changed=changed,
        unchanged=max(0, outcome.lines - added - changed) if not outcome.faults else 0,
        removed=removed,
        fault_count=len(outcome.faults),
        faults=[
            CellFaultOut(line=one.line, column=one.column, words=label_out(one.words)) for one in outcome.faults[:SHOWN]
        ],
        rows=[
            WouldOut(line=one.line, id=one.id, does=one.does, columns=list(one.columns)) for one in outcome.does[:SHOWN]
        ],
        applicable=state == "checked" and not outcome.faults and bool(outcome.does),
    )


_SHEET: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}}}
}


@router.post("/imports", summary="导入校验 Check a sheet", openapi_extra=_SHEET)
async def check(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
    what: Sort,
    remove: Annotated[bool, Query(description="文件中没有的也删除（设备为停用）remove what the file has not")] = False,
) -> ImportOut:
    """Nothing is changed yet: the report says by line and column what is wrong and what would be done."""
    who, id, now = ticket.principal, uuid4(), context.clock.now()
    async with context.database.read() as connection:
        await community_in_scope(connection, who, community_id)
    raw = await _body(request)
    known = profiles(context.settings.profiles)
    async with context.database.hold() as connection:
        outcome = await importing.rehearse(connection, community_id, what, raw, removing=remove, profiles=known)
        out = _report(id, what, outcome, "faulty" if outcome.faults else "checked")
        if out.applicable:
            async with connection.transaction():
                await connection.execute(E["forget_imports"], now - 24 * KEPT)
                told, digest = out.model_dump_json(), bytes.fromhex(outcome.digest)
                await editing.add_import(connection, id, community_id, what, remove, raw, digest, told, who.id, now)
    return out


async def _import(connection: Connection, context: Context, ticket: Ticket, community_id: str, id: UUID) -> Any:
    await community_in_scope(connection, ticket.principal, community_id)
    row = await connection.fetchrow(E["import"], id)
    if row is None or row["community_id"] != community_id or row["created_by"] != ticket.principal.id:
        raise not_found("import", id)
    return row


@router.get("/imports/{import_id}", summary="导入进度 How far an import is")
async def progress(
    community_id: str, import_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)]
) -> ImportOut:
    """Only whoever brought the sheet sees it."""
    async with context.database.read() as connection:
        row = await _import(connection, context, ticket, community_id, import_id)
    step, done = _steps.get(import_id, ("", 0))
    return ImportOut.model_validate_json(row["report"]).model_copy(update={"step": step, "done": done})


@router.post(
    "/imports/{import_id}/apply",
    summary="执行导入 Do what was checked",
    responses={
        409: {
            "model": Problem,
            "description": "已执行、已过期或档案已变 · done already, too old, or the registry changed",
        }
    },
)
async def apply(
    community_id: str, import_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)]
) -> ImportApplied:
    """All of it or nothing, and exactly what the check has said. Secrets of new devices are in this answer alone."""
    who, now = ticket.principal, context.clock.now()
    try:
        async with context.database.hold() as connection, connection.transaction():
            row = await _import(connection, context, ticket, community_id, import_id)
            if row["created_at"] < now - KEPT:
                raise ApiError(
                    HTTPStatus.CONFLICT, "校验已过期，请重新上传 · the check is too old; upload the file again"
                )
            raw = await connection.fetchval(E["take_import"], import_id, now)
            if raw is None:
                raise ApiError(HTTPStatus.CONFLICT, "已执行过 · it was done already")

            def step(name: str, done: int, total: int) -> None:
                _steps[import_id] = (name, done)

            done = await importing.apply(
                connection,
                community_id,
                row["what"],
                raw,
                removing=row["removing"],
                profiles=profiles(context.settings.profiles),
                expected=row["digest"].hex(),
                actor=who.id,
                role=who.role.value,
                progress=step,
            )
            if done is None:
                raise ApiError(
                    HTTPStatus.CONFLICT,
                    "校验后档案已有变化，请重新上传 · the registry changed since the check; upload the file again",
                )
            outcome, secrets = done
            out = _report(import_id, row["what"], outcome, "applied")
            await connection.execute(E["empty_import"], import_id, out.model_dump_json())
            detail = {
                **{name: getattr(out, name) for name in ("added", "changed", "removed", "lines")},
                "sha256": hashlib.sha256(raw).hexdigest(),
                "secrets": len(secrets),
            }
            subject = f"import:{import_id}"
            await system.audit(connection, who, community_id, f"registry.import.{row['what']}", subject, detail)
    except Faulty as faulty:
        raise refused_faults(faulty.faults) from None
    finally:
        _steps.pop(import_id, None)
    return ImportApplied(report=out, secrets=[secret_out(one) for one in secrets])
