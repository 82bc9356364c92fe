"""What the routes of reports share: who somebody is to a report, tokens to follow one, shapes, and refusals."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import Request

from services.adapters.orders import MoveRefused, OrderNotFound, OrderRow, VersionConflict
from services.adapters.reports import KeyReused, NotNow, ReportNotFound, load_categories
from services.api.answers.models import LabelOut
from services.api.answers.shapes import label
from services.api.context import Context
from services.api.identity.auth import Ticket
from services.api.reports.models import CategoryOut, DeskReportOut, MineOut, ReportOut, ReportStepOut
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.ids import CommunityId
from services.domain.orders import Actor, Entry, OrderState
from services.domain.orders.moves import Who, sorts_of
from services.domain.reports import Category, Filing, Step, progress, stage
from services.domain.reports import rating as ratings
from services.domain.reports.words import WORDS
from services.domain.vocabulary import Label, Role

Row = Mapping[str, Any]
TOKEN_HEADER = "X-Report-Token"  # noqa: S105
NOBODY = "anonymous"
SHORTEST_KEY = 16
"""Of an Idempotency-Key without a login: whoever guessed one would be answered as its sender."""


def token_for(context: Context, community_id: str, key: str, digest: bytes) -> str:
    """The same for the same request, so that a retry is answered alike though only its hash is kept."""
    secret = context.settings.secret_key.get_secret_value().encode()
    text = f"report-token\n{community_id}\n{key}\n{digest.hex()}".encode()
    return base64.urlsafe_b64encode(hmac.digest(secret, text, "sha256")[:18]).decode()


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def may_report(ticket: Ticket | None) -> None:
    """Raises ApiError 403 for whoever has a login that is no person's."""
    if ticket is not None and not ticket.may(Permission.REPORT):
        raise ApiError(HTTPStatus.FORBIDDEN, "您的角色无此权限 · your role may not do this")


def address_of(request: Request) -> str:
    return request.client.host if request.client else "?"


def is_own(row: Row, ticket: Ticket | None, token: str | None) -> bool:
    if row["token_hash"] is not None:
        return token is not None and hmac.compare_digest(row["token_hash"], hash_of(token))
    return ticket is not None and row["reporter_id"] is not None and row["reporter_id"] == ticket.principal.id


def reporter_of(row: Row, ticket: Ticket | None) -> Actor:
    """Whoever reported it, as one who moves its order: a visitor of that community where nobody knows who."""
    community = CommunityId(row["community_id"])
    if row["token_hash"] is not None or ticket is None:
        return Actor(NOBODY, Role.VISITOR, None, community, reporter=True)
    who = ticket.principal
    return Actor(who.id, who.role, who.team, community, who.grid_id, reporter=True)


@contextmanager
def refusals(what: str, name: object) -> Iterator[None]:
    """What the adapters refuse, as problems."""
    try:
        yield
    except ReportNotFound:
        raise not_found("report", name) from None
    except OrderNotFound:
        raise not_found("order" if what == "report" else what, name) from None
    except NotNow as refused:
        raise ApiError(HTTPStatus.CONFLICT, said(refused.reason)) from None
    except KeyReused:
        raise ApiError(
            HTTPStatus.CONFLICT,
            "该 Idempotency-Key 已用于另一次上报 · this Idempotency-Key was used for another report",
        ) from None
    except VersionConflict as conflict:
        now = conflict.current
        raise ApiError(
            HTTPStatus.CONFLICT,
            f"工单已更新到第 {now.version} 版，请刷新后再试 · the order is at version {now.version}; read it again",
            errors=[{"version": now.version, "state": now.state.value}],
        ) from None
    except MoveRefused as refused:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, said(refused.reason)) from None


def said(words: Label) -> str:
    return f"{words.zh} · {words.en}"


def key_needed(key: str | None, shortest: int = 1) -> str:
    if not key or len(key) < shortest:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"缺少 Idempotency-Key 请求头（至少 {shortest} 个字符，每次上报取新值） · "
            f"send the header Idempotency-Key, {shortest} characters or more, a new value for each request",
        )
    return key


def category_named(name: str) -> Category:
    found = load_categories().get(name)
    if found is None:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"没有类别 {name} · there is no category {name}")
    return found


def category_out(one: Category) -> CategoryOut:
    return CategoryOut(
        id=one.id,
        sort=one.sort,
        title=label(one.title),
        severity=one.severity,
        photo=one.photo,
        waits_for_desk=one.filing is Filing.DESK,
        safety=label(one.safety) if one.safety else None,
    )


def title_of(category: str) -> LabelOut:
    found = load_categories().get(category)
    return label(found.title) if found else LabelOut(zh=category, en=category)


def stage_of(row: Row) -> Step:
    if row["withdrawn_at"] is not None:
        return Step.WITHDRAWN
    return stage(OrderState(row["state"]), filed=row["filed_at"] is not None, reworks=row["reworks"])


def next_words(category: Category, *, joined: bool) -> LabelOut:
    if joined:
        return LabelOut(
            zh="同一问题已在处理，您的上报已并入，进展会一并告知。",
            en="The same trouble is being dealt with already; yours was added to it, and you will hear how it goes.",
        )
    if category.filing is Filing.DESK:
        return LabelOut(
            zh="社区值班将核实并立案，结果与进展会告知您。",
            en="The community desk looks at it and decides; you will hear what becomes of it.",
        )
    return LabelOut(
        zh="已派单给值班队伍，接单、到场、处理完成都会告知您。",
        en="The team on duty has been told; you will hear when somebody takes it, arrives, and is done.",
    )


def mine(row: Row) -> MineOut:
    return MineOut(**_mine(row))


def _mine(row: Row) -> dict[str, Any]:
    step = stage_of(row)
    return {
        **{name: row[name] for name in ("id", "number", "category", "text", "place", "created_at", "rating")},
        "title": title_of(row["category"]),
        "stage": step,
        "words": label(WORDS[step]),
        "to_rate": row["rating"] is None
        and step in (Step.RESOLVED, Step.VERIFIED, Step.CLOSED)
        and row["resolved_at"] is not None,
    }


def own_report(
    row: Row,
    order: OrderRow,
    history: Sequence[Entry],
    notes: Sequence[Row],
    photos: tuple[list[UUID], list[UUID]],
    now: datetime,
) -> ReportOut:
    """`photos`: the reporter's own, and those of the place after the work."""
    lines = progress(order, history, row["created_at"], joined=row["joined"])
    steps = [ReportStepOut(step=one.step, at=one.at, words=label(one.words), reason=one.reason) for one in lines]
    if row["withdrawn_at"] is not None:
        words = label(WORDS[Step.WITHDRAWN])
        steps.append(ReportStepOut(step=Step.WITHDRAWN, at=row["withdrawn_at"], words=words))
    standing = {
        **row,
        "state": order.state,
        "filed_at": order.filed_at,
        "reworks": order.reworks,
        "resolved_at": order.resolved_at,
    }
    same = ("building_id", "x", "y", "joined", "withdrawn_at", "satisfied", "rating_comment")
    contact = ("contact_name", "contact_phone")
    return ReportOut(
        **_mine(standing),
        **{name: row[name] for name in (*same, *contact)},
        steps=steps,
        notes=[note["text"] for note in notes],
        own_photos=photos[0],
        after_photos=photos[1],
        may=_may(row, order, now),
    )


def _may(row: Row, order: OrderRow, now: datetime) -> list[Any]:
    given = ratings.Said(row["rating"], row["rated_at"], row["reworked_at"] is not None)
    can = {
        "rate": ratings.refuses_rating(order, given, now) is None,
        "urge": ratings.refuses_urge(order, row["urged_at"], now) is None,
        "withdraw": row["withdrawn_at"] is None and not order.ended,
        "add": not order.ended,
    }
    return [name for name, may in can.items() if may]


@dataclass(frozen=True, slots=True)
class Seen:
    """An order as much as a report's shape tells of it."""

    id: UUID
    number: int
    state: OrderState
    version: int
    team: str
    severity: str
    file_due: datetime | None


def seen(row: Row) -> Seen:
    """Of a row of `reports_in`."""
    return Seen(
        row["worked_on_id"],
        row["order_number"],
        OrderState(row["state"]),
        row["version"],
        row["team"],
        row["severity"],
        row["file_due"] if row["state"] == OrderState.CREATED else None,
    )


def seen_order(order: OrderRow) -> Seen:
    due = order.file_due if order.state is OrderState.CREATED else None
    return Seen(order.id, order.number, order.state, order.version, order.team, order.severity, due)


def handles(order: OrderRow, actor: Actor, now: datetime) -> bool:
    """Whether somebody works on the order, or answers for it: they may have to call."""
    return bool(sorts_of(order, actor, now) - {Who.OVERSEER, Who.REPORTER})


def is_desk(who: Principal) -> bool:
    return who.may(Permission.REPORT_DESK)


def masked_phone(phone: str | None) -> str | None:
    """138****1234: enough to tell two apart, too little to call."""
    if phone is None:
        return None
    digits = "".join(character for character in phone if character.isdigit())
    return f"{digits[:3]}****{digits[-4:]}" if len(digits) >= 9 else "****"


def masked_name(name: str | None) -> str | None:
    return None if name is None else f"{name[:1]}**"


_SAME = (
    "id", "number", "community_id", "category", "text", "place", "building_id", "unit_id", "household_id", "x", "y",
    "language", "created_at", "joined", "withdrawn_at", "urged_at", "rating", "satisfied", "rating_comment", "rated_at",
    "call_back", "call_back_note", "called_back_at",
)  # fmt: skip


def desk_report(
    row: Row, order: Seen, notes: Sequence[str], photos: Sequence[UUID], *, may_call: bool
) -> DeskReportOut:
    name, phone = row["contact_name"], row["contact_phone"]
    return DeskReportOut(
        **{field: row[field] for field in _SAME},
        title=title_of(row["category"]),
        anonymous=row["reporter_id"] is None,
        contact_name=name if may_call else masked_name(name),
        contact_phone=phone if may_call else masked_phone(phone),
        notes=list(notes),
        photos=list(photos),
        order_id=order.id,
        order_number=order.number,
        order_state=order.state,
        order_version=order.version,
        order_team=order.team,
        order_severity=order.severity,
        file_due=order.file_due,
    )
