"""Cases of city platforms: opened once, acted upon through the moves of their orders, shown in the platform's words."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from services.adapters import outbox
from services.adapters.city import cases
from services.adapters.city.cases import NewCase, Row, Wanted
from services.adapters.evidence import rows as evidence_rows
from services.adapters.orders import OrderRow, apply_move, fetch_history, fetch_order, insert_order
from services.api.answers.models import LabelOut
from services.api.answers.moves import actor_of
from services.api.answers.shapes import label
from services.api.city import shared
from services.api.city.case_models import (
    ActOut,
    CaseDetailOut,
    CaseIn,
    CaseOut,
    CaseStepOut,
    DeskCaseOut,
    PhotoOut,
    ResultOut,
)
from services.api.context import Context
from services.api.guard import community_in_scope, in_scope
from services.api.identity.auth import Ticket
from services.api.orders.evidence import ground_of
from services.api.reports.shared import category_named
from services.api.store import work
from services.api.store.database import Connection
from services.api.web.problems import ApiError
from services.domain.access import Principal
from services.domain.city.cases import ACTS, BY_STATE, Act, CaseState, System, case_id, result, state_of, steps
from services.domain.evidence import on_plan
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Actor, Draft, Move, MoveRequest, OrderState, Source, digest_of
from services.domain.reports import Filing
from services.domain.vocabulary import Label, Severity, Team

log = structlog.get_logger(__name__)

_TRIES = 3
_BESIDE_M = 200.0
"""A position so far beside the plan is a poor fix; beyond it is somewhere else."""
_STOPPABLE = frozenset({OrderState.CREATED, OrderState.DISPATCHED})


def opener(who: Principal) -> Actor:
    """As one who moves the order of their own case."""
    return replace(actor_of(who), reporter=True)


async def one(connection: Connection, ticket: Ticket, id: UUID, *, of: str | None = None) -> Row:
    """Raises 404 for a case out of scope or of another account; `of`: whose it has to be, None for anybody's."""
    rows = await cases.find(connection, Wanted(id, of))
    return await in_scope(connection, ticket.principal, rows[0] if rows else None, "case", id)


def own(ticket: Ticket) -> str | None:
    """Administrators see all cases of their scope, platforms their own."""
    return shared.own(ticket)


# ------------------------------------------------------------------ opening


async def opened(context: Context, ticket: Ticket, body: CaseIn) -> tuple[CaseDetailOut, bool]:
    """The case, and whether it is new. The same id and request again answers with it as it stands by then.

    Raises ApiError 404, 409 where the id stands for another request, 422.
    """
    who, asked, now = ticket.principal, digest_of(body.model_dump(mode="json")), context.clock.now()
    id = case_id(who.id, body.external_id)
    for _ in range(_TRIES):
        try:
            async with context.database.write() as connection:
                known = await cases.find(connection, Wanted(id, who.id))
                if not known:
                    await community_in_scope(connection, who, body.community_id)
                    await _open(connection, who, body, id, asked, now)
                elif known[0]["digest"] != asked:
                    raise _other(body, shown(known[0], now))
                row = known[0] if known else (await cases.find(connection, Wanted(id, who.id)))[0]
                return await detail(connection, row, now), not known
        except asyncpg.UniqueViolationError:
            continue  # the same request twice at once: the other one has opened it
    # It stands where the account reaches no more.
    raise _other(body, None)


def _other(body: CaseIn, known: CaseOut | None) -> ApiError:
    return ApiError(
        HTTPStatus.CONFLICT,
        f"编号 {body.external_id} 已用于另一案件，请换新编号，或用补充说明更新 · the id {body.external_id} stands for "
        "another request already; open a new one under a new id, or add to the case that stands",
        current=known.model_dump(mode="json") if known is not None else None,
    )


async def _open(connection: Connection, who: Principal, body: CaseIn, id: OrderId, asked: str, now: datetime) -> None:
    category = category_named(body.category) if body.category is not None else None
    severity = max(body.severity, category.severity if category else body.severity, key=lambda one: one.rank)
    draft = Draft(
        id=id,
        community_id=CommunityId(body.community_id),
        source=Source.PLATFORM,
        kind=category.id if category else "other",
        severity=severity,
        title=Label(body.title, body.title_en or body.title),
        team=category.team if category else Team.DESK,
        correlation=f"case@{id}",
        category=category.id if category else None,
        **await _spot(connection, body),
    )
    # A danger is never left waiting for somebody to file it.
    at_once = severity is Severity.CRITICAL or (category is not None and category.filing is Filing.AT_ONCE)
    _, outgoing = await insert_order(
        connection, draft, now, actor=opener(who), dispatch=at_once, note=body.text, asked=asked
    )
    new = NewCase(id, body.community_id, who.id, body.external_id, body.system, asked, now, body.due_at)
    await cases.insert(connection, new)
    await outbox.append(connection, outgoing)
    log.info("case_opened", correlation=draft.correlation, order=str(id), by=who.id, system=body.system.value)


async def _spot(connection: Connection, body: CaseIn) -> dict[str, Any]:
    """Where it is. A position outside of the community is left out: what is wanted is not refused for a poor fix.
    Raises ApiError 422 for a building that is not there."""
    place, building_id, grid_id, x, y = body.place, body.building_id, None, None, None
    if building_id is not None:
        building = await work.place_of_building(connection, body.community_id, building_id)
        if building is None:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "本社区没有该楼栋 · no such building in this community")
        place, grid_id = place or building["name"], building["grid_id"]
    if body.latitude is not None and body.longitude is not None:
        ground = ground_of(await evidence_rows.site(connection, body.community_id, None))
        point = on_plan(ground, body.latitude, body.longitude, body.datum)
        if point is not None and ground.outside_m(*point) <= _BESIDE_M:
            x, y = round(point[0], 2), round(point[1], 2)
    if grid_id is None and x is not None and y is not None:
        grid_id = await work.grid_of_point(connection, body.community_id, x, y)
    return {"place": place, "building_id": building_id, "grid_id": grid_id, "x": x, "y": y}


# ------------------------------------------------------------------ acting


async def locked(connection: Connection, ticket: Ticket, id: UUID) -> tuple[Row, OrderRow]:
    """The case and the order that it is worked on in, which is held. Raises ApiError 404, 409 where it is withdrawn."""
    row = await one(connection, ticket, id, of=own(ticket))
    order = await fetch_order(connection, row["worked_on"], lock=True)
    row = await one(connection, ticket, id, of=own(ticket))
    if row["worked_on"] != order.id:  # merged between the two reads
        order = await fetch_order(connection, row["worked_on"], lock=True)
    return row, order


def standing(row: Row, now: datetime) -> None:
    """Raises ApiError 409 for a case that its platform has withdrawn."""
    if row["withdrawn_at"] is not None:
        raise ApiError(
            HTTPStatus.CONFLICT,
            "案件已由平台撤销，请用新编号重新交办 · the case was withdrawn; open a new one under a new id",
            current=shown(row, now).model_dump(mode="json"),
        )


async def withdraw(connection: Connection, ticket: Ticket, id: UUID, reason: str, now: datetime) -> None:
    """Its order ends with it only where nobody has taken it up, nothing else hangs on it and no life can: else the
    order says so and goes on. Again changes nothing. Raises ApiError 403, 404, 409 where it is over."""
    row, order = await locked(connection, ticket, id)
    if row["withdrawn_at"] is not None:
        return
    who = ticket.principal
    if row["account_id"] != who.id:
        raise ApiError(
            HTTPStatus.FORBIDDEN, "只有交办的平台可以撤单 · only the platform that opened the case withdraws it"
        )
    if order.ended:
        state = BY_STATE[state_of(order.state)]
        words = state.words(System(row["system"]))
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"案件已终结（{words.zh}），不能撤销 · the case is over ({state.state.value}); nothing is left to withdraw",
            current=shown(row, now).model_dump(mode="json"),
        )
    stops = (
        not row["joined"]
        and order.state in _STOPPABLE
        and order.severity is not Severity.CRITICAL
        and await cases.alone(connection, id)
    )
    await cases.withdraw(connection, id, now)
    if stops:
        request = MoveRequest(Move.CANCEL, order.version, reason=reason)
    else:
        request = MoveRequest(Move.NOTE, order.version, note=f"平台撤单 · the platform withdraws its case: {reason}")
    await apply_move(connection, order.id, request, opener(who), now)
    log.info("case_withdrawn", order=str(id), by=who.id, order_ended=stops)


# ------------------------------------------------------------------ shapes


def state(row: Row) -> CaseState:
    return state_of(OrderState(row["state"]), withdrawn=row["withdrawn_at"] is not None)


def _fields(row: Row, now: datetime) -> dict[str, Any]:
    line, due = BY_STATE[state(row)], row["due_at"]
    end = row["withdrawn_at"] or row["closed_at"] or now
    same = ("id", "external_id", "community_id", "number", "joined", "opened_at", "due_at", "withdrawn_at")
    return {
        **{name: row[name] for name in same},
        "order_id": row["worked_on"],
        "system": System(row["system"]),
        "state": line.state,
        "words": label(line.words(System(row["system"]))),
        "over": line.over,
        "late": due is not None and end > due,
    }


def shown(row: Row, now: datetime) -> CaseOut:
    return CaseOut(**_fields(row, now))


def may(row: Row) -> list[Act]:
    """What the platform can do with it now."""
    if BY_STATE[state(row)].over:
        return []
    return [Act.URGE, Act.ADD, Act.HAND_OVER, Act.WITHDRAW]


async def detail(connection: Connection, row: Row, now: datetime) -> CaseDetailOut:
    history = await fetch_history(connection, row["id"])
    joined = await fetch_history(connection, row["worked_on"]) if row["joined"] else []
    came = None if row["joined"] else result(history)
    words = System(row["system"])
    return CaseDetailOut(
        **_fields(row, now),
        title=LabelOut(zh=row["title_zh"], en=row["title_en"]),
        place=row["place"],
        located=row["located"],
        severity=row["severity"],
        urges=row["urges"],
        steps=[
            CaseStepOut(
                state=step.state, words=label(BY_STATE[step.state].words(words)), at=step.at, reason=step.reason
            )
            for step in steps(history, joined, row["withdrawn_at"])
        ],
        result=ResultOut(note=came.note, resolved_at=came.resolved_at, rating=row["rating"], call_back=row["call_back"])
        if came is not None
        else None,
        photos=[_photo(row["id"], one) for one in await cases.photos(connection, row["id"]) if not one["removed_at"]],
        may=[ActOut(name=act, label=label(ACTS[act][1])) for act in may(row)],
    )


def _photo(id: UUID, row: Row) -> PhotoOut:
    url = f"/api/v1/city/cases/{id}/photos/{row['id']}"
    return PhotoOut(
        **{name: row[name] for name in ("id", "taken_at", "uploaded_at", "granted_at")},
        url=url,
        thumbnail=f"{url}?small=true" if row["thumb_sha256"] is not None else None,
    )


def desk_case(row: Row, now: datetime) -> DeskCaseOut:
    return DeskCaseOut(
        **_fields(row, now),
        account_id=row["account_id"],
        account=row["account"] or row["account_id"],
        title=LabelOut(zh=row["title_zh"], en=row["title_en"]),
        place=row["place"],
        severity=row["severity"],
        urges=row["urges"],
        photos=row["given"],
    )
