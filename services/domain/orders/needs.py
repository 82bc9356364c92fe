"""What a move needs beside somebody who may make it: words, people, pictures, and what no form can fill in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from services.domain.orders.clocks import pause_ends_at
from services.domain.orders.order import TOP_RUNG, Order
from services.domain.orders.pauses import named
from services.domain.orders.people import Actor
from services.domain.orders.requests import MoveRequest
from services.domain.orders.states import Move, OrderState
from services.domain.vocabulary import Label, Severity

REOPEN_WITHIN = timedelta(days=15)
"""An order that ended longer ago is history: the same trouble opens a new one."""
OUTCOMES = ("satisfied", "unsatisfied", "unreached")


class Need(StrEnum):
    """The first group is asked of the person, the second must be there before, the third nobody can fill in."""

    REASON = "reason"
    NOTE = "note"
    PLACE = "place"
    TEAM = "team"
    PERSON = "person"
    MERGE_INTO = "merge_into"
    PAUSE_REASON = "pause_reason"
    EVIDENCE = "evidence"
    OUTCOME = "outcome"
    RATING = "rating"
    ON_SITE = "on_site"
    """The arrival was checked by position or by the code of the place."""
    PHOTO_BEFORE = "photo_before"
    PHOTO_AFTER = "photo_after"
    SIGNATURE = "signature"
    OTHER_PERSON = "other_person"
    """Nobody who has worked on it."""
    FIRST_RETURN = "first_return"


NEED_LABELS: dict[Need, Label] = {
    Need.REASON: Label("请填写原因", "A reason is needed"),
    Need.NOTE: Label("请填写处置说明", "A note on what was done is needed"),
    Need.PLACE: Label("请填写地点", "The place is needed"),
    Need.TEAM: Label("请选择队伍", "A team is needed"),
    Need.PERSON: Label("请指定人员", "A person must be named"),
    Need.MERGE_INTO: Label("请指明并入的工单", "The order it is merged into is needed"),
    Need.PAUSE_REASON: Label("请选择暂停原因", "One of the reasons for a pause is needed"),
    Need.EVIDENCE: Label("缺少证据", "Evidence is needed"),
    Need.OUTCOME: Label("请填写回访结果", "What was answered is needed: satisfied, unsatisfied or unreached"),
    Need.RATING: Label("请给出 1 至 5 分", "A rating from 1 to 5 is needed"),
    Need.ON_SITE: Label("须到场核验（定位或扫描地点码）", "The arrival must be checked by position or place code"),
    Need.PHOTO_BEFORE: Label("缺少处置前照片", "A photo from before the work is needed"),
    Need.PHOTO_AFTER: Label("缺少处置后照片", "A photo from after the work is needed"),
    Need.SIGNATURE: Label("缺少签名", "A signature is needed"),
    Need.OTHER_PERSON: Label(
        "须由未参与处置的其他人进行（核查人不得为接单人、处置人）",
        "It must be done by someone other than who resolved it or worked on it",
    ),
    Need.FIRST_RETURN: Label(
        "工单只能退回一次，现为强制派单", "An order can be returned once only; this one is forced"
    ),
}

_ASKED: dict[Need, Callable[[Order, MoveRequest], object]] = {
    Need.REASON: lambda order, asked: (asked.reason or "").strip(),
    Need.NOTE: lambda order, asked: (asked.note or "").strip(),
    Need.PLACE: lambda order, asked: (asked.place or order.place).strip(),
    Need.TEAM: lambda order, asked: asked.team,
    Need.PERSON: lambda order, asked: asked.assignee_id or asked.people,
    Need.MERGE_INTO: lambda order, asked: asked.merge_into,
    Need.PAUSE_REASON: lambda order, asked: asked.pause_reason in order.terms.pause_reasons,
    Need.EVIDENCE: lambda order, asked: asked.evidence_id,
    Need.OUTCOME: lambda order, asked: asked.outcome in OUTCOMES,
    Need.RATING: lambda order, asked: asked.rating in range(1, 6),
    Need.ON_SITE: lambda order, asked: order.on_site or (asked.on_site or {}).get("by"),
    Need.PHOTO_BEFORE: lambda order, asked: order.photos_before,
    Need.PHOTO_AFTER: lambda order, asked: order.photos_after,
    Need.SIGNATURE: lambda order, asked: order.signatures,
}


def of_class(order: Order, move: Move) -> frozenset[Need]:
    """What its class asks of this move; a name that nobody knows asks for nothing, so that it can stop nobody."""
    return frozenset(Need(name) for name in order.terms.needs.get(move.value, ()) if name in list(Need))


def missing(order: Order, request: MoveRequest, needs: Iterable[Need]) -> tuple[Need, ...]:
    """Those that the request and the order leave open, in the order of the list above."""
    wanted = frozenset(needs)
    return tuple(need for need in Need if need in wanted and need in _ASKED and not _ASKED[need](order, request))


def words_for(order: Order, open_needs: tuple[Need, ...]) -> Label:
    """All that is missing, in one line."""
    labels = [NEED_LABELS[need] for need in open_needs]
    if Need.PAUSE_REASON in open_needs:
        allowed = named(order.terms.pause_reasons)
        labels[open_needs.index(Need.PAUSE_REASON)] = Label(
            f"请选择暂停原因：{allowed.zh}", f"A pause needs one of these reasons: {allowed.en}"
        )
    return Label("；".join(one.zh for one in labels), "; ".join(one.en for one in labels))


def barred(
    order: Order,
    actor: Actor,
    move: Move,
    needs: frozenset[Need],
    now: datetime | None,
    asked: MoveRequest | None = None,
) -> Label | None:
    """Why this person cannot make the move whatever they fill in. `now` None: what time forbids is left out.

    `asked`: the request, where there is one. The system alone may ask the top rung again while nobody has accepted,
    and end a pause before its time when the alert calls again.
    """
    system = actor.role is None
    if Need.OTHER_PERSON in needs and not system and (actor.id == order.resolved_by or actor.id in order.workers):
        return NEED_LABELS[Need.OTHER_PERSON]
    if Need.FIRST_RETURN in needs and (order.returns > 0 or order.forced):
        return NEED_LABELS[Need.FIRST_RETURN]
    match move:
        case Move.ACCEPT if order.state is OrderState.ACCEPTED and actor.id == order.assignee_id:
            return Label("您已接单", "You have it already")
        case Move.ESCALATE if order.rung >= TOP_RUNG and not (system and asked is not None and asked.clock == "accept"):
            return Label("已升级到最高一级", "It already stands on the top rung of the ladder")
        case Move.PAUSE if not order.terms.pause_reasons:
            return Label("此类工单不能暂停", "Orders of this class cannot be paused")
        case Move.PAUSE if order.severity is Severity.CRITICAL and order.arrived_at is None:
            return Label("紧急工单到场前不能暂停", "A critical order cannot be paused before somebody has arrived")
        case Move.RESUME if system and not (_pause_over(order, now) or (asked is not None and asked.alert_id)):
            return Label("暂停尚未到期", "The pause is not over yet")
        case Move.REOPEN if order.ended and _long_over(order, now):
            return Label(
                f"工单结束已超过 {REOPEN_WITHIN.days} 天，请另开工单",
                f"It ended more than {REOPEN_WITHIN.days} days ago; open a new order",
            )
    return None


def _pause_over(order: Order, now: datetime | None) -> bool:
    ends_at = pause_ends_at(order)
    return ends_at is not None and (now is None or now >= ends_at)


def _long_over(order: Order, now: datetime | None) -> bool:
    return now is not None and order.closed_at is not None and now - order.closed_at > REOPEN_WITHIN


def wrong(order: Order, request: MoveRequest, actor: Actor, now: datetime) -> Label | None:
    """What was filled in and cannot be."""
    if request.merge_into is not None and request.merge_into == order.id:
        return Label("工单不能并入自身", "An order cannot be merged into itself")
    if request.pause_until is not None and request.pause_until <= now:
        return Label("暂停截止时间已过", "The pause would be over already")
    rung = request.rung if request.move is Move.ESCALATE and actor.role is not None else None
    if rung is not None and rung <= order.rung:
        return Label("已在这一级或更高一级", "It already stands on that rung or above")
    return None


def unmergeable(order: Order, into: Order) -> Label | None:
    """Why the one cannot become part of the other."""
    if into.id == order.id:
        return Label("工单不能并入自身", "An order cannot be merged into itself")
    if into.community_id != order.community_id:
        return Label("只能并入本社区的工单", "It can be merged only into an order of its own community")
    if into.ended:
        return Label("并入的工单已终结", "The order it would be merged into has ended")
    if into.state in (OrderState.RESOLVED, OrderState.VERIFIED):
        return Label("并入的工单已处置完毕", "The work of the order it would be merged into is done already")
    if into.dispatched_at is None and order.dispatched_at is not None:
        return Label("并入的工单尚未立案", "The order it would be merged into was not dispatched yet")
    return None
