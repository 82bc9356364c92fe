"""Duty rosters (值班表): rotas by version, the shifts they make, who is on duty now, gaps ahead, and staff."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import structlog
from fastapi import APIRouter, Path, Query, Request, Response

from services.adapters import outbox
from services.adapters.outbox import Outgoing
from services.adapters.rosters import (
    RosterConflict,
    RosterRefused,
    StoredPattern,
    changes,
    horizon,
    make_shifts,
    patterns,
    put_pattern,
    watch,
)
from services.adapters.rosters.patterns import pattern_versions
from services.api.answers.models import LabelOut, Problem
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders.roster_models import (
    GapOut,
    GapsOut,
    MadeOut,
    MakeIn,
    OnDutyOut,
    PersonOnDuty,
    RotaIn,
    RotaOut,
    RotaSaved,
    StaffIn,
    StaffList,
    StaffOut,
    TeamOnDuty,
)
from services.api.store import system
from services.api.store.database import Connection
from services.api.web.preconditions import etag, expected_version, stale
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.dispatch import SKILLS, Member, team_on_duty
from services.domain.ids import ID_PATTERN
from services.domain.rosters import Pattern, PatternError
from services.domain.vocabulary import Role, Team

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["rosters 值班"], responses=PROBLEMS)
ROTAS = "/communities/{community_id}/rotas"
RotaId = Annotated[str, Path(pattern=ID_PATTERN)]
CHANGES: dict[int | str, dict[str, Any]] = {
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster"},
    422: {"model": Problem, "description": "排班有误或与他班冲突，附原因 · refused, with the reason"},
    428: {"model": Problem, "description": "缺少 If-Match · the header is missing"},
}


@contextmanager
def refusals() -> Iterator[None]:
    """What the roster refuses, as a problem."""
    try:
        yield
    except RosterRefused as refused:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{refused.reason.zh} · {refused.reason.en}") from None


async def told(
    connection: Connection, who: Principal, community_id: str, action: str, subject: str, detail: dict[str, Any]
) -> None:
    """The audit, then the outbox: last in the transaction."""
    await system.audit(connection, who, community_id, f"roster.{action}", subject, detail)
    event = Outgoing("roster.changed", community_id, subject, "", {"why": action, **detail})
    await outbox.append(connection, [event])


def _rota(stored: StoredPattern) -> dict[str, Any]:
    one = stored.pattern
    return {
        "id": stored.id,
        "version": stored.version,
        "team": stored.team,
        "rota": RotaIn.model_validate(one.as_document()) if one is not None else None,
        "cover": one.required_cover if one is not None else None,
        "author": stored.author,
        "at": stored.at,
        "made_until": stored.until if one is not None else None,
    }


@router.get(ROTAS, summary="排班规则 Rotas, the latest version of each")
async def rotas(community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ROSTERS)]) -> list[RotaOut]:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        return [RotaOut(**_rota(one)) for one in await patterns(connection, community_id)]


@router.get(ROTAS + "/{rota_id}", summary="一份排班及其历史版本 One rota, its versions newest first")
async def rota(
    community_id: str,
    rota_id: RotaId,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTERS)],
    response: Response,
) -> list[RotaOut]:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        found = await pattern_versions(connection, community_id, rota_id)
    if not found:
        raise not_found("rota", rota_id)
    response.headers.update(etag(found[0].version))
    return [RotaOut(**_rota(one)) for one in found]


@router.put(ROTAS + "/{rota_id}", summary="保存排班并生成班次 Save a rota and make its shifts", responses=CHANGES)
async def put(
    community_id: str,
    rota_id: RotaId,
    body: RotaIn,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTER_EDIT)],
    response: Response,
) -> RotaSaved:
    """If-Match names the version seen; a new rota: `If-None-Match: *`. Shifts stand for the next 14 days at once.

    Shifts of the version before that have not begun fall away; stand-ins and swaps stay as people made them.
    """
    seen = expected_version(request)
    try:
        pattern = body.pattern()
    except PatternError as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    saved = await _save(context, ticket.principal, community_id, rota_id, pattern, seen)
    response.headers.update(etag(saved.version))
    return saved


@router.delete(ROTAS + "/{rota_id}", summary="停用排班 Withdraw a rota", responses=CHANGES)
async def withdraw(
    community_id: str,
    rota_id: RotaId,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTER_EDIT)],
    response: Response,
) -> RotaSaved:
    """Its shifts that have not begun fall away. A team without any rota counts as on duty whole."""
    saved = await _save(context, ticket.principal, community_id, rota_id, None, expected_version(request))
    response.headers.update(etag(saved.version))
    return saved


async def _save(
    context: Ctx, who: Principal, community_id: str, rota_id: str, pattern: Pattern | None, seen: int
) -> RotaSaved:
    now = context.clock.now()
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        try:
            with refusals():
                stored = await put_pattern(connection, community_id, rota_id, pattern, seen, who.id, now)
                made = await make_shifts(connection, community_id, rota_id, horizon(now), who.id, now, strict=True)
        except RosterConflict as conflict:
            raise stale(conflict.version, None) from None
        detail = {"team": stored.team.value, "version": stored.version, "rota": rota_id}
        await told(connection, who, community_id, "rota", f"rota:{rota_id}", detail)
    log.info("rota_saved", community=community_id, rota=rota_id, version=stored.version, by=who.id)
    values = _rota(stored) | {"made_until": made.until}
    return RotaSaved(**values, shifts_added=made.added, shifts_cancelled=made.cancelled)


@router.post(ROTAS + "/{rota_id}/generate", summary="生成班次 Make its shifts further ahead", responses=CHANGES)
async def generate(
    community_id: str,
    rota_id: RotaId,
    body: MakeIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTER_EDIT)],
) -> MadeOut:
    """Again adds nothing, and revives none that was cancelled: it needs no Idempotency-Key."""
    who, now = ticket.principal, context.clock.now()
    until = now + timedelta(days=body.days)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        if not await patterns(connection, community_id, rota_id):
            raise not_found("rota", rota_id)
        with refusals():
            made = await make_shifts(connection, community_id, rota_id, until, who.id, now, strict=True)
        if made.added or made.cancelled:
            detail = {"rota": rota_id, "added": made.added, "cancelled": made.cancelled}
            await told(connection, who, community_id, "generate", f"rota:{rota_id}", detail)
    return MadeOut(added=made.added, cancelled=made.cancelled, until=made.until)


@router.get("/communities/{community_id}/on-duty", summary="当前在岗 Who is on duty now, by team")
async def on_duty(community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ROSTERS)]) -> OnDutyOut:
    now = context.clock.now()
    async with context.database.read() as connection:
        community = await community_in_scope(connection, ticket.principal, community_id)
        return await who_is_on_duty(connection, community_id, ZoneInfo(community["timezone"]), now)


async def who_is_on_duty(connection: Connection, community_id: str, zone: ZoneInfo, now: datetime) -> OnDutyOut:
    day = now.astimezone(zone).date()
    kept = {one.team for one in await patterns(connection, community_id) if one.in_force(day)}
    rows = {row["id"]: row for row in await changes.on_duty(connection, community_id, now)}
    members = [
        Member(
            id=row["id"],
            role=Role(row["role"]),
            team=Team(row["team"]),
            leads=row["leads"] or row["post"] == "leader",
            grid_id=row["grid_id"],
            post=row["post"],
            rostered=Team(row["team"]) in kept,
        )
        for row in rows.values()
    ]
    teams = []
    for team in Team:
        present = team_on_duty(members, team)
        rostered = team in kept or any(one.post is not None for one in present)
        if not rostered and not present:
            continue
        people = [
            PersonOnDuty(
                user_id=one.id,
                display_name=rows[one.id]["display_name"],
                leads=one.leads,
                grid_id=one.grid_id,
                shift=rows[one.id]["name"],
                until=rows[one.id]["ends_at"],
                stands_in_for=rows[one.id]["stands_in_for"],
            )
            for one in present
        ]
        teams.append(TeamOnDuty(team=team, rostered=rostered, people=people))
    return OnDutyOut(at=now, people=sum(len(one.people) for one in teams), teams=teams)


@router.get("/communities/{community_id}/roster-gaps", summary="无人值班时段 Where nobody will be on duty")
async def roster_gaps(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTERS)],
    hours: Annotated[int, Query(ge=1, le=24 * 31, description="how far ahead to look")] = 48,
) -> GapsOut:
    now = context.clock.now()
    end = now + timedelta(hours=hours)
    async with context.database.read() as connection:
        community = await community_in_scope(connection, ticket.principal, community_id)
        found = await watch.gaps_ahead(connection, community_id, ZoneInfo(community["timezone"]), now, end)
    items = [
        GapOut(team=team, starts_at=one.starts_at, ends_at=one.ends_at) for team, gaps in found.items() for one in gaps
    ]
    return GapsOut(from_=now, to=end, items=sorted(items, key=lambda one: (one.starts_at, one.team)))


@router.get("/communities/{community_id}/staff", summary="可排班人员 Who can stand duty")
async def staff(community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ROSTERS)]) -> StaffList:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await changes.staff(connection, community_id)
    return StaffList(
        items=[_staff(row) for row in rows],
        skills={name: LabelOut(zh=label.zh, en=label.en) for name, label in SKILLS.items()},
    )


@router.put("/communities/{community_id}/staff/{user_id}", summary="设定队长、技能与网格 Set what somebody is and can")
async def set_staff(
    community_id: str,
    user_id: str,
    body: StaffIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTER_EDIT)],
) -> StaffOut:
    who = ticket.principal
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        if not any(row["id"] == user_id for row in await changes.staff(connection, community_id)):
            raise not_found("person", user_id)
        with refusals():
            row = await changes.set_staff(
                connection,
                community_id,
                user_id,
                body.leads,
                body.skills,
                body.grid_id,
                street_too=who.role is Role.ADMIN,
            )
        detail = {"user_id": user_id, "team": row["duty_team"], **body.model_dump(mode="json")}
        await told(connection, who, community_id, "staff", f"user:{user_id}", detail)
    return _staff(row)


def _staff(row: Any) -> StaffOut:
    names = ("username", "display_name", "role", "duty_team", "leads", "skills", "grid_id", "disabled")
    return StaffOut(user_id=row["id"], **{name: row[name] for name in names})
