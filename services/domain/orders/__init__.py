"""Work orders (工单): the states, the legal moves, and who may make them. An order is the fold of its history."""

from services.domain.orders.clocks import CLOCKS, Clocks, Overdue, deadlines, overdue
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

__all__ = [
    "CLOCKS",
    "ENDED",
    "SYSTEM",
    "TABLE",
    "TOP_RUNG",
    "Actor",
    "Clocks",
    "Draft",
    "Entry",
    "Legal",
    "Move",
    "MoveRequest",
    "Need",
    "Order",
    "OrderState",
    "Overdue",
    "Refused",
    "Source",
    "Who",
    "allowed_moves",
    "created",
    "deadlines",
    "decide",
    "fold",
    "overdue",
]
