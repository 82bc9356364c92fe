"""The outbox: what leaves the system, written in the transaction that caused it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.domain.city.vocabulary import EventMark

_APPEND = """
SELECT outbox_append(n.type, n.community, n.subject, n.correlation, n.data::jsonb)
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
    WITH ORDINALITY AS n (type, community, subject, correlation, data, place)
ORDER BY n.place
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event for everybody who listens. `data` is JSON; `subject` is the id of what it is about.

    `mark`: an exercise or a test says so to whoever is told of it; what does not is meant.
    """

    type: str
    community_id: str
    subject: str
    correlation: str
    data: dict[str, Any]
    mark: EventMark = EventMark.ACTUAL

    @property
    def document(self) -> dict[str, Any]:
        return self.data if self.mark is EventMark.ACTUAL else {**self.data, "mark": self.mark.value}


async def append(connection: asyncpg.Connection[Any], events: Sequence[Outgoing]) -> None:
    """Writes them in this order. Call it last: it holds the lock that makes `seq` commit order until the end.

    Whoever also writes to the audit chain does that first, so that the two locks are always taken in one order.
    """
    if not events:
        return
    await connection.execute(
        _APPEND,
        [event.type for event in events],
        [event.community_id for event in events],
        [event.subject for event in events],
        [event.correlation for event in events],
        [json.dumps(event.document, ensure_ascii=False) for event in events],
    )
