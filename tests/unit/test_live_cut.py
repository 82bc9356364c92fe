"""A reader whose access has changed is looked at again, whenever the word comes; no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from services.api.identity.auth import Ticket
from services.api.live.hub import Hub, HubSettings
from services.api.live.tail import Tail
from services.domain.access import Principal
from services.domain.vocabulary import Role


class Access:
    """The credentials: each question waits to be answered with who was valid when it was asked."""

    def __init__(self) -> None:
        self.valid = True
        self.asked: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    def forget(self, name: str) -> None:
        pass

    async def still_valid(self, tickets: Iterable[Ticket]) -> set[str]:
        found = {ticket.token_id for ticket in tickets} if self.valid else set()
        answered = asyncio.Event()
        self.asked.put_nowait(answered)
        await answered.wait()
        return found


@pytest.fixture
def access() -> Access:
    return Access()


@pytest.fixture
def hub(access: Access) -> Hub:
    unused = cast(Any, None)
    settings = HubSettings(heartbeat_s=1, session_check_s=1, device_poll_s=1, queue_bytes=1)
    hub = Hub(unused, cast(Any, access), settings, unused, unused)
    hub._cursor = 0
    return hub


def ticket() -> Ticket:
    principal = Principal("u", "u", "u", Role.DESK, None, "c", grid_id=None)
    return Ticket(principal, "key:k", datetime.now(UTC) + timedelta(hours=1))


def followed(hub: Hub) -> Tail:
    tail = hub.follow(ticket(), 5)
    assert tail is not None
    return tail


@asynccontextmanager
async def cutting(hub: Hub) -> AsyncIterator[None]:
    """The hub's loop that looks again, at work; what waits in here waits a minute at most."""
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        loop = group.create_task(hub._forever("access", hub._cut, 0.0))
        yield
        loop.cancel()


async def test_cut_hears_a_word_that_comes_while_an_earlier_one_is_looked_into(hub: Hub, access: Access) -> None:
    async with cutting(hub):
        tail = followed(hub)
        hub._heard("key:k")
        first = await access.asked.get()
        access.valid = False
        hub._heard("key:k")
        first.set()
        (await access.asked.get()).set()
        await tail.wake.wait()
        assert tail.ended == "session"


async def test_cut_looks_at_a_reader_that_opens_while_another_of_its_key_is_looked_at(hub: Hub, access: Access) -> None:
    async with cutting(hub):
        hub._heard("key:k")
        earlier = followed(hub)
        first = await access.asked.get()
        access.valid = False
        later = followed(hub)
        first.set()
        (await access.asked.get()).set()
        await later.wake.wait()
        assert earlier.ended == later.ended == "session"


async def test_cut_looks_again_where_nobody_could_answer(
    hub: Hub, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = access.still_valid
    failures = [OSError("away"), ValueError("odd")]

    async def failing(tickets: Iterable[Ticket]) -> set[str]:
        if failures:
            raise failures.pop()
        return await answers(tickets)

    monkeypatch.setattr(access, "still_valid", failing)
    async with cutting(hub):
        tail = followed(hub)
        access.valid = False
        hub._heard("key:k")
        (await access.asked.get()).set()
        await tail.wake.wait()
        assert tail.ended == "session" and not failures
