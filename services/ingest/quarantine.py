"""What could not be used, kept with its reason and its payload in the transaction of its batch."""

from __future__ import annotations

from typing import Any

import asyncpg

from services.adapters.queries import Queries
from services.domain.messages import Reason
from services.ingest.batch import Batch, Owner
from services.ingest.checked import Outcome

Q = Queries.beside(__file__)

KEPT_PAYLOAD_BYTES = 64 * 1024


async def keep(connection: asyncpg.Connection[Any], owner: Owner, batch: Batch) -> None:
    rows: list[tuple[str, Reason, str, int, str | None, str | None, str | None]] = []
    for refusal in batch.checked.refusals:
        why = refusal.rejected
        rows.append(("message", why.reason, why.detail, refusal.source, refusal.community, why.device, why.message_id))
    for item in batch.checked.items():
        if item.refusal is not None:
            why, device = item.refusal, item.device
            rows.append(("message", why.reason, why.detail, item.source, device.community, device.id, item.message_id))
    for bad in (*batch.checked.bad_values, *batch.written.conflicts):
        if bad.item.outcome is Outcome.STORED:
            item, device = bad.item, bad.item.device
            rows.append(("value", bad.reason, bad.detail, item.source, device.community, device.id, item.message_id))
    if not rows:
        return
    sources = [batch.messages[row[3]] for row in rows]
    await connection.execute(
        Q["quarantine"],
        owner.worker,
        [message.received_ms for message in sources],
        [row[0] for row in rows],
        [row[1].value for row in rows],
        [_text(row[2]) for row in rows],
        [_text(message.topic) for message in sources],
        [row[4] for row in rows],
        [row[5] for row in rows],
        [row[6] for row in rows],
        [message.payload[:KEPT_PAYLOAD_BYTES] for message in sources],
        [len(message.payload) for message in sources],
    )


def _text(words: str) -> str:
    """A device may have put anything into the words; PostgreSQL keeps no NUL and no lone surrogate."""
    return words[:2000].replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
