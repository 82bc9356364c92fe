"""The ledger: received = stored + duplicate + rejected, per worker, partition and lane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import asyncpg

from services.adapters.queries import Queries
from services.ingest.batch import Batch, Owner
from services.ingest.checked import Checked, Outcome, Refusal

Q = Queries.beside(__file__)


def ledger(checked: Checked, heard_again: Sequence[Refusal] = ()) -> dict[int, Counter[Outcome]]:
    """partition → how many messages ended how."""
    counts: dict[int, Counter[Outcome]] = {}
    for partition, stored in Counter([device.partition for device in checked.plain.devices]).items():
        counts[partition] = Counter({Outcome.STORED: stored})
    for items in (checked.readings, checked.happenings, checked.statuses):
        for item in items:
            counts.setdefault(item.device.partition, Counter())[item.outcome] += 1
    for refusal in checked.refusals:
        counts.setdefault(refusal.partition, Counter())[Outcome.REJECTED] += 1
    for refusal in heard_again:
        counts[refusal.partition][Outcome.REJECTED] -= 1
        counts[refusal.partition][Outcome.DUPLICATE] += 1
    return counts


async def count(connection: asyncpg.Connection[Any], owner: Owner, batch: Batch) -> None:
    counts = ledger(batch.checked, batch.written.heard_again)
    await connection.execute(
        Q["count"],
        owner.worker,
        owner.lane,
        list(counts),
        [ended[Outcome.STORED] for ended in counts.values()],
        [ended[Outcome.DUPLICATE] for ended in counts.values()],
        [ended[Outcome.REJECTED] for ended in counts.values()],
        batch.marker,
    )
