"""Order histories of an old system, taken over once."""

from services.adapters.order_import.store import (
    Fault,
    NoSuchCommunity,
    Ready,
    compare,
    known_of,
    missing_targets,
    prepare,
    write,
)

__all__ = ["Fault", "NoSuchCommunity", "Ready", "compare", "known_of", "missing_targets", "prepare", "write"]
