"""Webhooks on real sockets and a real database: order, at least once, bad receivers, dead letters, replay."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator
from standardwebhooks import Webhook

from services.adapters.postgres import open_pool
from services.adapters.steady_clock import SteadyClock
from services.alerts.city import loop
from services.alerts.city.figures import tell_figures, tell_public
from services.alerts.city.loop import CityDelivery
from services.alerts.retention import Kept, sweep
from services.alerts.settings import AlertSettings
from services.domain.city.asyncapi import asyncapi
from tests.api_server import connect
from tests.city_kit import (
    Clock,
    Receiver,
    Request,
    alert_data,
    append,
    many,
    order_data,
    put_subscription,
    receiver,
    running,
    status,
)
from tests.factory import put_community, small_community


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(database_url: str, db: Any) -> AsyncIterator[Any]:
    pool = await open_pool(database_url, name="city", max_size=6)
    yield pool
    pool.terminate()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def engine(database_url: str, pool: Any, clock: Clock, pace: float = 0.001) -> CityDelivery:
    settings = AlertSettings(
        database_url=database_url, city_networks="127.0.0.0/8", city_pace=pace, city_connect_s=20, city_timeout_s=30,
        alerts_poll_s=0.05,
    )  # fmt: skip
    return CityDelivery(pool, settings, cast(SteadyClock, clock))


@pytest.fixture
async def started(database_url: str, pool: Any, clock: Clock) -> AsyncIterator[CityDelivery]:
    one = engine(database_url, pool, clock)
    async with running(one):
        yield one


async def until(connection: Any, id: UUID, statement: str, within_s: float = 90) -> Any:
    """The row, once it is so."""
    async with asyncio.timeout(within_s):
        while True:
            row = await connection.fetchrow(
                f"SELECT d.*, s.state FROM city_delivery d JOIN city_subscription s "
                f"ON s.id = d.subscription_id WHERE s.id = $1 AND ({statement})",
                id,
            )
            if row is not None:
                return row
            await asyncio.sleep(0.02)


def seqs(there: Receiver) -> list[int]:
    return [one.seq for one in there.heard]


@pytest.mark.parametrize("format", ["structured", "binary"])
async def test_events_come_in_order_signed_and_readable(db: Any, started: CityDelivery, format: str) -> None:
    async with receiver() as there:
        _, secret = await put_subscription(db, there.url, format=format)
        sent = [await append(db, "alert.raised", alert_data())]
        sent += [await append(db, "order.dispatch", order_data(version=one)) for one in range(1, 6)]
        await append(db, "roster.gap", {"gap_id": "1"})
        sent.append(await append(db, "alert.cleared", alert_data()))
        await there.until(lambda heard: len(heard) >= len(sent))
    assert seqs(there) == sent
    for one in there.heard:
        Webhook(secret).verify(one.body, one.headers)
        if format == "structured":
            document = json.loads(one.body)
            published = asyncapi("", "/api/v1")["components"]["schemas"][document["type"]]["schema"]
            Draft202012Validator(published).validate(document)
        parsed = from_http(HTTPMessage(one.headers, one.body), JSONFormat())
        assert parsed.get_id() == one.headers["webhook-id"] and parsed.get_type().startswith("cn.linhub.")


async def test_receiver_that_was_down_gets_everything_in_order(db: Any, started: CityDelivery) -> None:
    async with receiver(answering=status(503)) as there:
        id, _ = await put_subscription(db, there.url)
        first, last = await many(db, 60)
        row = await until(db, id, "d.failures >= 3")
        assert row["seq"] < first and row["last_error"] == "HTTP 503"
        there.answering = status(200)
        tried = len(there.heard)
        row = await until(db, id, f"d.seq >= {last}")
    taken = [one.seq for one in there.heard[tried:]]
    assert list(dict.fromkeys(taken)) == list(range(first, last + 1)) and taken == sorted(taken)
    assert row["failures"] == 0 and row["delivered"] == 60 and row["last_error"] is None
    log = await db.fetch("SELECT ok, status, count(*) FROM city_attempt WHERE subscription_id = $1 GROUP BY 1, 2", id)
    assert {(one["ok"], one["status"]) for one in log} == {(True, 200), (False, 503)}


async def test_slow_and_stalled_receivers_hold_nobody_else_up(db: Any, started: CityDelivery) -> None:
    held = asyncio.Event()

    async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
        await held.wait()

    async with receiver(answering=stall) as stuck, receiver() as there:
        for _ in range(5):
            await put_subscription(db, stuck.url)
        id, _ = await put_subscription(db, there.url)
        await append(db, "order.note", order_data())
        await stuck.until(lambda heard: len(heard) >= 5)
        _, last = await many(db, 40)
        await until(db, id, f"d.seq >= {last}")
        assert len(there.heard) == 41 and await db.fetchval("SELECT count(*) FROM city_attempt WHERE ok") == 41
        held.set()


async def test_gone_disables_and_nothing_more_is_sent(db: Any, started: CityDelivery) -> None:
    async with receiver(answering=status(410)) as there:
        id, _ = await put_subscription(db, there.url)
        await many(db, 3)
        row = await until(db, id, "s.state = 'disabled' AND d.lease IS NULL")
        why = await db.fetchval("SELECT state_why FROM city_subscription WHERE id = $1", id)
        assert why == "410 Gone" and row["delivered"] == 0 and len(there.heard) == 1


async def test_retry_after_is_honoured(db: Any, started: CityDelivery, clock: Clock) -> None:
    async with receiver(answering=status(429, "Retry-After: 600")) as there:
        id, _ = await put_subscription(db, there.url)
        await many(db, 1)
        row = await until(db, id, "d.failures = 1 AND d.lease IS NULL")
        assert timedelta(seconds=590) < row["next_at"] - clock.now() <= timedelta(seconds=600)
        there.answering = status(200)
        clock.ahead = timedelta(seconds=601)
        started.wake()
        await until(db, id, "d.delivered = 1")
    assert len(there.heard) == 2


async def test_what_cannot_be_delivered_for_three_days_is_a_dead_letter_that_can_be_replayed(
    db: Any, started: CityDelivery, clock: Clock
) -> None:
    async with receiver(answering=status(500)) as there:
        id, _ = await put_subscription(db, there.url)
        first, last = await many(db, 2)
        await until(db, id, "d.failures >= 2")
        assert await db.fetchval("SELECT count(*) FROM city_dead_letter") == 0
        clock.ahead = timedelta(days=3, seconds=1)
        started.wake()
        await until(db, id, f"d.seq >= {last}")
        dead = await db.fetch("SELECT seq, upto, why, attempts FROM city_dead_letter ORDER BY seq")
        assert [(one["seq"], one["upto"], one["why"]) for one in dead] == [
            (first, first, "expired: 500"), (last, last, "expired: 500"),
        ]  # fmt: skip
        assert dead[0]["attempts"] >= 3
        there.answering = status(200)
        tried = len(there.heard)
        await db.execute(
            "UPDATE city_delivery SET replay_seq = $2, replay_upto = $3, resumed_at = $4, next_at = $4 "
            "WHERE subscription_id = $1",
            id, first - 1, last, clock.now(),
        )  # fmt: skip
        await until(db, id, "d.replay_seq IS NULL")
        live = await append(db, "order.note", order_data())
        await until(db, id, f"d.seq >= {live}")
    assert [one.seq for one in there.heard[tried:]] == [first, last, live]
    rows = await db.fetch("SELECT replayed_at FROM city_dead_letter")
    assert all(row["replayed_at"] is not None for row in rows)
    assert await db.fetchval("SELECT count(*) FROM city_attempt WHERE sort = 'replay' AND ok") == 2


async def test_one_event_that_is_refused_does_not_hold_up_the_rest_for_days(
    db: Any, started: CityDelivery, clock: Clock
) -> None:
    async def fussy(request: Request, writer: asyncio.StreamWriter) -> None:
        await status(422 if request.seq == bad else 200)(request, writer)

    async with receiver() as there:
        id, _ = await put_subscription(db, there.url)
        bad = await append(db, "order.note", order_data()) + 1
        there.answering = fussy
        await append(db, "order.note", order_data())
        last = await append(db, "order.note", order_data())
        await until(db, id, "d.refusals >= 8")
        clock.ahead = timedelta(hours=1, seconds=30)
        started.wake()
        await until(db, id, f"d.seq >= {last}")
        [dead] = await db.fetch("SELECT seq, why FROM city_dead_letter")
        assert (dead["seq"], dead["why"]) == (bad, "refused: 422") and there.heard[-1].seq == last


async def test_pause_stops_at_once_and_a_shut_account_hears_nothing(db: Any, started: CityDelivery) -> None:
    async with receiver() as there:
        id, _ = await put_subscription(db, there.url)
        await append(db, "order.note", order_data())
        await until(db, id, "d.delivered = 1 AND d.lease IS NULL")
        await db.execute("UPDATE city_subscription SET state = 'paused' WHERE id = $1", id)
        await many(db, 5)
        other, _ = await put_subscription(db, there.url)
        account = await db.fetchval("SELECT account_id FROM city_subscription WHERE id = $1", other)
        await db.execute("UPDATE app_user SET disabled_at = now() WHERE id = $1", account)
        witness, _ = await put_subscription(db, there.url, types=("report.*",))
        last = await append(db, "order.note", order_data())
        await until(db, witness, f"d.seq >= {last}")
        assert len(there.heard) == 1
        await db.execute("UPDATE city_subscription SET state = 'active' WHERE id = $1", id)
        await until(db, id, f"d.seq >= {last}")
    assert len(there.heard) == 7


async def test_test_is_sent_and_logged_also_while_paused(db: Any, started: CityDelivery) -> None:
    async with receiver() as there:
        id, secret = await put_subscription(db, there.url)
        await db.execute("UPDATE city_subscription SET state = 'paused' WHERE id = $1", id)
        test_id = uuid4()
        await db.execute("UPDATE city_delivery SET test_id = $2 WHERE subscription_id = $1", id, test_id)
        [one] = await there.until(lambda heard: len(heard) == 1)
        await until(db, id, "d.test_id IS NULL")
    assert one.headers["webhook-id"] == f"test-{test_id}"
    said = Webhook(secret).verify(one.body, one.headers)
    assert (said["mark"], said["type"]) == ("Test", "cn.linhub.subscription.test.v1")
    [row] = await db.fetch("SELECT sort, ok FROM city_attempt")
    assert (row["sort"], row["ok"]) == ("test", True)


async def test_two_engines_share_subscriptions_and_deliver_each_event_once(
    database_url: str, db: Any, pool: Any, clock: Clock
) -> None:
    async with (
        receiver() as there,
        running(engine(database_url, pool, clock)),
        running(engine(database_url, pool, clock)),
    ):
        ids = [(await put_subscription(db, f"{there.url}/{one}"))[0] for one in range(4)]
        first, last = await many(db, 50)
        for id in ids:
            await until(db, id, f"d.seq >= {last}")
    for one in range(4):
        assert [heard.seq for heard in there.heard if heard.path == f"/hook/{one}"] == list(range(first, last + 1))


async def test_what_an_engine_that_died_was_sending_is_sent_again_by_another(
    database_url: str, db: Any, pool: Any, clock: Clock
) -> None:
    held = asyncio.Event()

    async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
        await held.wait()

    async with receiver(answering=stall) as there:
        id, _ = await put_subscription(db, there.url)
        seq = await append(db, "order.note", order_data())
        dying = engine(database_url, pool, clock)
        await dying.deliver()
        await there.until(lambda heard: len(heard) == 1)
        for task in dying._serving:
            task.cancel()
        there.answering = status(200)
        async with running(engine(database_url, pool, clock)) as _:
            witness, _ = await put_subscription(db, there.url)
            last = await append(db, "order.note", order_data())
            await until(db, witness, f"d.seq >= {last}")
            assert [one.seq for one in there.heard].count(seq) == 1, "the lease still stands"
            clock.ahead = timedelta(seconds=61)
            await until(db, id, f"d.seq >= {last}")
    assert [one.seq for one in there.heard].count(seq) == 2


async def test_stop_finishes_what_is_under_way_and_leaves_no_lease(
    database_url: str, db: Any, pool: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_DRAIN_S", 60.0)
    answered = asyncio.Event()

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        await status(200)(request, writer)

    async with receiver(answering=slow) as there:
        id, _ = await put_subscription(db, there.url)
        first, _ = await many(db, 3)
        task = asyncio.create_task(engine(database_url, pool, clock).run())
        await there.until(lambda heard: len(heard) == 1)
        task.cancel()
        answered.set()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        row = await until(db, id, "d.lease IS NULL")
    assert (row["seq"], row["delivered"]) == (first, 1) and seqs(there) == [first]


async def test_nothing_is_sent_unsigned(db: Any, started: CityDelivery) -> None:
    async with receiver() as there:
        id, _ = await put_subscription(db, there.url)
        await db.execute("UPDATE city_signing_key SET ends_at = now() - interval '1 s'")
        await append(db, "order.note", order_data())
        row = await until(db, id, "d.failures >= 1")
        assert row["last_error"] == "no signing key" and there.connections == 0


async def test_what_the_outbox_let_go_of_is_a_dead_letter_of_its_own(db: Any, started: CityDelivery) -> None:
    async with receiver() as there:
        id, _ = await put_subscription(db, there.url)
        await db.execute("UPDATE city_subscription SET state = 'paused' WHERE id = $1", id)
        first, last = await many(db, 10)
        await db.execute("DELETE FROM outbox WHERE seq < $1", last - 2)
        await db.execute("UPDATE city_subscription SET state = 'active' WHERE id = $1", id)
        await until(db, id, f"d.seq >= {last}")
    assert seqs(there) == [last - 2, last - 1, last]
    [dead] = await db.fetch("SELECT seq, upto, why FROM city_dead_letter")
    assert (dead["seq"], dead["upto"]) == (first, last - 3) and "let go" in dead["why"]


async def test_database_that_was_restored_to_an_earlier_time_is_followed_from_there(
    db: Any, started: CityDelivery
) -> None:
    async with receiver() as there:
        id, _ = await put_subscription(db, there.url)
        head = await append(db, "order.note", order_data())
        await until(db, id, "d.delivered = 1 AND d.lease IS NULL")
        await db.execute("UPDATE city_delivery SET seq = seq + 1000 WHERE subscription_id = $1", id)
        await until(db, id, f"d.seq = {head}")
        last = await append(db, "order.note", order_data())
        await until(db, id, f"d.seq = {last}")
    assert seqs(there) == [head, last]


async def test_row_that_makes_no_sense_is_passed_over_and_told_of(db: Any, started: CityDelivery) -> None:
    async with receiver() as there:
        id, _ = await put_subscription(db, there.url)
        bad = await append(db, "order.note", {"order_id": "x"})
        good = await append(db, "order.note", order_data())
        await until(db, id, f"d.seq >= {good}")
    assert seqs(there) == [good]
    [dead] = await db.fetch("SELECT seq, why FROM city_dead_letter")
    assert (dead["seq"], dead["why"]) == (bad, "unreadable")


async def test_receiver_that_redirects_is_not_followed_and_one_that_is_private_is_not_reached(
    database_url: str, db: Any, pool: Any, clock: Clock, started: CityDelivery
) -> None:
    async with receiver() as inner, receiver(answering=status(302, f"Location: {inner.url}")) as there:
        moved, _ = await put_subscription(db, there.url)
        private, _ = await put_subscription(db, "https://10.1.2.3/hook")
        metadata, _ = await put_subscription(db, "http://169.254.169.254/latest/meta-data")
        await append(db, "order.note", order_data())
        assert "redirect" in (await until(db, moved, "d.failures >= 1"))["last_error"]
        assert (await until(db, private, "d.failures >= 1"))["last_error"] == "address refused: private"
        assert (await until(db, metadata, "d.failures >= 1"))["last_error"] == "address refused: metadata"
        assert inner.connections == 0


async def test_log_and_dead_letters_are_kept_as_long_as_the_outbox(db: Any, pool: Any, clock: Clock) -> None:
    id, _ = await put_subscription(db, "https://events.example.cn/")
    for days in (29, 31):
        at = clock.now() - timedelta(days=days)
        await db.execute(
            "INSERT INTO city_attempt (subscription_id, seq, type, at, ok, ms, sort) "
            "VALUES ($1, 1, '', $2, true, 1, 'event')",
            id, at,
        )  # fmt: skip
        await db.execute(
            "INSERT INTO city_dead_letter (subscription_id, seq, upto, type, at, why, attempts) "
            "VALUES ($1, $2, $2, '', $3, 'x', 1)",
            id, days, at,
        )  # fmt: skip
    purged = await sweep(pool, Kept(timedelta(days=400), timedelta(days=30)), clock.now())
    assert (purged["city_attempt"], purged["city_dead_letter"]) == (1, 1)


async def test_figures_of_a_day_are_told_once_when_it_is_over(db: Any, pool: Any, clock: Clock) -> None:
    assert await tell_figures(pool, clock.now()) == 0, "what was before is told to nobody"
    clock.ahead = timedelta(days=2)
    counts = await asyncio.gather(tell_figures(pool, clock.now()), tell_figures(pool, clock.now()))
    assert sum(counts) == 2 and await tell_figures(pool, clock.now()) == 0
    rows = await db.fetch("SELECT type, data FROM outbox ORDER BY seq")
    assert [row["type"] for row in rows] == ["kpi.day", "kpi.day"]
    days = [row["data"]["day"] for row in rows]
    assert days == sorted(days) and rows[0]["data"]["figures"]


async def test_public_data_is_told_of_communities_that_opened_it_where_it_changed(
    db: Any, pool: Any, clock: Clock
) -> None:
    await tell_figures(pool, clock.now())
    slot = await db.fetchval("SELECT metric_slot('environment', 'noise')")
    device = await db.fetchval("SELECT device_no FROM device WHERE kind = 'environment' LIMIT 1")

    async def heard(noise: float) -> None:
        vals: list[float | None] = [None] * (slot - 1) + [noise]
        await db.execute(
            "INSERT INTO device_state (device_no, online, vals, vals_ts) VALUES ($1, true, $2, now()) "
            "ON CONFLICT (device_no) DO UPDATE SET vals = $2, vals_ts = now(), online = true",
            device, vals,
        )  # fmt: skip

    await heard(50)
    assert await tell_public(pool, clock.now()) == 0, "nobody opened it"
    await db.execute("UPDATE community SET open_data = true")
    assert await tell_public(pool, clock.now()) == 1 and await tell_public(pool, clock.now()) == 0
    await heard(52)
    assert await tell_public(pool, clock.now()) == 0
    await heard(54)
    assert await tell_public(pool, clock.now()) == 1
    said = [row["data"] for row in await db.fetch("SELECT data FROM outbox WHERE type = 'public.changed' ORDER BY seq")]
    assert [one["noise_db"] for one in said] == [50, 54]
    assert all(one["parking_left"] is None for one in said), "too few spaces to tell"
