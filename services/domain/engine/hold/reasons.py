"""The words for why an alert is held back."""

from __future__ import annotations

from collections.abc import Mapping

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


def by_sort(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by reason, summed up by sort."""
    found: dict[str, int] = {}
    for reason, count in counts.items():
        found[sort_of(reason)] = found.get(sort_of(reason), 0) + count
    return found
