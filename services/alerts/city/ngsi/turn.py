"""One subscription's turn: a look, what has changed sent in pieces, and how far it came written down."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid5

import structlog
from pydantic_core import to_json

from services.adapters.city.ngsi import subscriptions as rows
from services.adapters.city.ngsi.subscriptions import Claimed, Standing
from services.adapters.city.signing import SigningKey, signed
from services.adapters.outward import Failed, OutwardClient
from services.alerts.city import metrics
from services.alerts.city.ngsi.looking import Look, TooMany, whole_is_due
from services.alerts.city.sender import AGENT
from services.alerts.city.serving import Connections
from services.domain.city.delivery import Again, Attempt, Closed, GivenUp, Taken, judge, retry_after_s
from services.domain.city.ngsi.changes import Seen, notification
from services.domain.city.ngsi.subscribing import LD_JSON

log = structlog.get_logger(__name__)

PIECE = 500
"""So many entities one notification tells of at most."""
LEASE_S = 60.0
"""Longer than one request may take, with time to write down what came of it."""
SHUT_S = 30.0
"""So long nobody looks again at one whose account or key has ended."""
WHOLE_S = 600.0
"""So often everything is compared, changed or not."""


@dataclass(slots=True)
class _Told:
    """What a turn has come to: notifications that were taken, and when the last request began."""

    taken: int = 0
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NgsiTurn:
    """What a turn needs. `look_s`: the least between two looks, and so between two notifications."""

    pool: Connections
    client: OutwardClient
    now: Callable[[], datetime]
    look_s: float
    pace: float = 1.0
    chance: Callable[[], float] = random.random
    stopping: Callable[[], bool] = bool
    """Whether the process is to end: what is under way is finished, and nothing more is begun."""

    async def serve(self, one: Claimed) -> bool:
        """Whether all that was to be told was."""
        async with self.pool.acquire() as connection:
            to = await rows.standing(connection, one.subscription_id, self.now())
            if to is None:
                again = self.now() + timedelta(seconds=SHUT_S)
                await rows.release(connection, one, again, "the account or key has ended, or may not listen")
                return False
            mark = await rows.mark(connection)
            old = one.looked_at is None or self.now() - one.looked_at >= timedelta(seconds=WHOLE_S)
            whole = old or await whole_is_due(connection, one, to)
            signing = await rows.signing_keys(connection, to.account_id, self.now())
        look, told = Look(self.pool, one, to, whole, mark[1], self.now()), _Told()
        try:
            async for seen in look.sites():
                for piece in _pieces(seen):
                    if not await self._piece(one, to, piece, signing, told):
                        return False
        except TooMany:
            log.warning("ngsi_too_many_entities", subscription=str(one.subscription_id))
            async with self.pool.acquire() as connection:
                again = self.now() + timedelta(seconds=WHOLE_S)
                await rows.release(connection, one, again, "too many entities: name types or ids")
            return True
        begun = told.at or self.now()
        again = begun + timedelta(seconds=max(to.asked.throttling_s if told.at else 0.0, self.look_s))
        async with self.pool.acquire() as connection:
            await rows.looked(connection, one, mark, to.view, look.at if whole else None, again)
        return True

    async def _piece(
        self, one: Claimed, to: Standing, piece: Sequence[Seen], signing: Sequence[SigningKey], told: _Told
    ) -> bool:
        """Whether to go on with the next."""
        data = [each.told for each in piece if each.told is not None]
        if not data or self.stopping():
            async with self.pool.acquire() as connection:
                if not data:
                    return await rows.passed_over(connection, one, piece)
                await rows.release(connection, one, self.now())
                return False
        begun = self.now()
        told.at = told.at or begun
        attempt, ms = await self._send(to, _id(one, told.taken, data), data, signing, begun)
        metrics.NGSI_TOOK.observe(ms / 1000)
        if not await self._settle(one, piece, attempt, ms):
            return False
        told.taken += attempt.taken
        return True

    async def _send(
        self, to: Standing, id: str, data: list[Mapping[str, Any]], signing: Sequence[SigningKey], at: datetime
    ) -> tuple[Attempt, int]:
        linked = to.asked.accept == LD_JSON
        body = to_json(notification(id, to.name, at, data, to.asked.context if linked else None))
        headers = {**to.headers, "Content-Type": to.asked.accept, "User-Agent": AGENT}
        if not linked:
            said = f'<{to.asked.context}>; rel="http://www.w3.org/ns/json-ld#context"; type="{LD_JSON}"'
            headers["Link"] = said
        if signing:
            headers |= signed(id, at, body, signing)
        answer = await self.client.post(to.asked.uri, headers, body)
        if isinstance(answer, Failed):
            return Attempt(None, answer.why), answer.ms
        error = None if 200 <= answer.status < 300 else f"HTTP {answer.status}"
        return Attempt(answer.status, error, retry_after_s(answer.headers.get("retry-after"), at)), answer.ms

    async def _settle(self, one: Claimed, piece: Sequence[Seen], attempt: Attempt, ms: int) -> bool:
        """Whether to go on with the next piece."""
        now = self.now()
        outcome = judge(attempt, one.head(now), now, self.chance() * self.pace)
        metrics.NGSI_SENT.labels(type(outcome).__name__.lower()).inc()
        if not isinstance(outcome, Taken):
            log.warning("ngsi_not_taken", subscription=str(one.subscription_id), why=attempt.error,
                        given_up=isinstance(outcome, GivenUp))  # fmt: skip
        async with self.pool.acquire() as connection:
            match outcome:
                case Taken():
                    return await rows.told(connection, one, piece, attempt, now, ms, LEASE_S)
                case Again(at, refused):
                    await rows.failed(connection, one, piece, attempt, now, ms, at, refused=refused)
                    await rows.release(connection, one, at)
                    return False
                case GivenUp(_, at):
                    return await rows.failed(
                        connection, one, piece, attempt, now, ms, at, dropped=True, lease_s=LEASE_S
                    )
                case Closed(why):
                    await rows.failed(connection, one, piece, attempt, now, ms, now, closed=why)
                    await rows.release(connection, one, now)
                    return False


def _pieces(seen: Sequence[Seen]) -> Iterator[Sequence[Seen]]:
    """What is told, so many at a time; what is passed over goes with the first of them."""
    silent = [each for each in seen if each.told is None]
    told = [each for each in seen if each.told is not None]
    if not told:
        if silent:
            yield silent
        return
    yield [*silent, *told[:PIECE]]
    for begin in range(PIECE, len(told), PIECE):
        yield told[begin : begin + PIECE]


def _id(one: Claimed, taken: int, data: Sequence[Mapping[str, Any]]) -> str:
    """The same data that is sent again is the same notification, so that whoever has had it can tell."""
    digest = hashlib.blake2b(to_json(data), digest_size=16).hexdigest()
    return f"urn:ngsi-ld:Notification:{uuid5(one.subscription_id, f'{one.succeeded + taken}:{digest}')}"
