"""What of a piece of evidence is written, who may see it, and how it is handed out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import structlog
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from services.adapters.evidence import Damaged, Missing, Store, StoreAway, rows
from services.adapters.orders import MoveRefused, apply_move, fetch_order, order_row
from services.api.answers import shapes
from services.api.answers.health import about_health
from services.api.answers.shapes import Row
from services.api.context import Context
from services.api.guard import in_scope
from services.api.orders.evidence_models import EvidenceOut, UploadFields
from services.api.store import work
from services.api.store.database import Connection
from services.api.uploads.intake import Taken
from services.api.web import meters
from services.api.web.problems import ApiError, not_found
from services.domain.access import Principal, reader_class
from services.domain.evidence import EvidenceSort, Ground, Phase, on_plan
from services.domain.ids import OrderId
from services.domain.orders import Actor, Move, MoveRequest, Refused, decide
from services.domain.people.privacy import Shown
from services.domain.vocabulary import Role

log = structlog.get_logger(__name__)

OUTSIDERS = frozenset({Role.RESIDENT, Role.MERCHANT, Role.VISITOR})
"""They see what they sent themselves, and nothing else."""
_EARLIEST = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
_AHEAD = timedelta(minutes=5)


async def visible_order(connection: Connection, who: Principal, order_id: UUID) -> Row:
    """The order, for whoever may see what belongs to it; else 404: not of outsiders, not of health for most."""
    found = await work.orders_by_ids(connection, [order_id])
    row = await in_scope(connection, who, found[0] if found else None, "order", order_id)
    if who.role in OUTSIDERS:
        raise not_found("order", order_id)
    return row


def hidden(row: Row, who: Principal) -> bool:
    """Whether an order's pictures are withheld: it is about somebody's health."""
    return shapes.order_masked(row, reader_class(who))


async def visible(connection: Connection, who: Principal, id: UUID, *, lock: bool = False) -> Row:
    """One piece of evidence, for whoever may see it; else 404."""
    row = await in_scope(connection, who, await rows.by_id(connection, id, lock=lock), "evidence", id)
    if who.role in OUTSIDERS:
        if row["uploaded_by"] != who.id:
            raise not_found("evidence", id)
        return row
    if row["order_id"] is not None:
        found = await work.orders_by_ids(connection, [row["order_id"]])
        if not found or hidden(found[0], who):
            raise not_found("evidence", id)
    if row["alert_id"] is not None:
        alerts = await work.alerts_by_ids(connection, [row["alert_id"]])
        if not alerts or alert_hidden(alerts[0], who):
            raise not_found("evidence", id)
    return row


async def shown_only(connection: Connection, who: Principal, found: list[Row]) -> list[Row]:
    """Without what came with an order that is about somebody's health, into whichever order that was merged."""
    ids = sorted({row["order_id"] for row in found if row["order_id"] is not None})
    kept = {row["id"] for row in await work.orders_by_ids(connection, ids) if not hidden(row, who)}
    return [row for row in found if row["order_id"] is None or row["order_id"] in kept]


def alert_hidden(row: Row, who: Principal) -> bool:
    private = any(about_health(rule_id) for rule_id in (row["rule_id"], *row["active_rules"]))
    return private and Shown.VITALS not in shapes.shown(reader_class(who), row)


def fields_of(taken: Taken) -> UploadFields:
    """The form beside the file. Raises ApiError 422."""
    try:
        return UploadFields.model_validate({name: text for name, text in taken.fields.items() if text})
    except ValidationError as error:
        what = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"表单有误 · the form is not valid: {what}") from None


def new_row(
    taken: Taken,
    fields: UploadFields,
    *,
    community: Row,
    ground: Ground,
    who: Principal,
    sort: EvidenceSort,
    phase: Phase,
    now: datetime,
    key: str | None,
) -> rows.NewEvidence:
    """Time and position come from the form, else from the file; both are claims, and impossible ones are left out."""
    file = taken.decoded
    at = fields.taken_at or file.taken_at
    if at is not None and at.tzinfo is None:
        at = at.replace(tzinfo=ZoneInfo(community["timezone"]))
    if at is not None and not _EARLIEST <= at <= now + _AHEAD:
        at = None
    latitude, longitude, datum = fields.latitude, fields.longitude, fields.datum
    if latitude is None or longitude is None:
        latitude, longitude, datum = file.latitude, file.longitude, type(fields.datum).WGS84
    x, y = (fields.x, fields.y) if fields.x is not None and fields.y is not None else (None, None)
    if x is None and latitude is not None and longitude is not None:
        x, y = on_plan(ground, latitude, longitude, datum) or (None, None)
    claimed = (("time",) if at else ()) + (("position",) if x is not None or latitude is not None else ())
    return rows.NewEvidence(
        id=uuid4(),
        community_id=community["id"],
        order_id=None,
        alert_id=None,
        sort=sort,
        phase=phase,
        sha256=taken.sha256,
        original_sha256=taken.original_sha256,
        thumb_sha256=taken.thumb_sha256,
        media_type=file.media_type,
        bytes=taken.size,
        width=file.width,
        height=file.height,
        duration_s=file.duration_s,
        taken_at=at,
        claimed=claimed,
        uploaded_at=now,
        uploaded_by=who.id,
        uploader_role=who.role.value,
        place=fields.place,
        x=x,
        y=y,
        latitude=latitude,
        longitude=longitude,
        idempotency_key=key,
    )


def ground_of(row: Row) -> Ground:
    return Ground(row["latitude"], row["longitude"], row["plan_width"], row["plan_height"])


def names_of(new: rows.NewEvidence) -> list[str]:
    """Of the objects it needs."""
    return [name for name in (new.sha256, new.thumb_sha256) if name]


async def written(connection: Connection, store: Store, new: rows.NewEvidence) -> tuple[Row, bool]:
    """The row, in the caller's transaction, and whether it is new; the objects are there when it commits.

    The caller holds the objects, then locks the order: a picture and a move that meet would else wait for each other.
    """
    row = await rows.insert(connection, new)
    if row is None:
        assert new.idempotency_key is not None  # noqa: S101 - nothing else conflicts
        known = await rows.by_key(connection, new.community_id, new.idempotency_key)
        assert known is not None  # noqa: S101 - it is what was in the way
        return known, False
    for name in names_of(new):
        try:
            await store.objects.size(name)
        except Missing:
            # Swept between its storing and now; the sender sends it again under the same key.
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE, "证据存储正忙，请重试 · the evidence store is busy; try again"
            ) from None
    return row, True


def refuse_early(order: Row, request: MoveRequest, actor: Actor, now: datetime) -> None:
    """Before a byte is read: whether this person may add to this order at all. Raises ApiError 422."""
    judged = decide(order_row(order).order, request, actor, now)
    if isinstance(judged, Refused):
        raise _no(judged)


async def told(connection: Connection, actor: Actor, row: Row, order_id: UUID, now: datetime, key: str | None) -> None:
    """The EVIDENCE move in the history. The order is locked, so no version can be stale. Raises ApiError 422."""
    current = await fetch_order(connection, order_id, lock=True)
    request = replace(move_of(row["id"], row["sort"], row["phase"], key), version=current.version)
    try:
        await apply_move(connection, OrderId(order_id), request, actor, now)
    except MoveRefused as refused:
        raise _no(refused.refused) from None


def move_of(id: UUID | str, sort: str, phase: str, key: str | None) -> MoveRequest:
    return MoveRequest(Move.EVIDENCE, 1, evidence_id=str(id), sort=str(sort), phase=str(phase), idempotency_key=key)


def _no(refused: Refused) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{refused.reason.zh} · {refused.reason.en}")


_SAME = tuple(
    name
    for name in EvidenceOut.model_fields
    if name not in ("sha256", "original_sha256", "uploader", "url", "thumbnail")
)


def out(row: Row, uploader: str | None = None) -> EvidenceOut:
    gone = row["removed_at"] is not None
    base = f"/api/v1/evidence/{row['id']}"
    return EvidenceOut(
        **{name: row[name] for name in _SAME},
        sha256=row["sha256"].hex(),
        original_sha256=row["original_sha256"].hex(),
        uploader=uploader or row.get("uploader") or row["uploaded_by"],
        url=None if gone else base,
        thumbnail=None if gone or row["thumb_sha256"] is None else f"{base}/thumbnail",
    )


# ------------------------------------------------------------------ handing out

_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
_SUFFIX = {
    "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "video/mp4": "mp4", "video/webm": "webm",
    "audio/mp4": "m4a", "audio/webm": "weba", "audio/ogg": "ogg",
}  # fmt: skip


async def handed_out(context: Context, request: Request, row: Row, *, thumb: bool) -> Response:
    """The object as bytes: proved to be what it was, in parts where asked, never as something a browser would run."""
    if row["removed_at"] is not None:
        raise ApiError(HTTPStatus.GONE, "该证据已被移除 · this piece of evidence was taken away")
    raw = row["thumb_sha256"] if thumb else row["sha256"]
    if raw is None:
        raise not_found("evidence", row["id"])
    name, media_type = raw.hex(), "image/webp" if thumb else row["media_type"]
    etag = f'"{name}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'inline; filename="{row["id"]}{"-small" if thumb else ""}.{_SUFFIX[media_type]}"',
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
    }
    if etag in (one.strip() for one in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    try:
        size = await context.intake.store.prove(name)
    except (Missing, Damaged) as error:
        why = "damaged" if isinstance(error, Damaged) else "missing"
        meters.UNREADABLE.labels(why).inc()
        log.error("evidence_unreadable", evidence=str(row["id"]), object=name, why=why)
        raise ApiError(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "证据文件缺失或已损坏，已记录 · the file is missing or damaged; this has been recorded",
        ) from None
    except StoreAway as error:
        meters.UNREADABLE.labels("away").inc()
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "证据存储暂不可用，请稍后重试 · the evidence store does not answer; try again",
            headers={"Retry-After": "5"},
        ) from error
    start, end, status = _part(request, etag, size)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise ApiError(
            status, "请求的范围超出文件 · there is no such part", headers={"Content-Range": f"bytes */{size}"}
        )
    if status == HTTPStatus.PARTIAL_CONTENT:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    return StreamingResponse(_bytes(context.intake.store, name, start, end), status, headers, media_type)


async def _bytes(store: Store, name: str, start: int, end: int) -> AsyncIterator[bytes]:
    async for chunk in store.read(name, start, end):
        yield chunk


def _part(request: Request, etag: str, size: int) -> tuple[int, int, int]:
    """(start, end, status) of RFC 9110 section 14; several parts at once are answered with the whole."""
    match = _RANGE.match(request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    if match is None or match[1] == match[2] == "" or condition not in (None, etag):
        return 0, size, HTTPStatus.OK
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
        empty = int(match[2]) == 0
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        empty = start >= end
    return (0, 0, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE) if empty else (start, end, HTTPStatus.PARTIAL_CONTENT)
