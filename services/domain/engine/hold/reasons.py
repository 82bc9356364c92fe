"""The words for why an alert is held back."""

from __future__ import annotations

SORTS = (
    "silence",
    "maintenance",
    "inhibited",
    "flapping",
    "settling",
    "asking",
    "answered",
    "cap:device",
    "cap:community",
)
"""The first three carry an id after a colon: of the silence, or of the alert that is the root cause."""


def sort_of(reason: str) -> str:
    """Without the id."""
    return reason if reason in SORTS else reason.partition(":")[0]
