"""Keeps this worker on the list of the living, and its hands on what it should own: no more, no less."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from services.ingest.database import TROUBLE, Held
from services.ingest.ownership import membership
from services.ingest.ownership.balance import alone, balance
from services.ingest.ownership.membership import NameTaken, View, Watch

log = structlog.get_logger(__name__)

_NUMBERED = "ingest-{}"
_AGAIN_S = 0.5
"""A slot that was lost and is still ours is taken up again after so long: whoever fights for it must not busy us."""


class Superseded(Exception):
    """Another process does this worker's work; this one must end and not be missed."""


class Hands(Protocol):
    """What owning means. `held`: slot → epoch; `doubtful`: slots of it in which somebody else was met."""

    held: dict[int, int]
    doubtful: set[int]

    async def open(self, epochs: Mapping[int, int]) -> None:
        """Takes up work for what was claimed. Raises what the database raises; may be asked again."""

    async def close(self, slots: Collection[int]) -> None:
        """Finishes what is in hand and lets go, so that the next owner finds everything stored or at the broker."""

    async def abandon(self, slots: Collection[int]) -> None:
        """Drops it: it is somebody else's already."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`ttl_s`: silence after which a worker counts as dead. `beat_s`: between two heartbeats."""

    ttl_s: float
    beat_s: float


class Keeper:
    """`register` first, then `run` until cancelled; `leave` at the end."""

    def __init__(self, heart: Held, moves: Held, instance: str, pace: Pace) -> None:
        self._heart = heart
        self._moves = moves
        self._instance = instance
        self._pace = pace
        self._watch = Watch(pace.ttl_s, pace.beat_s)
        self._connection: Any = None
        self._looked = asyncio.Condition()
        self._looked_at = float("-inf")
        self._view = View((), {}, {})
        self._wake = asyncio.Event()
        self._reopen_at: dict[int, float] = {}
        self._said = ""
        self.worker = ""
        self.waiting: str | None = "registering"
        """What keeps this worker from owning what it should; None while it does."""

    @property
    def view(self) -> View:
        return self._view

    def hurry(self) -> None:
        """Something changed: look now."""
        self._wake.set()

    # Registration

    async def register(self, name: str) -> str:
        """The worker's name, once it is on the list: `name`, or the first free number where that is empty."""
        while True:
            with suppress(NameTaken, *TROUBLE):
                if entered := await self._heart.once(lambda c: self._enter(c, name)):
                    self.worker = entered
                    return entered
            await asyncio.sleep(self._pace.beat_s)

    async def _enter(self, connection: Any, name: str) -> str | None:
        """None while the name is in use, or while that is not clear; raising would cost the connection."""
        self._note(connection)
        view = await membership.look(connection)
        gone = self._watch.gone(view.peers, self._instance, time.monotonic())
        there = [peer for peer in view.peers if peer.instance not in gone]
        numbered = (_NUMBERED.format(number) for number in range(len(there) + 1))
        wanted = name or next(one for one in numbered if one not in {peer.worker for peer in there})
        in_the_way = next((peer for peer in there if peer.worker == wanted), None)
        if in_the_way is not None:
            self.waiting = f"another process is called {wanted}"
            if self.waiting != self._said and in_the_way.connected:
                log.warning("worker_name_taken", worker=wanted, by=in_the_way.instance, doing="waiting for it to end")
                self._said = self.waiting
            return None
        if not name and any(not peer.connected for peer in there):
            return None
        await membership.register(connection, wanted, self._instance, gone)
        log.info("worker_registered", worker=wanted, instance=self._instance, dismissed=gone)
        return wanted

    def _note(self, connection: Any) -> None:
        if self._connection is not None and connection is not self._connection:
            self._watch.shaken(time.monotonic())
        self._connection = connection

    async def leave(self) -> None:
        """Frees everything at once, so that nobody has to wait for this worker to be missed."""
        with suppress(*TROUBLE):
            await self._heart.once(lambda c: membership.dismiss(c, [self._instance]))

    # The heart

    async def run(self, hands: Hands) -> None:
        """Raises Superseded when this worker's name has another bearer."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat_for_ever())
            tasks.create_task(self._act_for_ever(hands))

    async def _beat_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            self._wake.clear()
            try:
                view = await self._heart.once(self._beat)
            except NameTaken as error:
                raise Superseded(str(error)) from error
            except TROUBLE as error:
                self._trouble(error)
            else:
                async with self._looked:
                    self._view, self._looked_at = view, began
                    self._looked.notify_all()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._pace.beat_s)

    def _trouble(self, error: BaseException) -> None:
        why = f"{type(error).__name__}: {error}".strip(": ")
        if self.waiting != f"database: {why}":
            log.warning("ownership_waits_for_database", why=why)
        self.waiting = f"database: {why}"

    async def _beat(self, connection: Any) -> View:
        self._note(connection)
        if not await membership.beat(connection, self._instance):
            # Dismissed: we were frozen, or cut off, for too long. What we owned is free or somebody else's.
            log.warning("worker_was_dismissed", worker=self.worker, doing="registering again")
            await membership.register(connection, self.worker, self._instance, ())
        view = await membership.look(connection)
        if gone := self._watch.gone(view.peers, self._instance, time.monotonic()):
            freed = await membership.bury(connection, gone)
            log.warning("worker_dismissed", workers=[p.worker for p in view.peers if p.instance in gone], freed=freed)
            view = await membership.look(connection)
        return view

    # The hands

    async def _act_for_ever(self, hands: Hands) -> None:
        busy = True
        while True:
            view = await self._fresh_view(busy)
            try:
                busy = await self._act(view, hands)
            except TROUBLE as error:
                self._trouble(error)
                busy = False

    async def _fresh_view(self, now: bool) -> View:
        """One whose look began after this moment: an older one would not know what we just did."""
        after = time.monotonic()
        if now:
            self._wake.set()
        async with self._looked:
            await self._looked.wait_for(lambda: self._looked_at >= after)
            return self._view

    async def _act(self, view: View, hands: Hands) -> bool:
        """One step towards what should be; False when there was nothing to do."""
        mine = view.owned_by(self._instance)
        lost = {slot for slot, epoch in hands.held.items() if slot not in mine or view.epochs[slot] != epoch}
        again = (hands.doubtful & hands.held.keys()) - lost
        if lost or again:
            log.warning("slots_lost", lost=sorted(lost), taken_up_again=sorted(again))
            await hands.abandon(lost | again)
            self._reopen_at.update(dict.fromkeys(again, time.monotonic() + _AGAIN_S))
        name_of = {peer.instance: peer.worker for peer in view.peers}
        owners = {slot: name_of.get(owner, "") for slot, owner in view.owners.items()}
        wanted = (alone if view.former else balance)(name_of.values(), owners)
        should = {slot for slot, worker in wanted.items() if worker == self.worker}
        now = time.monotonic()
        unopened = {
            slot: view.epochs[slot] for slot in mine & should if slot not in hands.held and self._ripe(slot, now)
        }
        surplus = mine - should
        free = sorted(slot for slot in should - mine if owners.get(slot, "") == "")
        self.waiting = "taking over partitions" if should - hands.held.keys() else None
        if surplus:
            await hands.close(surplus & hands.held.keys())
            await self._moves.once(lambda c: membership.release(c, self._instance, surplus))
            log.info("slots_released", slots=sorted(surplus))
        if free:
            unopened |= await self._moves.once(lambda c: membership.claim(c, self._instance, free))
        if unopened:
            await hands.open(unopened)
            log.info("slots_taken", epochs=unopened)
            self.waiting = "taking over partitions" if should - hands.held.keys() else None
        return bool(lost or surplus or unopened)

    def _ripe(self, slot: int, now: float) -> bool:
        return now >= self._reopen_at.get(slot, now)
