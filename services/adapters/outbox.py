"""The outbox: what leaves the system, written in the transaction that caused it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

_APPEND = """
SELECT outbox_append(n.type, n.community, n.subject, n.correlation, n.data::jsonb)
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
    WITH ORDINALITY AS n (type, community, subject, correlation, data, place)
ORDER BY n.place
"""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event for everybody who listens. `data` is JSON; `subject` is the id of what it is about."""

    type: str
    community_id: str
    subject: str
    correlation: str
    data: dict[str, Any]


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
        [json.dumps(event.data, ensure_ascii=False) for event in events],
    )
