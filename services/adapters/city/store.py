"""Writes how far a subscription has come: claims, what each attempt came to, dead letters, the delivery log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from services.adapters.city.reading import LISTENERS, Connection, Q
from services.adapters.city.signing import SigningKey
from services.domain.city import OutboxRow
from services.domain.city.delivery import Again, Attempt, Closed, GivenUp, Head, Outcome, Taken


@dataclass(slots=True)
class Progress:
    """A subscription in this process's hands: where it stands, kept in step with its row while the lease holds."""

    subscription_id: UUID
    lease: UUID
    seq: int
    replay_seq: int | None
    replay_upto: int | None
    failures: int
    refusals: int
    attempts: int
    failing_since: datetime | None
    resumed_at: datetime
    test_id: UUID | None
    sent_seq: int | None = None
    ahead: int = 0

    @property
    def replaying(self) -> bool:
        return self.replay_seq is not None

    @property
    def after(self) -> int:
        return self.replay_seq if self.replay_seq is not None else self.seq

    def head(self, row: OutboxRow) -> Head:
        return Head(self.failures, self.refusals, max(row.at, self.resumed_at), self.failing_since)


async def claim(
    connection: Connection, ways: Sequence[str], now: datetime, lease_s: float, most: int
) -> list[Progress]:
    """Up to so many subscriptions that have something to send, each in nobody else's hands until the lease is over."""
    lease = uuid4()
    rows = await connection.fetch(Q["claim"], now, lease, now + timedelta(seconds=lease_s), most, LISTENERS, list(ways))
    return [Progress(lease=lease, **dict(row)) for row in rows]


async def release(connection: Connection, one: Progress) -> None:
    await connection.execute(Q["release"], one.subscription_id, one.lease)


async def holds(connection: Connection, one: Progress) -> bool:
    """Whether it is still in this process's hands."""
    return bool(await connection.fetchval(Q["holds"], one.subscription_id, one.lease))


async def forgotten(connection: Connection, line: int | None, now: datetime, since: datetime) -> int:
    """What the broker took behind `line` of the delivery log (None: since a time) is to be sent again; in how many
    subscriptions."""
    return len(await connection.fetch(Q["forgotten"], line, now, since))


async def last_attempt(connection: Connection) -> int:
    line: int = await connection.fetchval(Q["last_attempt"])
    return line


async def keys(connection: Connection, subscription_id: UUID, now: datetime) -> list[SigningKey]:
    rows = await connection.fetch(Q["signing_keys"], subscription_id, now)
    return [SigningKey(row["sort"], row["secret"], row["public"]) for row in rows]


async def log(
    connection: Connection, one: UUID, attempt: Attempt, seq: int, type: str, at: datetime, ms: int, sort: str
) -> None:
    await connection.execute(Q["attempted"], one, seq, type, at, attempt.taken, attempt.status, attempt.error, ms, sort)


async def passed(connection: Connection, one: Progress, seq: int, now: datetime, lease_s: float) -> bool:
    """The cursor up to `seq`: filtered out or given up. It is looked at again from `now` on. False: this process is to
    stop, since the lease was lost or the subscription is not active any more."""
    row = await connection.fetchrow(
        Q["pass"], one.subscription_id, one.lease, one.replaying, seq, now, now + timedelta(seconds=lease_s)
    )
    return _moved(one, seq, row)


async def _taken(
    connection: Connection, one: Progress, row: OutboxRow, attempt: Attempt, now: datetime, ms: int, lease_s: float
) -> bool:
    moved = await connection.fetchrow(
        Q["taken"], one.subscription_id, one.lease, one.replaying, row.seq, now, now + timedelta(seconds=lease_s),
        row.type, attempt.status, ms, _sort(one),
    )  # fmt: skip
    one.failures, one.failing_since = 0, None
    one.sent_seq, one.ahead = row.seq, one.ahead + 1
    return _moved(one, row.seq, moved)


def _moved(one: Progress, seq: int, row: Mapping[str, Any] | None) -> bool:
    if row is None:
        return False
    if not one.replaying:
        one.seq = seq
    one.replay_seq, one.replay_upto = row["replay_seq"], row["replay_upto"]
    one.attempts = one.refusals = 0
    return bool(row["state"] == "active")


def _sort(one: Progress) -> str:
    return "replay" if one.replaying else "event"


async def settle(
    connection: Connection,
    one: Progress,
    row: OutboxRow,
    attempt: Attempt,
    outcome: Outcome,
    now: datetime,
    ms: int,
    lease_s: float,
) -> bool:
    """What an attempt came to, in one transaction with its line of the log. False: nothing more is to be sent now."""
    if isinstance(outcome, Taken):
        return await _taken(connection, one, row, attempt, now, ms, lease_s)
    async with connection.transaction():
        await log(connection, one.subscription_id, attempt, row.seq, row.type, now, ms, _sort(one))
        match outcome:
            case Again(at, refused):
                await _failed(connection, one, attempt, at, refused, now, 1)
                return False
            case GivenUp(why, at):
                tries = one.attempts + 1
                await bury(connection, one.subscription_id, row.seq, row.seq, row.type, now, why, tries)
                go_on = await passed(connection, one, row.seq, now, lease_s)
                if at > now:
                    await _failed(connection, one, attempt, at, False, now, 0)
                    return False
                return go_on
            case Closed(why):
                await _failed(connection, one, attempt, now, False, now, 1)
                await connection.execute(Q["disable"], one.subscription_id, why)
                return False


async def _failed(
    connection: Connection, one: Progress, attempt: Attempt, at: datetime, refused: bool, now: datetime, counts: int
) -> None:
    said = attempt.error or f"HTTP {attempt.status}"
    await connection.execute(Q["fail"], one.subscription_id, one.lease, refused, at, now, said, counts)


async def bury(
    connection: Connection, one: UUID, seq: int, upto: int, type: str, now: datetime, why: str, attempts: int
) -> None:
    """A dead letter: a number (or a range that is gone), never a payload."""
    await connection.execute(Q["bury"], one, seq, upto, type, now, why, attempts)
