"""Replay (回放): the cockpit as it was, the marks under a scrubber, and what happened between two moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic_core import to_json
from starlette.responses import Response

from services.api.answers import shapes
from services.api.answers.models import LabelOut
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, answer
from services.api.context import Ctx
from services.api.data import past, store
from services.api.data.models import Density, Mark, MarksOut, ReplayEvent, ReplayEventsOut, ReplayOut
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.routes.devices import Instant
from services.api.routes.rollups import From, To
from services.api.store import work
from services.api.web import cursor
from services.api.web.problems import ApiError
from services.domain.access import Permission, ReaderClass, reader_class

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["replay 回放"], responses=PROBLEMS)

LONGEST = timedelta(days=31)
_BUCKETS = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 86400)
_MOST_BUCKETS = 300
_MARKS = 100


@router.get("/{community_id}/replay", response_model=ReplayOut, summary="回放：当时的画面 The picture of a past time")
async def replay(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REPLAY)],
    at: Annotated[Instant, Query(description="RFC 3339")],
) -> Response:
    """States from the newest reading by then, alerts and orders folded from their histories. What came late stands
    where it belongs. `last_seen_at` is not kept and not told."""
    if at > datetime.now(UTC) + timedelta(seconds=5):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "不能回放未来 · the future cannot be replayed")
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        shown = await past.picture(connection, community_id, reader_class(ticket.principal), at)
    await context.watchers.watches(ticket, community_id, "replay")
    return Response(to_json(shown), media_type="application/json", headers={"Cache-Control": "private, no-store"})


def _check(start: datetime, end: datetime) -> None:
    if not timedelta(0) < end - start <= LONGEST:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"时段最长 {LONGEST.days} 天 · from must lie before to, {LONGEST.days} days apart at most",
        )


@router.get("/{community_id}/replay/marks", response_model=MarksOut, summary="回放：刻度 Marks under a scrubber")
async def marks(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.REPLAY)], start: From, end: To
) -> Response:
    _check(start, end)
    reader = reader_class(ticket.principal)
    seconds = (end - start).total_seconds()
    bucket_s = next((one for one in _BUCKETS if seconds / one <= _MOST_BUCKETS), _BUCKETS[-1])
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await connection.fetch(store.Q["density"], community_id, start, end, timedelta(seconds=bucket_s))
        gravest = await connection.fetch(store.Q["gravest"], community_id, start, end, _MARKS)
    await context.watchers.watches(ticket, community_id, "replay")
    alerts = [shapes.alert(row, reader) for row in gravest]
    return answer(
        MarksOut(
            start=start,
            end=end,
            bucket_s=bucket_s,
            density=[
                Density(
                    ts_ms=round(row["at"].timestamp() * 1000),
                    alerts=row["alerts"],
                    critical=row["critical"],
                    orders=row["orders"],
                )
                for row in rows
            ],
            marks=[
                Mark(at=one.fired_at, what="alert", severity=one.severity, title=one.title, id=str(one.id))
                for one in sorted(alerts, key=lambda one: one.fired_at)
            ],
        )
    )


@router.get("/{community_id}/replay/events", response_model=ReplayEventsOut, summary="回放：事件 What happened")
async def events(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REPLAY)],
    start: From,
    end: To,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 500,
) -> Response:
    """Alerts, orders and devices that came and went; at a speed of its own, the page plays them over the picture."""
    _check(start, end)
    key = cursor.decode(after, 2)
    begun = None
    if key is not None:
        try:
            begun = datetime.fromisoformat(key[0])
        except ValueError:
            raise cursor.refused() from None
    reader = reader_class(ticket.principal)
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        args = (community_id, start, end, begun, key[1] if key else None, limit + 1)
        rows = await connection.fetch(store.Q["played"], *args)
        ids = {row["alert_id"] for row in rows if row["what"] == "alert"}
        alerts = {row["id"]: row for row in await work.alerts_by_ids(connection, list(ids))}
    await context.watchers.watches(ticket, community_id, "replay")
    page = rows[:limit]
    more = cursor.encode(page[-1]["at"].isoformat(), page[-1]["key"]) if len(rows) > limit else None
    items = [
        ReplayEvent(
            at=row["at"],
            what=row["what"],
            id=row["id"],
            state=row["state"],
            severity=row["severity"],
            title=_title(alerts[row["alert_id"]], row, reader) if row["what"] == "alert" else None,
        )
        for row in page
    ]
    return answer(ReplayEventsOut(items=items, next=more))


def _title(alert: Row, then: Row, reader: ReaderClass) -> LabelOut:
    """As of today's consents and of those of its time."""
    return shapes.alert({**alert, "consents": then["consents"]}, reader).title
