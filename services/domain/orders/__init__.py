"""Work orders (工单): the states, the legal moves, and who may make them. An order is the fold of its history."""

from services.domain.orders.clocks import Owed, attention_at, deadlines, overdue, running
from services.domain.orders.folding import fold
from services.domain.orders.moves import TABLE, Legal, Refused, allowed_moves, decide, needs_of
from services.domain.orders.needs import NEED_LABELS, REOPEN_WITHIN, Need, unmergeable
from services.domain.orders.order import TOP_RUNG, Draft, Entry, Order, Source, created
from services.domain.orders.people import SYSTEM, WHO_LABELS, Actor, Who, sorts_of
from services.domain.orders.requests import MoveRequest, digest, digest_of
from services.domain.orders.states import ENDED, MOVE_LABELS, STATE_LABELS, Move, OrderState
from services.domain.orders.terms import (
    CLOCKS,
    Clock,
    ClockTerm,
    Mode,
    Rung,
    Span,
    Step,
    Terms,
    plain_terms,
    with_filing,
)

__all__ = [
    "CLOCKS",
    "ENDED",
    "MOVE_LABELS",
    "NEED_LABELS",
    "REOPEN_WITHIN",
    "STATE_LABELS",
    "SYSTEM",
    "TABLE",
    "TOP_RUNG",
    "WHO_LABELS",
    "Actor",
    "Clock",
    "ClockTerm",
    "Draft",
    "Entry",
    "Legal",
    "Mode",
    "Move",
    "MoveRequest",
    "Need",
    "Order",
    "OrderState",
    "Owed",
    "Refused",
    "Rung",
    "Source",
    "Span",
    "Step",
    "Terms",
    "Who",
    "allowed_moves",
    "attention_at",
    "created",
    "deadlines",
    "decide",
    "digest",
    "digest_of",
    "fold",
    "needs_of",
    "overdue",
    "plain_terms",
    "running",
    "sorts_of",
    "unmergeable",
    "with_filing",
]
