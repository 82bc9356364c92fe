"""City events by MQTT at the real broker: order, at least once, who may read what, gaps that show, cut connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from jsonschema import Draft202012Validator

from deploy.embedded import broker as embedded
from services.adapters.postgres import open_pool
from services.adapters.steady_clock import SteadyClock
from services.alerts.city.loop import CityDelivery
from services.alerts.settings import AlertSettings
from services.cli.city_sim_book import Book
from services.domain.city.asyncapi import asyncapi
from services.domain.city.envelope import STRUCTURED_TYPE
from tests.access_kit import key, service, with_key
from tests.api_server import api_server, client, connect
from tests.city_kit import Clock, alert_data, append, many, order_data, subscribe
from tests.city_mqtt_kit import Login, Message, Reader, admitted, identity_kept, put_login, put_mqtt, reading
from tests.city_mqtt_kit import until as so
from tests.conftest import Servers, own_servers
from tests.factory import put_community, small_community
from tests.integration.test_city_delivery import until
from tests.proxy import Proxy

QUEUE = 30
"""What fits into a session of this broker: the shipped limit is too far away for a test."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    render = embedded.render

    def small(text: str, *more: Any) -> str:
        text = text.replace("max_queued_messages 3500000", f"max_queued_messages {QUEUE}")
        return render(text.replace("max_inflight_messages 20000", "max_inflight_messages 5"), *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "render", small)
        with own_servers(tmp_path_factory.mktemp("north") / "home") as own:
            yield own


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def kept(database_url: str, home: Servers, db: Any) -> AsyncIterator[None]:
    async with identity_kept(database_url, home.mqtt):
        yield


@asynccontextmanager
async def delivering(database_url: str, home: Servers, port: int | None = None, **more: Any) -> AsyncIterator[Any]:
    """An engine's deliveries, woken by the outbox."""
    pool = await open_pool(database_url, name="city", max_size=4)
    url = home.mqtt.account_url("svc-alerts").replace(f":{home.mqtt.port}", f":{port or home.mqtt.port}")
    settings = AlertSettings(
        database_url=database_url, mqtt_url=url, city_pace=0.001, alerts_poll_s=0.05, **{"city_timeout_s": 10, **more}
    )
    one = CityDelivery(pool, settings, cast(SteadyClock, Clock()))
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        pool.terminate()


def event_of(message: Message) -> CloudEvent:
    """By the CloudEvents project's own package; it has no MQTT binding, so the two modes are told apart here."""
    if message.content_type.startswith("application/cloudevents+json"):
        return cast(CloudEvent, JSONFormat().read(CloudEvent, message.payload))
    attributes: dict[str, Any] = {name: text for name, text in message.user.items() if name != "previous"}
    attributes |= {"datacontenttype": message.content_type}
    read = JSONFormat().read(CloudEvent, json.dumps(attributes | {"data": json.loads(message.payload)}))
    return cast(CloudEvent, read)


def chain(heard: list[Message], seqs: list[int]) -> list[tuple[int | None, int]]:
    """(what it names as the one before, itself)"""
    return list(zip([one.previous for one in heard], seqs, strict=True))


@pytest.mark.parametrize("format", ["structured", "binary"])
async def test_events_come_in_order_as_cloudevents_each_naming_the_one_before(
    db: Any, database_url: str, home: Servers, kept: None, format: str
) -> None:
    login = await put_mqtt(db, format=format)
    await admitted(home.mqtt, login)
    async with reading(home.mqtt, login) as there, delivering(database_url, home):
        sent = [await append(db, "alert.raised", alert_data())]
        sent += [await append(db, "order.dispatch", order_data(version=one)) for one in range(1, 6)]
        await append(db, "roster.gap", {"gap_id": "1"})
        sent.append(await append(db, "alert.cleared", alert_data()))
        await so(lambda: len(there.heard) >= len(sent))
        row = await until(db, login.subscription, f"d.seq >= {sent[-1]}")
    assert there.seqs == sent and row["sent_seq"] == sent[-1] and row["ahead"] == len(sent)
    assert chain(there.heard, sent) == list(zip([None, *sent], sent, strict=False))
    first = there.heard[0]
    assert first.topic == f"city/{login.subscription}/test/alert/raised"
    assert first.content_type == (STRUCTURED_TYPE if format == "structured" else "application/json")
    for one in there.heard:
        assert not one.retained and one.expires_s is not None and 29 * 86_400 < one.expires_s <= 30 * 86_400
        event = event_of(one)
        assert event.get_id() == str(int(event.get_extension("sequence"))) and event.get_type().startswith("cn.linhub.")
        published = asyncapi("", "/api/v1")["components"]["schemas"][event.get_type()]["schema"]
        whole = json.loads(JSONFormat().write(event))
        Draft202012Validator(published).validate(whole)
    log = await db.fetch("SELECT ok, status, sort FROM city_attempt WHERE subscription_id = $1", login.subscription)
    assert {(one["ok"], one["status"], one["sort"]) for one in log} == {(True, 0, "event")}


async def test_what_nobody_has_subscribed_to_is_not_taken_and_comes_when_somebody_does(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    login = await put_mqtt(db)
    await admitted(home.mqtt, login)
    async with delivering(database_url, home):
        first, last = await many(db, 40)
        row = await until(db, login.subscription, "d.failures >= 3")
        assert row["seq"] < first and row["last_error"] == "nobody has subscribed (0x10)"
        async with reading(home.mqtt, login) as there:
            await until(db, login.subscription, f"d.seq >= {last}")
            await so(lambda: len(there.heard) >= 40)
    assert there.seqs == list(range(first, last + 1))


async def test_a_subscriber_with_a_lasting_session_gets_what_came_while_it_was_away(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    login = await put_mqtt(db)
    await admitted(home.mqtt, login)
    async with reading(home.mqtt, login):
        pass
    async with delivering(database_url, home):
        first, last = await many(db, QUEUE)
        await until(db, login.subscription, f"d.seq >= {last}")
    async with reading(home.mqtt, login) as there:
        await so(lambda: len(there.heard) >= QUEUE)
    assert there.seqs == list(range(first, last + 1))


async def test_what_a_full_queue_dropped_shows_as_a_gap_and_is_pulled(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    """The broker says 0x00 to what it drops. The message after the gap names one that never came."""
    login = await put_mqtt(db)
    await admitted(home.mqtt, login)
    async with reading(home.mqtt, login):
        pass
    async with delivering(database_url, home), api_server(database_url) as url:
        first, last = await many(db, QUEUE + 20)
        await until(db, login.subscription, f"d.seq >= {last}")
        async with reading(home.mqtt, login) as there:
            await so(lambda: len(there.heard) >= QUEUE)
            after = await append(db, "order.note", order_data())
            await so(lambda: after in there.seqs)
            await until(db, login.subscription, f"d.seq >= {after}")
        assert there.seqs == [*range(first, first + QUEUE), after]
        broken = [(before, seq) for before, seq in chain(there.heard, there.seqs) if before not in (None, seq - 1)]
        gaps = [(before, seq) for before, seq in chain(there.heard, there.seqs)[1:] if before not in there.seqs]
        assert gaps == [(last, after)] and broken == []
        async with client(url, "admin") as admin:
            account = await db.fetchval(
                "SELECT account_id FROM city_subscription WHERE id = $1",
                login.subscription,
            )
            secret = (await key(admin, account, scopes=["city_events"]))["secret"]
        async with with_key(url, secret) as http:
            page = (await http.get("/city/events", params={"cursor": first + QUEUE - 1})).json()
        assert [int(one["id"]) for one in page["items"]] == [*range(first + QUEUE, last + 1), after]
        row = await db.fetchrow("SELECT confirmed, ahead FROM city_delivery")
        assert (row["confirmed"], row["ahead"]) == (first + QUEUE - 1, 0)


async def test_what_a_puback_hides_shows_as_a_gap(db: Any, database_url: str, home: Servers, kept: None) -> None:
    """0x00 for a subscription with QoS 0 that is away, and for one of somebody who may not read: dropped, both."""
    login, curious = await put_mqtt(db), await put_mqtt(db)
    for one in (login, curious):
        await admitted(home.mqtt, one)
    async with delivering(database_url, home):
        async with reading(home.mqtt, curious, topics=("#", login.topics)) as ear:
            unread = await append(db, "order.note", order_data())
            await until(db, login.subscription, f"d.seq >= {unread}")
            await until(db, curious.subscription, f"d.seq >= {unread}")
            await so(lambda: len(ear.heard) == 1)
            assert ear.heard[0].topic.startswith(f"city/{curious.subscription}/")
        async with reading(home.mqtt, login, qos=0) as there:
            heard = await append(db, "order.note", order_data())
            await so(lambda: heard in there.seqs)
            assert there.heard[0].previous == unread
        lost = await append(db, "order.note", order_data())
        await until(db, login.subscription, f"d.seq >= {lost}")
        async with reading(home.mqtt, login) as there:
            after = await append(db, "order.note", order_data())
            await so(lambda: after in there.seqs)
    assert chain(there.heard, there.seqs) == [(lost, after)]


async def test_who_confirms_nothing_is_sent_only_so_much_and_goes_on_by_pulling(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    async with (
        delivering(database_url, home, city_mqtt_ahead=100),
        api_server(database_url) as url,
        client(url, "admin") as admin,
    ):
        account = await service(admin, community_id="test")
        made = await subscribe(admin, account, way="mqtt")
        secret = (await key(admin, account, scopes=["city_events"]))["secret"]
        login = Login(made["broker"]["login"]["name"], made["broker"]["secret"], made["subscription"]["id"])
        assert made["broker"]["topics"] == login.topics and made["secret"] is None
        await admitted(home.mqtt, login)
        async with reading(home.mqtt, login) as there, with_key(url, secret) as http:
            first, last = await many(db, 150)
            row = await until(db, cast(Any, login.subscription), "d.failures >= 2")
            assert "pull with its cursor" in row["last_error"] and row["seq"] == first + 99
            await so(lambda: len(there.heard) >= 100)
            pulled = await http.get("/city/events", params={"cursor": there.seqs[-1], "limit": 1})
            assert pulled.status_code == 200
            await until(db, cast(Any, login.subscription), f"d.seq >= {last}")
            await so(lambda: len(there.heard) >= 150)
    assert there.seqs == list(range(first, last + 1))


async def test_a_connection_lost_before_the_puback_doubles_and_loses_nothing(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    """The engine's way to the broker is cut while events are under way, again and again."""
    login = await put_mqtt(db)
    await admitted(home.mqtt, login)
    proxy = Proxy(home.mqtt.host, home.mqtt.port)
    await proxy.mend()
    async with reading(home.mqtt, login) as there, delivering(database_url, home, proxy.port):
        first, last = await many(db, 400)
        for share in (0.2, 0.5, 0.8):
            await so(lambda share=share: len(there.heard) >= 400 * share)  # type: ignore[misc]
            await proxy.cut()
            await proxy.mend()
        await until(db, login.subscription, f"d.seq >= {last} AND d.replay_seq IS NULL")
        await so(lambda: len(set(there.seqs)) >= 400)
    await proxy.cut()
    assert there.first_seqs == list(range(first, last + 1)), "in order, each"
    lost = await db.fetchval("SELECT count(*) FROM city_attempt WHERE NOT ok")
    print(f"\ncut 3 times: {len(there.seqs) - 400} doubled, {lost} attempts lost")  # noqa: T201


async def test_a_broker_that_stands_still_is_given_up_and_everything_comes_in_order(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    login = await put_mqtt(db)
    await admitted(home.mqtt, login)
    proxy = Proxy(home.mqtt.host, home.mqtt.port)
    await proxy.mend()
    async with reading(home.mqtt, login) as there, delivering(database_url, home, proxy.port, city_timeout_s=0.5):
        await append(db, "order.note", order_data())
        await so(lambda: len(there.heard) == 1)
        proxy.freeze()
        first, last = await many(db, 20)
        row = await until(db, login.subscription, "d.failures >= 1")
        assert row["last_error"] == "the broker did not answer"
        proxy.thaw()
        await until(db, login.subscription, f"d.seq >= {last}")
        await so(lambda: last in there.seqs)
    await proxy.cut()
    assert there.first_seqs[1:] == list(range(first, last + 1))


async def test_a_stopped_engine_leaves_a_mark_and_the_next_sends_nothing_twice(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    login = await put_mqtt(db)
    await admitted(home.mqtt, login)
    async with reading(home.mqtt, login) as there:
        async with delivering(database_url, home):
            first, last = await many(db, 20)
            await until(db, login.subscription, f"d.seq >= {last} AND d.lease IS NULL")
        async with delivering(database_url, home):
            after = await append(db, "order.note", order_data())
            await so(lambda: after in there.seqs)
    assert there.seqs == [*range(first, last + 1), after]


async def test_tests_and_replays_go_the_same_way(db: Any, database_url: str, home: Servers, kept: None) -> None:
    async with (
        delivering(database_url, home),
        api_server(database_url) as url,
        client(url, "admin") as admin,
    ):
        made = await subscribe(admin, way="mqtt")
        id = made["subscription"]["id"]
        login = Login(made["broker"]["login"]["name"], made["broker"]["secret"], id)
        await admitted(home.mqtt, login)
        async with reading(home.mqtt, login) as there:
            first, last = await many(db, 5)
            await so(lambda: len(there.heard) == 5)
            assert (await admin.post(f"/city/subscriptions/{id}/test")).status_code == 202
            await so(lambda: len(there.heard) == 6)
            test = event_of(there.heard[-1])
            assert test.get_type() == "cn.linhub.city.test.v1" or test.get_id().startswith("test-")
            assert there.heard[-1].previous is None and there.heard[-1].topic.startswith(f"city/{id}/test/")
            await until(db, cast(Any, id), f"d.seq >= {last}")
            asked = await admin.post(f"/city/subscriptions/{id}/replay", json={"first": first + 1, "last": first + 2})
            assert asked.status_code == 202, asked.text
            await so(lambda: len(there.heard) == 8)
            await until(db, cast(Any, id), "d.replay_seq IS NULL")  # written together with the line of the log
            log = (await admin.get(f"/city/subscriptions/{id}/attempts")).json()["items"]
    assert there.seqs[5:] == [first + 1, first + 2]
    assert sorted(one["sort"] for one in log) == ["event"] * 5 + ["replay"] * 2 + ["test"]


# -- logins --------------------------------------------------------------------------------------------------------


async def _joined(admin: httpx.AsyncClient, home: Servers) -> tuple[str, Login]:
    made = await subscribe(admin, way="mqtt")
    id = made["subscription"]["id"]
    login = Login(made["broker"]["login"]["name"], made["broker"]["secret"], id)
    await admitted(home.mqtt, login)
    return id, login


async def _another(admin: httpx.AsyncClient, id: str, **body: Any) -> Login:
    made = await admin.post(f"/city/subscriptions/{id}/logins", json=body)
    assert made.status_code == 201, made.text
    return Login(made.json()["login"]["name"], made.json()["secret"], cast(Any, id))


async def test_logins_are_rotated_with_an_overlap_and_ended_with_their_connection(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    async with (
        delivering(database_url, home), api_server(database_url) as url, client(url, "admin") as admin,
        contextlib.AsyncExitStack() as stack,
    ):  # fmt: skip
        id, old = await _joined(admin, home)
        _, other = await _joined(admin, home)
        before = await stack.enter_async_context(reading(home.mqtt, old))
        beside = await stack.enter_async_context(reading(home.mqtt, other))
        new = await _another(admin, id, overlap_s=86_400)
        await admitted(home.mqtt, new)
        after = await stack.enter_async_context(reading(home.mqtt, new))
        await many(db, 3)
        await so(lambda: len(before.heard) == len(after.heard) == len(beside.heard) == 3)
        shown = (await admin.get(f"/city/subscriptions/{id}/logins")).json()
        assert {one["name"]: one["ends_at"] is None for one in shown["items"]} == {old.name: False, new.name: True}
        assert "secret" not in json.dumps(shown)
        answer = await admin.post(f"/city/subscriptions/{id}/logins/{old.name}/end")
        assert answer.status_code == 200
        await so(lambda: bool(before.lost))
        await admitted(home.mqtt, old, False)
        last = await append(db, "order.note", order_data())
        await so(lambda: last in after.seqs and last in beside.seqs)
        assert not after.lost and not beside.lost and last not in before.seqs
        short = await _another(admin, id, overlap_s=0)
        await admitted(home.mqtt, short)
        await so(lambda: bool(after.lost))
        again = await admin.post(f"/city/subscriptions/{id}/logins/{old.name}/end")
        assert again.status_code == 200
        assert (await admin.post(f"/city/subscriptions/{id}/logins/{other.name}/end")).status_code == 404
        told = await db.fetch("SELECT action FROM audit WHERE action LIKE 'city.login%' ORDER BY id")
        assert [one["action"] for one in told] == ["city.login", "city.login_end", "city.login"]
        assert not await db.fetchval("SELECT bool_or(detail::text LIKE '%' || $1 || '%') FROM audit", new.secret)


async def test_a_login_ends_by_itself_when_its_time_is_over(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    """Nothing in the registry changes then: the watcher has to look at the clock."""
    login = await put_mqtt(db)
    staying = await put_login(db, login.subscription)
    await admitted(home.mqtt, login)
    async with reading(home.mqtt, login) as there, reading(home.mqtt, staying) as other:
        await db.execute("UPDATE city_broker_login SET ends_at = now() + interval '1 s' WHERE name = $1", login.name)
        await so(lambda: bool(there.lost))
        await admitted(home.mqtt, login, False)
        assert not other.lost


async def test_an_account_that_is_shut_and_a_subscription_that_is_deleted_are_cut(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    async with api_server(database_url) as url, client(url, "admin") as admin:
        id, first = await _joined(admin, home)
        other_id, second = await _joined(admin, home)
        account = await db.fetchval("SELECT account_id FROM city_subscription WHERE id = $1::text::uuid", id)
        async with reading(home.mqtt, first) as shut, reading(home.mqtt, second) as gone:
            answer = await admin.put(f"/service-accounts/{account}", json={"disabled": True})
            if answer.status_code != 200:
                await db.execute("UPDATE app_user SET disabled_at = now() WHERE id = $1", account)
            await so(lambda: bool(shut.lost))
            assert not gone.lost
            answer = await admin.delete(f"/city/subscriptions/{other_id}", headers={"If-Match": '"1"'})
            assert answer.status_code == 204, answer.text
            await so(lambda: bool(gone.lost))


async def test_what_waited_for_a_login_that_was_ended_is_thrown_away_by_the_broker(
    db: Any, database_url: str, home: Servers, kept: None
) -> None:
    login = await put_mqtt(db)
    other = await put_login(db, login.subscription)
    await admitted(home.mqtt, other)
    async with reading(home.mqtt, login):
        pass
    async with delivering(database_url, home):
        _, last = await many(db, 5)
        await until(db, login.subscription, f"d.seq >= {last}")
        await db.execute("UPDATE city_broker_login SET ends_at = now() WHERE name = $1", login.name)
        # A look whether it is let in would end its session: the login is the client id, and the look wants no session.
        assert home.mqtt.broker is not None
        file = home.mqtt.broker.password_file
        await so(lambda: login.name not in file.read_text())

        async def nobody() -> bool:
            after = await append(db, "order.note", order_data())
            with contextlib.suppress(TimeoutError):
                await until(db, login.subscription, f"d.failures > 0 AND d.seq < {after}", within_s=2)
                return True
            return False

        async with asyncio.timeout(60):
            while not await nobody():
                pass


async def test_only_mqtt_subscriptions_have_logins_and_not_too_many(db: Any, database_url: str, home: Servers) -> None:
    async with api_server(database_url) as url, client(url, "admin") as admin:
        pulled = (await subscribe(admin))["subscription"]["id"]
        refused = await admin.post(f"/city/subscriptions/{pulled}/logins", json={})
        assert refused.status_code == 409 and "MQTT" in refused.json()["detail"]
        id = (await subscribe(admin, way="mqtt"))["subscription"]["id"]
        for _ in range(4):
            await _another(admin, id)
        assert (await admin.post(f"/city/subscriptions/{id}/logins", json={})).status_code == 409
        with_url = {"account_id": await service(admin), "name": "x", "way": "mqtt", "url": "https://example.cn/"}
        headers = {"Idempotency-Key": "x"}
        assert (await admin.post("/city/subscriptions", json=with_url, headers=headers)).status_code == 422


def test_reader_would_be_refused_without_a_login(home: Servers) -> None:
    """Proof that the broker asks at all."""
    reader = Reader(home.mqtt.device_port, Login("city.aaaaaaaaaaaaaaaa", "x", cast(Any, "y")))
    try:
        asyncio.run(so(lambda: bool(reader.verdicts)))
        assert reader.verdicts[0] == "Not authorized"
    finally:
        reader.close()


# -- the small platform --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["structured", "binary"])
async def test_small_platform_receives_by_mqtt_and_pulls_what_the_broker_dropped(
    db: Any, database_url: str, home: Servers, kept: None, tmp_path: Path, format: str
) -> None:
    """As a process, stopped and started again: the second time its session's queue has overflowed meanwhile."""
    async with delivering(database_url, home), api_server(database_url) as url, client(url, "admin") as admin:
        account = await service(admin, community_id="test")
        made = await subscribe(admin, account, way="mqtt", format=format)
        id = made["subscription"]["id"]
        login = Login(made["broker"]["login"]["name"], made["broker"]["secret"], id)
        await admitted(home.mqtt, login)
        (tmp_path / "key").write_text((await key(admin, account, scopes=["city_events"]))["secret"])
        (tmp_path / "secret").write_text(login.secret)
        path = tmp_path / "city.db"
        command = [
            sys.executable, "-m", "services.cli.main", "city-sim", "listen", "--book", str(path), "--mqtt",
            f"mqtt://{login.name}@{home.mqtt.host}:{home.mqtt.device_port}", "--topics", login.topics, "--secret",
            str(tmp_path / "secret"), "--against", url, "--api-key", str(tmp_path / "key"), "--every", "3600",
        ]  # fmt: skip
        first = await _listening(command, path, lambda: append(db, "order.note", order_data()), db)
        _, last = await many(db, QUEUE + 15)
        await until(db, cast(Any, id), f"d.seq >= {last}")
        after = await _listening(command, path, lambda: append(db, "order.note", order_data()), db)
        row = await db.fetchrow("SELECT confirmed, ahead FROM city_delivery")
    with contextlib.closing(Book(path)) as book:
        found = book.figures()
        assert book.lacks(map(str, range(first, after + 1))) == []
    assert (found.gaps, found.refused) == (0, {}) and row["confirmed"] >= first


async def _listening(command: list[str], path: Path, say: Callable[[], Awaitable[int]], db: Any) -> int:
    """One life of it; the number of the event that it had at its end, with all before it."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        with contextlib.closing(Book(path)) as book:
            seq = await say()
            begun = book.figures().events

            first = await db.fetchval("SELECT min(seq) FROM outbox")

            def there() -> bool:
                assert process.returncode is None, "it ended"
                found = book.figures()
                whole = found.gaps == 0 and not book.lacks(map(str, range(first, seq + 1)))
                return found.events > begun and whole and book.cursor is not None

            await so(there)
            # Taken by the broker: it has subscribed. What it had by pulling alone would not wait for its next life.
            async with asyncio.timeout(90):
                while await db.fetchval("SELECT seq < $1 FROM city_delivery", seq):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 30) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return seq
