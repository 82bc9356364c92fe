"""What could not be used, kept with its reason and its payload in the transaction of its batch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.adapters.mqtt import Inbound
from services.adapters.queries import Queries
from services.domain.ids import CommunityId
from services.domain.messages import Reason
from services.ingest.batch import Batch, Owner
from services.ingest.checked import Outcome, Refusal

Q = Queries.beside(__file__)

KEPT_PAYLOAD_BYTES = 64 * 1024


@dataclass(slots=True)
class _Kept:
    """One row. Equal ones (same digest) of a batch are one row that counts them."""

    scope: str
    reason: Reason
    detail: str
    message: Inbound
    community: CommunityId | None
    device: str | None
    message_id: str | None
    times: int = 1

    def digest(self) -> bytes:
        """Without the detail, which may tell the time: a message heard again must come to the same."""
        said = hashlib.sha256()
        for text in (self.scope, self.reason.value, self.message.topic, self.device or "", self.message_id or ""):
            said.update(text.encode("utf-8", "surrogatepass") + b"\x00")
        said.update(self.message.payload)
        return said.digest()


async def keep(connection: asyncpg.Connection[Any], owner: Owner, batch: Batch) -> None:
    """Each refused message and value once, however often it comes.

    A message that the broker delivers again after a crash, and any other that says the same, counts one up. One that
    the broker retains is no new message at all when it is heard again: `written.heard_again`.
    """
    rows: dict[bytes, _Kept] = {}
    retained: dict[bytes, list[Refusal]] = {}
    for refusal in batch.checked.refusals:
        if not refusal.keep:
            continue
        message, why = batch.messages[refusal.source], refusal.rejected
        kept = _Kept("message", why.reason, why.detail, message, refusal.community, why.device, why.message_id)
        digest = _add(rows, kept)
        if message.retained:
            retained.setdefault(digest, []).append(refusal)
    for item in batch.checked.items():
        if item.refusal is not None:
            why, device, message = item.refusal, item.device, batch.messages[item.source]
            _add(rows, _Kept("message", why.reason, why.detail, message, device.community, device.id, item.message_id))
    for bad in (*batch.checked.bad_values, *batch.written.conflicts):
        if bad.item.outcome is Outcome.STORED:
            item, device, message = bad.item, bad.item.device, batch.messages[bad.item.source]
            _add(rows, _Kept("value", bad.reason, bad.detail, message, device.community, device.id, item.message_id))
    if retained:
        for row in await connection.fetch(Q["known_refusals"], list(retained)):
            again = retained[row["digest"]]
            batch.written.heard_again += again
            rows[row["digest"]].times -= len(again)
        rows = {digest: kept for digest, kept in rows.items() if kept.times}
    if rows:
        await _write(connection, owner, rows)


def _add(rows: dict[bytes, _Kept], kept: _Kept) -> bytes:
    digest = kept.digest()
    if digest in rows:
        rows[digest].times += 1
    else:
        rows[digest] = kept
    return digest


async def _write(connection: asyncpg.Connection[Any], owner: Owner, rows: dict[bytes, _Kept]) -> None:
    kept = list(rows.values())
    await connection.execute(
        Q["quarantine"],
        owner.worker,
        [row.message.received_ms for row in kept],
        [row.scope for row in kept],
        [row.reason.value for row in kept],
        [_text(row.detail) for row in kept],
        [_text(row.message.topic) for row in kept],
        [row.community for row in kept],
        [row.device for row in kept],
        [row.message_id for row in kept],
        [bytes(row.message.payload[:KEPT_PAYLOAD_BYTES]) for row in kept],
        [len(row.message.payload) for row in kept],
        list(rows),
        [row.times for row in kept],
    )


def _text(words: str) -> str:
    """A device may have put anything into the words; PostgreSQL keeps no NUL and no lone surrogate."""
    return words[:2000].replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
