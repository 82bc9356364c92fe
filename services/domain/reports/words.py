"""How an order goes, in the words of whoever reported it: steps with times, without names, teams or figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.domain.orders.order import Entry, Order, Source
from services.domain.orders.states import Move, OrderState
from services.domain.vocabulary import Label


class Step(StrEnum):
    RECEIVED = "received"
    JOINED = "joined"
    DISPATCHED = "dispatched"
    ACCEPTED = "accepted"
    ARRIVED = "arrived"
    PAUSED = "paused"
    RESUMED = "resumed"
    RESOLVED = "resolved"
    VERIFIED = "verified"
    CLOSED = "closed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    NO_TROUBLE = "no_trouble"
    REWORK = "rework"
    URGED = "urged"
    WITHDRAWN = "withdrawn"


WORDS: Mapping[Step, Label] = {
    Step.RECEIVED: Label("已受理", "Received"),
    Step.JOINED: Label("并入同一问题的工单一起处理", "Joined to what is being done about the same trouble"),
    Step.DISPATCHED: Label("已派单", "Somebody was sent"),
    Step.ACCEPTED: Label("已接单", "Somebody is on the way"),
    Step.ARRIVED: Label("已到场", "Somebody is there"),
    Step.PAUSED: Label("暂缓处理", "On hold"),
    Step.RESUMED: Label("恢复处理", "Taken up again"),
    Step.RESOLVED: Label("已处理，请评价", "Done; please rate it"),
    Step.VERIFIED: Label("已核查", "Checked"),
    Step.CLOSED: Label("已结案", "Closed"),
    Step.REFUSED: Label("不予立案", "Not taken on"),
    Step.CANCELLED: Label("已取消", "Cancelled"),
    Step.NO_TROUBLE: Label("现场核实未发现问题", "Looked at on site; nothing was found"),
    Step.REWORK: Label("重新处理", "Being done again"),
    Step.URGED: Label("已督办", "The desk asks for it to be done now"),
    Step.WITHDRAWN: Label("已撤回", "Withdrawn"),
}

_OF_MOVE: Mapping[Move, Step] = {
    Move.CREATE: Step.RECEIVED,
    Move.DISPATCH: Step.DISPATCHED,
    Move.ACCEPT: Step.ACCEPTED,
    Move.ARRIVE: Step.ARRIVED,
    Move.PAUSE: Step.PAUSED,
    Move.RESUME: Step.RESUMED,
    Move.RESOLVE: Step.RESOLVED,
    Move.VERIFY: Step.VERIFIED,
    Move.CLOSE: Step.CLOSED,
    Move.FALSE_ALARM: Step.NO_TROUBLE,
    Move.REOPEN: Step.REWORK,
    Move.URGE: Step.URGED,
    Move.MERGE: Step.JOINED,
}
"""Moves that are not here are the house's own business: bounces, rungs, clocks, notes."""


def step_of(move: Move, *, filed: bool) -> Step | None:
    """What a move means to whoever reported it; None: nothing. `filed`: it had been dispatched before."""
    if move is Move.CANCEL:
        return Step.CANCELLED if filed else Step.REFUSED
    return _OF_MOVE.get(move)


def stage(state: OrderState, *, filed: bool, reworks: int) -> Step:
    """Where an order stands, in one word. `filed`: it was dispatched at some time."""
    match state:
        case OrderState.CREATED:
            return Step.RECEIVED
        case OrderState.DISPATCHED | OrderState.RETURNED:
            return Step.REWORK if reworks else Step.DISPATCHED
        case OrderState.CANCELLED:
            return Step.CANCELLED if filed else Step.REFUSED
        case OrderState.FALSE_ALARM:
            return Step.NO_TROUBLE
        case OrderState.MERGED:
            return Step.JOINED
        case _:
            return Step(state.value)


@dataclass(frozen=True, slots=True)
class Line:
    """One step as the reporter reads it."""

    step: Step
    at: datetime
    words: Label
    reason: str | None = None


def progress(order: Order, history: Iterable[Entry], reported_at: datetime, *, joined: bool) -> list[Line]:
    """The steps of a report, oldest first.

    A reason is told where the desk wrote it for them: when it refuses or cancels an order that residents opened.
    """
    lines: list[Line] = []
    if joined:
        lines.append(Line(Step.RECEIVED, reported_at, WORDS[Step.RECEIVED]))
        lines.append(Line(Step.JOINED, reported_at, WORDS[Step.JOINED]))
    filed = False
    for entry in history:
        step = step_of(entry.move, filed=filed)
        filed = filed or entry.move is Move.DISPATCH
        if step is None or (joined and step is Step.RECEIVED):
            continue
        told = step in (Step.REFUSED, Step.CANCELLED) and order.source is Source.RESIDENT
        if lines and lines[-1].step is step and step is Step.DISPATCHED:
            continue
        lines.append(Line(step, entry.at, WORDS[step], entry.reason if told else None))
    return sorted(lines, key=lambda line: line.at)


def said(step: Step, number: int, reason: str | None = None) -> Label:
    """One sentence for a notice to the reporter, by the number they know."""
    words = WORDS[step]
    zh, en = f"您的上报 {number}：{words.zh}", f"Your report {number}: {words.en}"
    return Label(f"{zh}。原因：{reason}" if reason else f"{zh}。", f"{en}. Reason: {reason}" if reason else f"{en}.")
