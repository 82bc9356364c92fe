"""One subscription's turn: its next events in their order, one under way at a time, until there are no more, one is not
taken, or its time is over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from services.adapters.city import store
from services.adapters.city.reading import AheadOfOutbox, Page, Q, Wanted, made, page, wanted
from services.adapters.city.signing import SigningKey
from services.adapters.city.store import Progress
from services.alerts.city import metrics
from services.alerts.city.sender import Sender, Sending, Sent
from services.domain.city import CityEvent, OutboxRow, SubscriptionState, Way, test_event
from services.domain.city.delivery import Attempt, GivenUp, Taken, judge

log = structlog.get_logger(__name__)

PAGE = 100
TURN_S = 5.0
"""After so long others come first; the keys, the filter and the grants are read anew."""
QUIET_S = 0.5
"""So long nobody looks again at a subscription that nothing has fitted: others' events wake everybody."""
LEASE_S = 60.0
"""Longer than one request may take, with time to write down what came of it."""


class Connections(Protocol):
    def acquire(self) -> AbstractAsyncContextManager[Any]: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn needs. `base`: where this system is reached from outside."""

    pool: Connections
    senders: Mapping[Way, Sender]
    now: Callable[[], datetime]
    base: str
    turn_s: float = TURN_S
    lease_s: float = LEASE_S
    pace: float = 1.0
    chance: Callable[[], float] = random.random
    stopping: Callable[[], bool] = bool
    """Whether the process is to end: what is under way is finished, and nothing more is begun."""

    async def serve(self, one: Progress) -> None:
        async with self.pool.acquire() as connection:
            asked = await wanted(connection, one.subscription_id)
            signing = await store.keys(connection, one.subscription_id, self.now())
        if asked is not None and one.test_id is not None:
            await self._test(one, asked, signing)
        if asked is not None and asked.heard and asked.state is SubscriptionState.ACTIVE:
            await self._events(one, asked, signing)
        async with self.pool.acquire() as connection:
            await store.release(connection, one)

    async def _events(self, one: Progress, asked: Wanted, signing: list[SigningKey]) -> None:
        until = time.monotonic() + self.turn_s
        while time.monotonic() < until and not self.stopping():
            replaying = one.replaying
            async with self.pool.acquire() as connection:
                try:
                    found = await page(connection, asked, one.after, PAGE, one.replay_upto)
                except AheadOfOutbox as error:
                    await self._turned_back(connection, one, error.head)
                    return
                if found.lost is not None and not await self._lost(connection, one, found.lost):
                    return
            for row in found.rows:
                if not await self._one(one, asked, row, signing):
                    return
                if one.replaying != replaying or time.monotonic() >= until or self.stopping():
                    break
            else:
                if not await self._passed_over(one, found):
                    return

    async def _one(self, one: Progress, asked: Wanted, row: OutboxRow, signing: list[SigningKey]) -> bool:
        """Whether to go on with the next."""
        link = self.senders[asked.way].link
        if link is None:
            return False  # nothing was tried: it is due as it was
        async with self.pool.acquire() as connection:
            if link and not await store.holds(connection, one):
                return False
            [(_, event)] = await made(connection, asked, [row], self.base)
            if event is None:
                now = self.now()
                await store.bury(connection, asked.id, row.seq, row.seq, row.type, now, "unreadable", 0)
                return await store.passed(connection, one, row.seq, now, self.lease_s)
        sent = await self._send(asked, event, Sending(signing, self.now(), one.sent_seq, one.ahead, link))
        now = self.now()
        outcome = judge(sent.attempt, one.head(row), now, self.chance() * self.pace)
        metrics.ATTEMPTS.labels(asked.way.value, type(outcome).__name__.lower()).inc()
        metrics.TOOK.labels(asked.way.value).observe(sent.ms / 1000)
        if not isinstance(outcome, Taken):
            said = sent.attempt.error or str(sent.attempt.status)
            log.warning("city_event_not_taken", subscription=str(asked.id), seq=row.seq, why=said,
                        given_up=isinstance(outcome, GivenUp))  # fmt: skip
        async with self.pool.acquire() as connection:
            return await store.settle(connection, one, row, sent.attempt, outcome, now, sent.ms, self.lease_s)

    async def _send(self, asked: Wanted, event: CityEvent, sending: Sending) -> Sent:
        if asked.way is Way.WEBHOOK and not sending.keys:
            return Sent(Attempt(None, "no signing key"), 0)
        return await self.senders[asked.way].send(asked, event, sending)

    async def _passed_over(self, one: Progress, found: Page) -> bool:
        """What did not fit behind the last row. Whether there is more."""
        if found.cursor > one.after or (one.replaying and not found.more):
            async with self.pool.acquire() as connection:
                replayed = one.replaying
                again = self.now() + timedelta(seconds=QUIET_S)
                if not await store.passed(connection, one, found.cursor, again, self.lease_s):
                    return False
                return found.more or replayed
        return found.more

    async def _lost(self, connection: Any, one: Progress, lost: tuple[int, int]) -> bool:
        """Told once: the cursor is behind it then. Whether to go on."""
        log.error("city_events_let_go_of", subscription=str(one.subscription_id), first=lost[0], last=lost[1])
        why = "let go of before it was sent"
        async with connection.transaction():
            await store.bury(connection, one.subscription_id, lost[0], lost[1], "", self.now(), why, 0)
            return await store.passed(connection, one, lost[1], self.now(), self.lease_s)

    async def _turned_back(self, connection: Any, one: Progress, head: int) -> None:
        """The database was restored to an earlier time: what it numbers anew is sent from here on."""
        log.error("city_outbox_went_back", subscription=str(one.subscription_id), was=one.seq, head=head)
        seq = one.replay_upto if one.replay_upto is not None else head
        await store.passed(connection, one, seq, self.now(), self.lease_s)

    async def _test(self, one: Progress, asked: Wanted, signing: list[SigningKey]) -> None:
        now = self.now()
        community = asked.communities[0] if asked.communities else ""
        event = test_event(f"test-{one.test_id}", str(asked.id), community, now, base=self.base)
        link = self.senders[asked.way].link
        if link is None:
            return
        sent = await self._send(asked, event, Sending(signing, now, link=link))
        metrics.ATTEMPTS.labels(asked.way.value, "test").inc()
        async with self.pool.acquire() as connection, connection.transaction():
            await store.log(connection, asked.id, sent.attempt, 0, event.kind.type, now, sent.ms, "test")
            await connection.execute(Q["tested"], one.subscription_id, one.test_id)
