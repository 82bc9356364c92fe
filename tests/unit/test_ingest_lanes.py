"""After an outage of the database, what is said of danger is stored before what is measured."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from services.domain.messages import Lane as LaneName
from services.ingest.admission import Admission
from services.ingest.database import Held
from services.ingest.lane import Lane, LaneOptions
from services.ingest.limits import Limiter, Limits
from services.ingest.store import Owner


class Outage:
    """A pool whose first connections cannot be had."""

    def __init__(self, failures: int) -> None:
        self._failures = failures

    async def acquire(self, timeout: float) -> Any:
        if self._failures:
            self._failures -= 1
            raise ConnectionRefusedError("the database is away")
        return self

    async def fetchval(self, _: str) -> str:
        return "on"


def _lane(held: Held) -> Lane:
    options = LaneOptions(LaneName.TELEMETRY, Owner("w", "i", LaneName.TELEMETRY.number, ()), 10, 0.0)
    nobody = cast("Any", SimpleNamespace(waiting=0))
    return Lane(options, nobody, held, cast("Any", None), {}, lambda _: None, Admission(Limiter(Limits())))


async def test_telemetry_that_failed_is_tried_again_after_the_events_in_hand_and_in_the_queue() -> None:
    held = Held(cast("Any", Outage(1)), "telemetry", 5, 0.01)
    events = SimpleNamespace(busy=True, subscriber=SimpleNamespace(waiting=3))
    _lane(held).let_pass(cast("Any", events), 60)
    done: list[str] = []

    async def bulk(_: Any) -> None:
        done.append("telemetry")

    retried = asyncio.Event()
    storing = asyncio.create_task(held.patiently(bulk, retried.set))
    await retried.wait()
    for finished in ("in hand", "queue"):
        # Longer than the lane's own pause between two tries: only the events hold it.
        await asyncio.sleep(0.05)
        assert done == []
        if finished == "in hand":
            events.busy = False
    events.subscriber.waiting = 0
    done.append("events")
    await asyncio.wait_for(storing, 60)
    assert done == ["events", "telemetry"]


async def test_telemetry_without_trouble_waits_for_nobody() -> None:
    held = Held(cast("Any", Outage(0)), "telemetry", 5, 0.01)
    _lane(held).let_pass(cast("Any", SimpleNamespace(busy=True, subscriber=SimpleNamespace(waiting=3))), 60)

    async def bulk(_: Any) -> str:
        return "stored"

    assert await asyncio.wait_for(held.patiently(bulk, lambda: None), 60) == "stored"
