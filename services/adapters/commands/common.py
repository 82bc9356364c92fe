"""What the halves of the ledger share: its SQL, a connection's type, and what the outbox is told of a move."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from services.adapters.outbox import Outgoing
from services.adapters.queries import Queries

Q = Queries.beside(__file__)
Connection: TypeAlias = "asyncpg.Connection[Any]"
Row = Mapping[str, Any]


async def told(connection: Connection, ids: Iterable[UUID], *, as_requested: bool = False) -> list[Outgoing]:
    """One event a command, as it stands now; no parameters and no words of people, who may name others in them.

    `as_requested`: it was asked for just now, so `command.requested` whether or not somebody has to approve it.
    """
    wanted = list(ids)
    if not wanted:
        return []
    return [
        Outgoing(
            "command.requested" if as_requested else f"command.{row['state']}",
            row["community_id"],
            str(row["id"]),
            row["correlation"],
            {
                "command_id": str(row["id"]),
                "device_id": row["device_id"],
                "name": row["name"],
                "state": row["state"],
                "version": row["version"],
                "dangerous": row["dangerous"],
                "emergency": row["emergency"],
                "expires_at": row["expires_at"].isoformat(),
                "detail": row["detail"],
                "by": row["requested_by"],
                "approved": row["approved_by"] is not None,
                "sends": row["sends"],
                "run_id": str(row["run_id"]) if row["run_id"] else None,
                "batch_id": str(row["batch_id"]) if row["batch_id"] else None,
            },
        )
        for row in await connection.fetch(Q["told"], wanted)
    ]


async def audit(
    connection: Connection,
    actor: str,
    role: str,
    community_id: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
) -> None:
    """Locks the chain to the end of the transaction: before the outbox, after everything else."""
    await connection.execute(
        Q["audit"], actor, role, community_id, action, subject, json.dumps(dict(detail), ensure_ascii=False)
    )
