"""The states of a command and its moves as a table: from its request to its one end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.domain.vocabulary import Label


class CommandState(StrEnum):
    """Where a command stands; each has exactly one of the ends."""

    AWAITING = "awaiting"
    """A second person has to approve it."""
    QUEUED = "queued"
    """Not at the broker yet."""
    SENT = "sent"
    """The broker has it; the device has not answered."""
    ACKNOWLEDGED = "acknowledged"
    """The device has it and is at work."""
    EXECUTED = "executed"
    """The device says that it is done; what it measures does not show it yet."""
    CONFIRMED = "confirmed"
    """What the device measures shows it."""
    DONE = "done"
    """The device said so, and nothing that it measures could show it."""
    FAILED = "failed"
    """The device said that it could not."""
    EXPIRED = "expired"
    """Nobody approved or answered in time. What was sent may have been carried out."""
    UNCONFIRMED = "unconfirmed"
    """The device said that it is done, and what it measured afterwards did not show it in time."""
    CANCELLED = "cancelled"
    """Called back before it left."""
    REFUSED = "refused"
    """The second person said no, or whoever asked or approved may not do so any more."""


class CommandMove(StrEnum):
    REQUEST = "request"
    APPROVE = "approve"
    REJECT = "reject"
    CANCEL = "cancel"
    WITHDRAW = "withdraw"
    """Whoever answers for it lost the right to before it left."""
    PUT = "put"
    """Handed to the broker, for the first time or again."""
    SEND = "send"
    """The broker took it."""
    ACKNOWLEDGE = "acknowledge"
    EXECUTE = "execute"
    FINISH = "finish"
    FAIL = "fail"
    CONFIRM = "confirm"
    EXPIRE = "expire"
    LAPSE = "lapse"
    REVIEW = "review"
    """Somebody else judged afterwards what was sent without a second person."""


S, M = CommandState, CommandMove
ENDED = frozenset({S.CONFIRMED, S.DONE, S.FAILED, S.EXPIRED, S.UNCONFIRMED, S.CANCELLED, S.REFUSED})
OPEN = frozenset(S) - ENDED
OUT = frozenset({S.QUEUED, S.SENT, S.ACKNOWLEDGED})
"""A device may answer: its word may overtake the broker's that it took the command."""


@dataclass(frozen=True, slots=True)
class Legal:
    """One row of the table. `sources` None: there was nothing before. `to` None: the state stays."""

    move: CommandMove
    sources: frozenset[CommandState] | None
    to: CommandState | None


def _row(move: CommandMove, sources: frozenset[CommandState] | CommandState, to: CommandState | None) -> Legal:
    return Legal(move, frozenset({sources}) if isinstance(sources, CommandState) else sources, to)


TABLE: tuple[Legal, ...] = (
    Legal(M.REQUEST, None, S.AWAITING),
    Legal(M.REQUEST, None, S.QUEUED),
    _row(M.APPROVE, S.AWAITING, S.QUEUED),
    _row(M.REJECT, S.AWAITING, S.REFUSED),
    _row(M.CANCEL, frozenset({S.AWAITING, S.QUEUED}), S.CANCELLED),
    _row(M.WITHDRAW, S.QUEUED, S.REFUSED),
    _row(M.PUT, frozenset({S.QUEUED, S.SENT}), None),
    _row(M.SEND, S.QUEUED, S.SENT),
    _row(M.ACKNOWLEDGE, frozenset({S.QUEUED, S.SENT}), S.ACKNOWLEDGED),
    _row(M.EXECUTE, OUT, S.EXECUTED),
    _row(M.FINISH, OUT, S.DONE),
    _row(M.FAIL, OUT, S.FAILED),
    _row(M.CONFIRM, OUT | {S.EXECUTED}, S.CONFIRMED),
    _row(M.EXPIRE, OUT | {S.AWAITING}, S.EXPIRED),
    _row(M.LAPSE, S.EXECUTED, S.UNCONFIRMED),
    _row(M.REVIEW, frozenset(S), None),
)
"""Every legal move. What is not here is not done; the database keeps to the same table (`command_move`)."""


def _pairs() -> dict[tuple[CommandState | None, CommandState], CommandMove]:
    found: dict[tuple[CommandState | None, CommandState], CommandMove] = {}
    for row in TABLE:
        if row.sources is None and row.to is not None:
            found[None, row.to] = row.move
        elif row.move is not M.REVIEW:
            found |= {(source, row.to or source): row.move for source in row.sources or ()}
    return found


PAIRS: Mapping[tuple[CommandState | None, CommandState], CommandMove] = _pairs()
"""Which move leads from where to where; never two."""

STATE_LABELS: Mapping[CommandState, Label] = {
    S.AWAITING: Label("待批准", "Awaiting approval"),
    S.QUEUED: Label("待下发", "Queued"),
    S.SENT: Label("已下发", "Sent"),
    S.ACKNOWLEDGED: Label("设备执行中", "At work"),
    S.EXECUTED: Label("设备称已完成，待读数证实", "Executed, not shown yet"),
    S.CONFIRMED: Label("已证实", "Confirmed"),
    S.DONE: Label("已完成", "Done"),
    S.FAILED: Label("失败", "Failed"),
    S.EXPIRED: Label("已过期", "Expired"),
    S.UNCONFIRMED: Label("未证实", "Unconfirmed"),
    S.CANCELLED: Label("已取消", "Cancelled"),
    S.REFUSED: Label("已拒绝", "Refused"),
}
