"""Empties and removes sessions at the broker that earlier versions used, so that no queue is lost or grows for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from services.adapters.mqtt import SessionTakenOver, Subscriber
from services.ingest.lane import Lane

log = structlog.get_logger(__name__)

_PROBE = "sc/-/-/up/reply"
"""No id looks like that: nothing is ever published under it. The broker's answer to subscribing is what counts."""
_QUIET_S = 0.5
_ANSWER_S = 10.0


class NotEmptied(Exception):
    """It did not come to its end this time."""


async def empty(subscriber: Subscriber, lane: Lane, unwanted: frozenset[str]) -> None:
    """Returns when the broker has nothing more in this session and everything in it was acknowledged.

    The subscriber is a running member of the lane's. The proof: nothing waits, what was received is settled, and then
    the broker answers a request without having delivered anything before it, all on one connection. Raises NotEmptied.
    """
    heard = time.monotonic()

    def told() -> None:
        nonlocal heard
        heard = time.monotonic()

    subscriber.on_arrival(told)
    subscriber.set_filters((), unwanted)
    await _until(lambda: subscriber.ready, _ANSWER_S, "it could not be connected to")
    generation = subscriber.generation
    while True:
        while subscriber.waiting or time.monotonic() - heard < _QUIET_S:  # noqa: ASYNC110 - quiet is what is waited for
            await asyncio.sleep(0.05)
        await lane.settled()
        before = heard
        subscriber.set_filters([_PROBE], unwanted)
        await _until(lambda: subscriber.ready, _ANSWER_S, "the broker does not answer")
        subscriber.set_filters((), unwanted | {_PROBE})
        if subscriber.generation != generation:
            raise NotEmptied("the connection broke meanwhile")
        if heard == before:
            return


async def end(subscriber: Subscriber) -> None:
    """Of a session that expires with its connection: connects and goes."""
    running = asyncio.create_task(subscriber.run())
    try:
        await _until(lambda: subscriber.ready or running.done(), _ANSWER_S, "it could not be ended")
    finally:
        await subscriber.close()
        with suppress(TimeoutError, SessionTakenOver):
            await asyncio.wait_for(running, 2)


async def _until(question: Callable[[], bool], within_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + within_s
    while not question():
        if time.monotonic() > deadline:
            raise NotEmptied(otherwise)
        await asyncio.sleep(0.02)
