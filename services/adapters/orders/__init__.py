"""Work orders in the database: opened, moved, read; every change is a line of history first."""

from services.adapters.orders.rows import (
    Due,
    MoveRefused,
    OrderNotFound,
    OrderRow,
    VersionConflict,
    due_orders,
    fetch_history,
    fetch_order,
    order_row,
    refresh_attention,
)
from services.adapters.orders.store import append_moves, apply_move, insert_order, open_order

__all__ = [
    "Due",
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
    "refresh_attention",
]
