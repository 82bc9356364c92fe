"""Silences and maintenance windows: made before, visible, ended early; and how many orders an hour are enough."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from fastapi import APIRouter

from services.adapters.outbox import Outgoing, append
from services.adapters.rules import load_defaults
from services.api.answers.models import LabelOut, Problem
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, State
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.rules.silence_models import CapsModel, CapsOut, MatchedOut, PreviewOut, SilenceIn, SilenceOut
from services.api.store import holding as store
from services.api.store import system
from services.api.web.problems import ApiError
from services.domain.access import Permission
from services.domain.engine.hold.caps import caps_of
from services.domain.engine.hold.silences import matcher_of, silence_of
from services.domain.vocabulary import Severity

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["silences 静默与检修"], responses=PROBLEMS)

SHOWN = 200


@dataclass(frozen=True, slots=True)
class _Named:
    """An open alert as a matcher looks at it."""

    rule_id: str
    family: str
    kind: str
    device_id: str | None
    building_id: str | None
    grid_id: str | None
    severity: Severity
    life_safety: bool


def _named(row: Row, *, life_safety: bool) -> _Named:
    same = {name: row[name] for name in ("rule_id", "family", "kind", "device_id", "building_id", "grid_id")}
    return _Named(**same, severity=Severity(row["severity"]), life_safety=life_safety)


def _out(row: Row, zone: str, now_ms: int) -> SilenceOut:
    active = silence_of(row, ZoneInfo(zone)).until(now_ms) is not None
    return SilenceOut(**{name: row[name] for name in SilenceOut.model_fields if name != "active"}, active=active)


def _refuse_life_safety(patterns: list[str]) -> None:
    """A pattern that names rules of life safety and nothing else would be a promise that is not kept."""
    rules = [rule for known in load_defaults().values() for rule in known]
    for pattern in patterns:
        named = [
            rule for rule in rules if fnmatchcase(rule.id, pattern) or fnmatchcase(rule.family or rule.id, pattern)
        ]
        if named and all(rule.life_safety for rule in named):
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"“{pattern}” 属于生命安全告警，不能静默 · {pattern} is of life safety and cannot be silenced",
            )


@router.get("/communities/{community_id}/silences", summary="静默与检修 Silences and maintenance windows")
async def silences(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ALERTS)], state: State = "open"
) -> list[SilenceOut]:
    now = context.clock.now()
    async with context.database.read() as connection:
        community = await community_in_scope(connection, ticket.principal, community_id)
        rows = await store.silences(connection, community_id, now, open_only=state == "open")
    return [_out(row, community["timezone"], context.clock.now_ms()) for row in rows]


@router.post("/communities/{community_id}/silences", summary="新建静默或检修 Make one")
async def create(
    community_id: str, body: SilenceIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SILENCES)]
) -> SilenceOut:
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        community = await community_in_scope(connection, who, community_id)
        if body.ends_at <= now:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "结束时间已过 · it would be over already")
        _refuse_life_safety(body.matcher.rules)
        row = await store.insert_silence(
            connection,
            community_id,
            body.sort,
            body.matcher.model_dump(mode="json", exclude_defaults=True),
            body.place,
            body.starts_at,
            body.ends_at,
            body.recurs.model_dump(mode="json", by_alias=True) if body.recurs else None,
            body.why,
            who.id,
        )
        out = _out(row, community["timezone"], context.clock.now_ms())
        told = out.model_dump(mode="json")
        subject = f"silence:{out.id}"
        await system.audit(connection, who, community_id, "silence.create", subject, told)
        await append(connection, [Outgoing("silence.created", community_id, str(out.id), "", told)])
    log.info("silence_created", silence=str(out.id), sort=out.sort, by=who.id, until=out.ends_at.isoformat())
    return out


@router.post("/communities/{community_id}/silences/preview", summary="预览 Which open alerts it would match")
async def preview(
    community_id: str, body: SilenceIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SILENCES)]
) -> PreviewOut:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await store.matchable(connection, community_id)
    matcher = matcher_of(body.matcher.model_dump(mode="json"))
    would = [row for row in rows if matcher.matches(_named(row, life_safety=False), row["household_id"])]
    matched = [row for row in would if not row["life_safety"]]
    return PreviewOut(
        matched=len(matched),
        life_safety=len(would) - len(matched),
        items=[
            MatchedOut(
                alert_id=row["id"],
                rule_id=row["rule_id"],
                severity=row["severity"],
                title=LabelOut(zh=row["title_zh"], en=row["title_en"]),
                place=row["place"],
                held=row["held"],
                order_id=row["order_id"],
            )
            for row in matched[:SHOWN]
        ],
    )


@router.post(
    "/silences/{silence_id}/end",
    summary="提前结束 End it now",
    responses={409: {"model": Problem, "description": "已结束 · it is over already"}},
)
async def end(silence_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SILENCES)]) -> SilenceOut:
    who = ticket.principal
    async with context.database.write() as connection:
        found = await in_scope(connection, who, await store.silence(connection, silence_id), "silence", silence_id)
        community = await community_in_scope(connection, who, found["community_id"])
        row = await store.end_silence(connection, silence_id, context.clock.now(), who.id)
        if row is None:
            raise ApiError(HTTPStatus.CONFLICT, "已经结束 · it is over already")
        out = _out(row, community["timezone"], context.clock.now_ms())
        told = out.model_dump(mode="json")
        await system.audit(connection, who, row["community_id"], "silence.end", f"silence:{silence_id}", {})
        await append(connection, [Outgoing("silence.ended", row["community_id"], str(silence_id), "", told)])
    log.info("silence_ended", silence=str(silence_id), by=who.id)
    return out


@router.get("/communities/{community_id}/alert-caps", summary="派单上限 Orders an hour at most")
async def caps(community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ALERTS)]) -> CapsOut:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        return _caps(await store.caps(connection, community_id))


@router.put("/communities/{community_id}/alert-caps", summary="设定派单上限 Set them")
async def set_caps(
    community_id: str, body: CapsModel, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SILENCES)]
) -> CapsOut:
    who = ticket.principal
    own: dict[str, Any] = body.model_dump(exclude_none=True)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        await store.set_caps(connection, community_id, own)
        row = await store.caps(connection, community_id)
        await system.audit(connection, who, community_id, "alert_caps.set", f"community:{community_id}", own)
    return _caps(row)


def _caps(row: Row) -> CapsOut:
    own = row["alert_caps"]
    device, community = own.get("device"), own.get("community")
    found = caps_of(row["devices"], device, community)
    return CapsOut(device=device, community=community, in_force={"device": found.device, "community": found.community})
