"""Readings in bulk, as a file that is written while it is read."""

from __future__ import annotations

from datetime import UTC, timedelta
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse

from services.api.answers import shapes
from services.api.answers.health import asks_for
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.data import store
from services.api.data.exporting import Wanted, as_csv, as_parquet
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.privacy import audit
from services.api.privacy.access_to_health import people_in_emergency
from services.api.privacy.purposes import AskedFor, required
from services.api.routes.rollups import From, To
from services.api.store import system
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, reader_class
from services.domain.devices import BY_NAME
from services.domain.people.privacy import Purpose, Shown

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["export 导出"], responses=PROBLEMS)

LONGEST = timedelta(days=400)
_TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


@router.get(
    "/{community_id}/export/readings",
    summary="导出读数 Readings as CSV or Parquet",
    response_class=Response,
    responses={200: {"content": {media: {"schema": {"type": "string"}} for media in _TYPES.values()}}},
)
async def export(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.EXPORT)],
    kind: Annotated[str, Query(max_length=64, description="设备类型 · one kind a file")],
    start: From,
    end: To,
    devices: Annotated[
        str | None, Query(max_length=8192, description="设备编号，逗号分隔；缺省全部 · all by default")
    ] = None,
    metrics: Annotated[str | None, Query(max_length=512, description="指标；缺省全部 · all by default")] = None,
    format: Literal["csv", "parquet"] = "csv",
    purpose: Annotated[Purpose | None, AskedFor] = None,
) -> Response:
    """Columns: device, ts (UTC), the metrics. Health columns are there only for whoever may see health data, and only
    with a purpose, which is written to the audit; without `metrics`, they are left out. Whoever does not consent to all
    of the health columns asked for is left out whole, and from the moment on at which they withdraw; the header
    X-Left-Out says of how many devices nothing is given."""
    who, reader = ticket.principal, reader_class(ticket.principal)
    known = BY_NAME.get(kind)
    if known is None:
        raise not_found("metric", kind)
    if not timedelta(0) < end - start <= LONGEST:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"时段须在 {LONGEST.days} 天以内 · from must lie before to, {LONGEST.days} days apart at most",
        )
    asked = [word.strip() for word in metrics.split(",") if word.strip()] if metrics else None
    names = {metric.name for metric in known.metrics}
    for word in asked or ():
        if word not in names:
            raise not_found("metric", word)
    chosen = [
        (at + 1, metric)
        for at, metric in enumerate(known.metrics)
        if (metric.name in asked if asked is not None else not metric.health)
    ]
    health = Shown.NONE
    for _, metric in chosen:
        health |= asks_for(metric)
    if health and not reader.health:
        raise ApiError(HTTPStatus.FORBIDDEN, "无权导出健康数据 · you may not export health data")
    why = required(purpose, who) if health else None
    wanted = [word.strip() for word in devices.split(",") if word.strip()] if devices else None
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        rows = await connection.fetch(store.Q["devices_asked"], community_id, wanted, kind, 100_000)
        missing = set(wanted or ()) - {row["id"] for row in rows}
        if missing:
            raise not_found("device", ", ".join(sorted(missing)[:5]))
        found, opened = len(rows), frozenset[int]()
        if why is not None:
            people = await people_in_emergency(connection, who, why)
            rows = [row for row in rows if reader.sees_health(row["grid_id"])]
            opened = frozenset(row["device_no"] for row in rows if row["person_id"] in people)
            rows = [row for row in rows if row["device_no"] in opened or health in shapes.shown(reader, row)]
            of = ",".join(metric.name for _, metric in chosen if metric.health)
            for row in rows:
                await audit.health_read(connection, who, row, why, of)
        await system.audit(
            connection, who, community_id, "readings.export", f"community:{community_id}",
            {"kind": kind, "devices": len(rows), "metrics": [metric.name for _, metric in chosen], "format": format,
             "from": start.isoformat(), "to": end.isoformat()}
            | ({"purpose": why.value, "left_out": found - len(rows)} if why is not None else {}),
        )  # fmt: skip
    plan = Wanted(
        community_id, [row["device_no"] for row in rows], [(m.name, at) for at, m in chosen], start, end, health, opened
    )
    body = (as_parquet if format == "parquet" else as_csv)(context.database, plan)
    span = f"{start.astimezone(UTC):%Y%m%dT%H%MZ}-{end.astimezone(UTC):%Y%m%dT%H%MZ}"
    name = f"linhub-{community_id}-{kind}-{span}.{format}"
    return StreamingResponse(
        body,
        media_type=_TYPES[format],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "private, no-store",
            "X-Left-Out": str(found - len(rows)),
        },
    )
