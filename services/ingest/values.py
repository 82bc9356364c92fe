"""Single values: the number to store, or why there is none; and what becomes of two rows for one time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.domain.devices.kind import MetricType
from services.domain.messages import Reason
from services.ingest.registry import MetricSpec

Row = Sequence[float | None]
"""The metrics of a kind in their order, None where nothing usable was sent."""


def number(metric: MetricSpec, value: Any) -> tuple[float, Reason | None]:
    """The number to store, or why there is none."""
    kind = type(value)
    if kind is float or kind is int:
        if not metric.low <= value <= metric.high:
            return 0.0, Reason.OUT_OF_RANGE
        if metric.type in (MetricType.SWITCH, MetricType.STATE) and value != int(value):
            return 0.0, Reason.OUT_OF_RANGE
        if metric.options and not 0 <= value < len(metric.options):
            return 0.0, Reason.OUT_OF_RANGE
        return float(value), None
    if kind is bool and metric.type is MetricType.SWITCH:
        return (1.0 if value else 0.0), None
    if kind is str and metric.type is MetricType.STATE:
        index = metric.options.get(value)
        return (0.0, Reason.OUT_OF_RANGE) if index is None else (float(index), None)
    return 0.0, Reason.MALFORMED


def why(metric: MetricSpec, value: Any, reason: Reason) -> str:
    if reason is Reason.MALFORMED:
        wanted = "an option name" if metric.type is MetricType.STATE else "a number"
        return f"expected {wanted}, got {shown(value)}"
    if metric.options:
        return f"{shown(value)} is not one of {', '.join(metric.options)}"
    return f"{shown(value)} is outside {metric.low:g} to {metric.high:g}"


def reconcile(stored: Row, sent: Row) -> tuple[list[float | None], list[float | None], list[int]]:
    """A stored row met by another with its device and time: the row now, what was added, the positions that disagree.

    The first value of a metric stands; holes are filled.
    """
    width = max(len(stored), len(sent))
    now = [*stored, *[None] * (width - len(stored))]
    added: list[float | None] = [None] * width
    disagree = []
    for position, value in enumerate(sent):
        if value is None:
            continue
        if now[position] is None:
            now[position] = added[position] = value
        elif now[position] != value:
            disagree.append(position)
    return now, added, disagree


def shown(value: Any) -> str:
    """A sent value as it may stand in a sentence: short, printable, whatever it was."""
    if type(value) is dict or type(value) is list:
        return "an object" if type(value) is dict else "a list"
    text = repr(value) if type(value) is str else str(value)
    return text if len(text) <= 60 else text[:60] + "…"
