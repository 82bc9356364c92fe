"""Work orders (工单): the states, the legal moves, and who may make them. An order is the fold of its history."""

from services.domain.orders.clocks import Owed, attention_at, deadlines, overdue, running
from services.domain.orders.moves import (
    SYSTEM,
    TABLE,
    Actor,
    Legal,
    MoveRequest,
    Need,
    Refused,
    Who,
    allowed_moves,
    decide,
)
from services.domain.orders.order import TOP_RUNG, Draft, Entry, Order, Source, created, fold
from services.domain.orders.states import ENDED, Move, OrderState
from services.domain.orders.terms import CLOCKS, Clock, ClockTerm, Mode, Rung, Span, Step, Terms, plain_terms

__all__ = [
    "CLOCKS",
    "ENDED",
    "SYSTEM",
    "TABLE",
    "TOP_RUNG",
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
    "fold",
    "overdue",
    "plain_terms",
    "running",
]
