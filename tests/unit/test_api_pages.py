"""Cursors, curves, limits and the cache: the API's small pure parts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.answers.models import Point
from services.api.data import spacing
from services.api.web import cursor
from services.api.web.cache import Cache
from services.api.web.limits import FailureLimit
from services.api.web.problems import ApiError


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_cursor_gives_back_what_was_put_in(parts: list[str]) -> None:
    assert cursor.decode(cursor.encode(*parts), len(parts)) == parts


@given(st.text(max_size=200))
def test_cursor_refuses_anything_else(text: str) -> None:
    try:
        key = cursor.decode(text, 2)
    except ApiError as error:
        assert error.status == 400
    else:
        assert key is not None
        assert cursor.decode(cursor.encode(*key), 2) == key


@pytest.mark.parametrize("text", ["", "x", "W10", "eyJhIjoxfQ", "WzEsMl0", "bnVsbA", "🙂", "=", "////"])
def test_cursor_refuses_what_it_did_not_write(text: str) -> None:
    with pytest.raises(ApiError):
        cursor.decode(text, 2)


def test_curve_leaves_out_the_bucket_that_is_still_running() -> None:
    points = [Point(ts_ms=0, value=None), Point(ts_ms=1, value=200.0), Point(ts_ms=2, value=90.0)]
    assert spacing.without_running(points) == points[:2]
    alone = [Point(ts_ms=0, value=None), Point(ts_ms=1, value=90.0)]
    assert spacing.without_running(alone) == alone


def test_curves_have_a_point_for_every_bucket_and_none_where_nothing_was_seen() -> None:
    start = datetime(2026, 11, 22, 1, 7, tzinfo=UTC)
    hour = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
    points = spacing.filled([(hour, 2.0), (hour + timedelta(hours=2), 4.0)], start, start + timedelta(hours=2), 3600)
    assert [point.value for point in points] == [2.0, None, 4.0]
    assert points[0].ts_ms == int(hour.timestamp() * 1000)


def test_failures_stop_one_name_at_one_address_and_tell_how_long() -> None:
    limit = FailureLimit(5)
    for second in range(5):
        assert limit.wait_s("desk", "10.0.0.1", second) == 0
        limit.failed("Desk", "10.0.0.1", second)
    assert limit.wait_s("desk", "10.0.0.1", 5) == 55
    assert limit.wait_s("desk", "10.0.0.2", 5) == 0
    assert limit.wait_s("grid1", "10.0.0.1", 5) == 0
    assert limit.wait_s("desk", "10.0.0.1", 60.5) == 0


def test_failures_under_many_names_stop_the_address() -> None:
    limit = FailureLimit(5)
    for number in range(30):
        limit.failed(f"name{number}", "10.0.0.1", 1.0)
    assert limit.wait_s("another", "10.0.0.1", 2.0) == 59
    assert limit.wait_s("another", "10.0.0.2", 2.0) == 0


def test_failures_are_forgotten_after_a_success() -> None:
    limit = FailureLimit(5)
    for _ in range(4):
        limit.failed("desk", "a", 1.0)
    limit.succeeded("desk", "a")
    limit.failed("desk", "a", 2.0)
    assert limit.wait_s("desk", "a", 2.0) == 0


def test_failures_keep_bounded_memory() -> None:
    limit = FailureLimit(5)
    for number in range(25_000):
        limit.failed(f"name{number}", f"a{number}", 1.0)
    assert len(limit._times) <= 10_000


async def test_cache_computes_once_for_all_who_ask_and_again_when_old() -> None:
    now = 0.0
    cache = Cache(10, lambda: now)
    calls = 0

    async def compute() -> bytes:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return b"%d" % calls

    assert await asyncio.gather(*(cache.get("k", compute) for _ in range(5))) == [b"1"] * 5
    now = 9.9
    assert await cache.get("k", compute) == b"1"
    now = 10.0
    assert await cache.get("k", compute) == b"2"


async def test_cache_does_not_keep_a_failure() -> None:
    cache = Cache(10)
    answers: Iterator[OSError | bytes] = iter([OSError("away"), b"here"])

    async def compute() -> bytes:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    with pytest.raises(OSError, match="away"):
        await cache.get("k", compute)
    assert await cache.get("k", compute) == b"here"


async def test_cache_serves_the_others_when_the_first_asker_leaves() -> None:
    cache = Cache(10)
    go = asyncio.Event()

    async def compute() -> bytes:
        await go.wait()
        return b"done"

    first = asyncio.create_task(cache.get("k", compute))
    second = asyncio.create_task(cache.get("k", compute))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert await second == b"done"


def counting(*waits: asyncio.Event) -> tuple[Callable[[], Awaitable[bytes]], list[int]]:
    """What the n-th computation answers is n; it waits for the n-th event, where there is one."""
    begun: list[int] = []

    async def compute() -> bytes:
        begun.append(len(begun) + 1)
        n = begun[-1]
        if n <= len(waits):
            await waits[n - 1].wait()
        return b"%d" % n

    return compute, begun


def done() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_cache_computes_anew_before_an_answer_is_too_old_and_nobody_waits() -> None:
    now, second = 0.0, asyncio.Event()
    cache = Cache(10, lambda: now)
    compute, begun = counting(done(), second)
    assert await cache.get("k", compute) == b"1"
    now = 7.9
    assert await cache.get("k", compute) == b"1" and begun == [1]
    now = 8.0
    assert [await cache.get("k", compute) for _ in range(3)] == [b"1"] * 3
    await asyncio.sleep(0)
    assert begun == [1, 2]  # once, however many ask; and the one before is handed out until it is there
    second.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert await cache.get("k", compute) == b"2"
    now = 17.9  # of when its computation began: it is good until 18
    assert await cache.get("k", compute) == b"2"


async def test_cache_joins_what_is_being_computed_when_the_answer_is_too_old() -> None:
    now, second = 0.0, asyncio.Event()
    cache = Cache(10, lambda: now)
    compute, begun = counting(done(), second)
    await cache.get("k", compute)
    now = 9.0
    await cache.get("k", compute)
    now = 10.0
    asked = asyncio.create_task(cache.get("k", compute))
    await asyncio.sleep(0)
    assert not asked.done()
    second.set()
    assert await asked == b"2" and begun == [1, 2]


async def test_cache_tries_what_failed_ahead_again_when_the_answer_is_too_old_and_not_before() -> None:
    now, begun = 0.0, 0
    cache = Cache(10, lambda: now)

    async def compute() -> bytes:
        nonlocal begun
        begun += 1
        if begun == 2:
            raise OSError("away")
        return b"%d" % begun

    await cache.get("k", compute)
    now = 9.0
    for _ in range(5):
        assert await cache.get("k", compute) == b"1"
        await asyncio.sleep(0)
    assert begun == 2
    now = 10.0
    assert await cache.get("k", compute) == b"3"


async def test_cache_that_forgets_does_not_take_up_what_was_being_computed_before() -> None:
    now, second = 0.0, asyncio.Event()
    cache = Cache(10, lambda: now)
    compute, begun = counting(done(), second)
    await cache.get("k", compute)
    now = 9.0
    await cache.get("k", compute)
    await asyncio.sleep(0)
    cache.forget("k")
    second.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert await cache.get("k", compute) == b"3" and begun == [1, 2, 3]
