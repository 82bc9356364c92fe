"""What took too long to arrive to page anybody, by the device's own time and what is known of its clock."""

from __future__ import annotations

from dataclasses import replace

from services.domain.engine.subjects import Compiled, Subject
from services.domain.rules.evaluation import Event, Reading

LATE_MS = 10 * 60_000
"""Telemetry and ordinary events that took longer than this to arrive page nobody: the situation has moved on.

A device that reports seldom may take up to three of its intervals, the time after which it would count as offline."""
LATE_SAFETY_MS = 60 * 60_000
"""A call for help that waited out a network failure is still answered for an hour: its sender may be on the floor."""
LATE_INTERVALS = 3


def judged_reading(subject: Subject, item: Reading) -> Reading:
    late_ms = max(LATE_MS, LATE_INTERVALS * subject.facts.interval_ms)
    return replace(item, late=True) if _delay_ms(subject, item) > late_ms else item


def judged_event(source: Subject, one: Compiled, item: Event) -> Event:
    """`source`: the device that sent it."""
    late_ms = LATE_SAFETY_MS if one.rule.life_safety else LATE_MS
    return replace(item, late=True) if _delay_ms(source, item) > late_ms else item


def _delay_ms(source: Subject, item: Reading | Event) -> int:
    """On its way, that is: how far its sender's clock is behind left out."""
    slow_ms = 0 if source.drift is None else source.drift.offset_ms
    return item.received_ms - item.ts_ms - slow_ms
