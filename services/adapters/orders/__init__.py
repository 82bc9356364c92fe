"""Work orders in the database: opened, moved, read; every change is a line of history first."""

from services.adapters.orders.rows import (
    MoveRefused,
    OrderNotFound,
    OrderRow,
    VersionConflict,
    due_orders,
    fetch_history,
    fetch_order,
    order_row,
)
from services.adapters.orders.store import append_moves, apply_move, insert_order, open_order

__all__ = [
    "MoveRefused",
    "OrderNotFound",
    "OrderRow",
    "VersionConflict",
    "append_moves",
    "apply_move",
    "due_orders",
    "fetch_history",
    "fetch_order",
    "insert_order",
    "open_order",
    "order_row",
]
