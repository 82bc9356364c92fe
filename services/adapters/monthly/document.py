"""A month's report as JSON and back, for the process that renders it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import TypeAdapter

from services.domain.kpis.month import Month

_MONTH = TypeAdapter(Month)
LAYOUT = 2
"""Grows when the same figures are printed otherwise."""


def as_json(month: Month) -> str:
    return _MONTH.dump_json(month).decode()


def from_json(text: str | bytes) -> Month:
    return _MONTH.validate_json(text)


def digest(month: Month, sort: str) -> str:
    """The same for the same content, whenever it was asked for."""
    content = as_json(replace(month, made_at=datetime(2000, 1, 1, tzinfo=UTC)))
    return hashlib.sha256(f"{LAYOUT}:{sort}:{content}".encode()).hexdigest()[:32]
