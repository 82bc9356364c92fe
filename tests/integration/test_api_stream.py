"""The live stream: what is committed arrives, nothing is missed, and one slow reader costs nobody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from services.api.kpis import figures
from services.api.live import hub
from services.api.live.pictures import board
from services.api.store import system
from tests.api_data import raise_alert, set_state
from tests.api_server import api_server, client, connect, stream
from tests.factory import put_community, small_community


async def prepared(database_url: str) -> Any:
    await put_community(database_url, small_community())
    return await connect(database_url)


ACCESS_S = 5
FILL = "SELECT outbox_append('device.online', 'test', 'd', '', '{}') FROM generate_series(1, $1::int)"


async def head(http: httpx.AsyncClient) -> int:
    cursor: int = (await http.get("/communities/test/snapshot")).json()["cursor"]
    return cursor


async def test_stream_shows_an_order_that_was_committed(database_url: str) -> None:
    connection = await prepared(database_url)
    async with (
        api_server(database_url) as url,
        client(url, "patrol1") as http,
        stream(http, "test", await head(http)) as live,
    ):
        hello = await live.next()
        assert hello is not None
        assert (hello.name, hello.data["build"]) == ("hello", "unbuilt")
        alert, order = await raise_alert(connection, "test-gas_alarm-1")
        seen = await live.until(lambda event: event.name == "order")
        assert seen[-1].data["id"] == str(order)
        assert "accept" in seen[-1].data["moves"]
        raised = next(event for event in seen if event.name == "alert")
        assert (raised.data["id"], raised.data["order_id"]) == (str(alert), str(order))
        assert seen[-1].id == await connection.fetchval("SELECT max(seq) FROM outbox")
    await connection.close()


async def test_stream_is_told_not_to_be_stored_or_buffered(database_url: str) -> None:
    connection = await prepared(database_url)
    async with api_server(database_url) as url, client(url, "desk") as http, stream(http, "test") as live:
        assert live.response.headers["content-type"].startswith("text/event-stream")
        assert live.response.headers["cache-control"] == "no-store"
        assert live.response.headers["x-accel-buffering"] == "no"
    await connection.close()


async def test_stream_of_one_community_says_nothing_of_another(database_url: str) -> None:
    connection = await prepared(database_url)
    await put_community(database_url, small_community("other", "o-"))
    async with api_server(database_url) as url, client(url, "desk") as http, stream(http, "test", 0) as live:
        await live.named("hello")
        await raise_alert(connection, "other-gas_alarm-1")
        _, order = await raise_alert(connection, "test-gas_alarm-1")
        seen = await live.until(lambda event: event.name == "order")
        assert [event.data["id"] for event in seen if event.name == "order"] == [str(order)]
        assert not any("other" in str(event.data) for event in seen)
    await connection.close()


async def test_stream_resumed_by_last_event_id_brings_exactly_what_was_missed(database_url: str) -> None:
    connection = await prepared(database_url)
    async with api_server(database_url) as url, client(url, "desk") as http:
        async with stream(http, "test", 0) as live:
            _, first = await raise_alert(connection, "test-gas_alarm-1", family="first")
            last = (await live.until(lambda event: event.name == "order"))[-1]
            assert last.data["id"] == str(first)
        missed = [(await raise_alert(connection, "test-gas_alarm-1", family=str(number)))[1] for number in range(5)]
        async with stream(http, "test", last_event_id=last.id) as live:
            orders: list[str] = []
            while len(orders) < 5:
                orders.append((await live.named("order")).data["id"])
            assert orders == [str(order) for order in missed]
    await connection.close()


async def test_stream_misses_nothing_while_readers_come_and_go(database_url: str) -> None:
    connection = await prepared(database_url)
    raised: list[UUID | None] = []

    async def work() -> None:
        for number in range(60):
            raised.append((await raise_alert(connection, "test-gas_alarm-1", family=str(number)))[1])
            await asyncio.sleep(0.005)

    async with api_server(database_url) as url, client(url, "desk") as http:
        cursor = await head(http)
        working = asyncio.create_task(work())
        seen: list[str] = []
        async with asyncio.timeout(90):
            while len(set(seen)) < 60:
                async with stream(http, "test", cursor) as live:
                    for _ in range(9):
                        event = await live.next()
                        assert event is not None
                        assert event.name != "resync"
                        if event.id is not None and event.name != "hello":
                            assert event.id > cursor, "the outbox is told in order"
                            cursor = event.id
                        if event.name == "order":
                            seen.append(event.data["id"])
                        if len(set(seen)) == 60:
                            break
        await working
        assert set(seen) == {str(order) for order in raised}
    await connection.close()


async def test_stream_says_resync_where_it_cannot_promise(database_url: str) -> None:
    connection = await prepared(database_url)
    await raise_alert(connection, "test-gas_alarm-1")
    async with api_server(database_url) as url, client(url, "desk") as http:
        async with stream(http, "test", 10**9) as live:
            assert "ahead" in (await live.named("resync")).data["why"]
        await connection.execute("DELETE FROM outbox WHERE seq <= 2")
        async with stream(http, "test", 1) as live:
            assert "old" in (await live.named("resync")).data["why"]
            _, order = await raise_alert(connection, "test-gas_alarm-2")
            assert (await live.named("order")).data["id"] == str(order)
        async with stream(http, "test") as live:
            await live.named("hello")
            await connection.execute(FILL, 1001)
            await raise_alert(connection, "test-gas_alarm-4")
            newest = await connection.fetchval("SELECT max(seq) FROM outbox")
            # Only what has been read can have been missed: once the newest is heard of, all before it was.
            await live.until(lambda event: event.id == newest)
        start = newest - 1001
        async with stream(http, "test", start) as live:
            assert "many" in (await live.named("resync")).data["why"]
        async with stream(http, "test", start + 1) as live:
            await live.named("hello")
            _, order = await raise_alert(connection, "test-gas_alarm-3")
            seen = await live.until(lambda event: event.name == "order" and event.data["id"] == str(order))
            assert "resync" not in [event.name for event in seen]
    await connection.close()


async def test_stream_opened_before_the_outbox_was_read_gets_everything_that_lies_in_it(database_url: str) -> None:
    """The hub is held in the middle of its outbox: what the reader missed is then still to come, and comes."""
    connection = await prepared(database_url)
    async with api_server(database_url) as url, client(url, "desk") as http:
        cursor = await head(http)
        with held_hub() as hold:
            hold.clear()
            orders = [(await raise_alert(connection, "test-gas_alarm-1", family="first"))[1]]
            await connection.execute(FILL, 1200)
            orders.append((await raise_alert(connection, "test-gas_alarm-1", family="second"))[1])
            async with stream(http, "test", cursor) as live:
                opened = await live.named("hello")
                assert opened.data["cursor"] == cursor
                hold.set()
                told: list[str] = []
                while len(set(told)) < 2:
                    seen = await live.until(lambda event: event.name in ("order", "resync"))
                    assert seen[-1].name == "order"
                    told.append(seen[-1].data["id"])
        assert told == [str(order) for order in orders]
    await connection.close()


@contextmanager
def held_hub() -> Iterator[asyncio.Event]:
    """While the event is clear, the hub reads nothing new of the outbox."""
    goes_on, whole = asyncio.Event(), system.outbox_after
    goes_on.set()

    async def held(connection: Any, after: int, limit: int) -> list[system.OutboxRow]:
        return await whole(connection, after, limit) if goes_on.is_set() else []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "outbox_after", held)
        yield goes_on


async def test_stream_tells_device_changes_together_and_only_changes(database_url: str) -> None:
    connection = await prepared(database_url)
    await set_state(connection, "test-environment-1", temperature=20)
    async with (
        api_server(database_url, device_poll_s=0.2) as url,
        client(url, "patrol1") as http,
        stream(http, "test", await head(http)) as live,
    ):
        first = await live.named("devices")
        assert [item["id"] for item in first.data["items"]] == ["test-environment-1"]
        await set_state(connection, "test-environment-1", temperature=25)
        await set_state(connection, "test-bin-1", fill=81, online=False)
        items: dict[str, Any] = {}
        while len(items) < 2:
            items |= {item["id"]: item for item in (await live.named("devices")).data["items"]}
        assert items["test-environment-1"]["values"] == {"temperature": 25}
        assert (items["test-bin-1"]["online"], items["test-bin-1"]["values"]) == (False, {"fill": 81})
        await connection.execute("UPDATE device_state SET last_seen_at = now()")
        _, order = await raise_alert(connection, "test-gas_alarm-1")
        await asyncio.sleep(0.6)
        await raise_alert(connection, "test-gas_alarm-2")
        seen = await live.until(lambda event: event.name == "order" and event.data["id"] != str(order))
        assert not [event for event in seen if event.name == "devices"], "heard from again with nothing new"
    await connection.close()


async def test_stream_resumed_brings_the_states_that_changed_meanwhile(database_url: str) -> None:
    connection = await prepared(database_url)
    async with api_server(database_url, device_poll_s=0.1) as url, client(url, "patrol1") as http:
        cursor = await head(http)
        await set_state(connection, "test-environment-1", temperature=31)
        async with stream(http, "test", cursor) as live:
            assert (await live.named("devices")).data["items"][0]["values"] == {"temperature": 31}
    await connection.close()


async def test_stream_sends_new_figures_after_an_order_changed(database_url: str) -> None:
    connection = await prepared(database_url)
    async with (
        api_server(database_url, device_poll_s=0.1) as url,
        client(url, "desk") as http,
        stream(http, "test", 0) as live,
    ):
        await live.named("kpis")
        await raise_alert(connection, "test-gas_alarm-1")
        await live.named("order")
        figures = {item["name"]: item for item in (await live.named("kpis")).data["items"]}
        assert figures["open_alerts"]["value"] == 1
        asked = {item["name"]: item for item in (await http.get("/communities/test/kpis")).json()["items"]}
        assert figures == {name: asked[name] for name in figures}
        assert len(figures) == 7  # a cockpit's; whoever asks gets them all
    await connection.close()


async def test_stream_sends_figures_that_know_of_what_happened_while_they_were_counted(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await prepared(database_url)
    # Nothing is counted anew for being old.
    monkeypatch.setattr(hub, "_KPIS_EVERY_S", 3600.0)
    monkeypatch.setattr(board, "FRESH_S", 3600.0)
    whole, counted, goes_on = figures.kpis, asyncio.Event(), asyncio.Event()

    async def slowly(*asked: Any) -> Any:
        found = await whole(*asked)
        counted.set()
        await goes_on.wait()
        return found

    async with (
        api_server(database_url, device_poll_s=0.05) as url,
        client(url, "desk") as http,
        stream(http, "test", 0) as live,
    ):
        await live.named("kpis")
        monkeypatch.setattr(figures, "kpis", slowly)
        await raise_alert(connection, "test-gas_alarm-1")
        await live.named("order")
        async with asyncio.timeout(90):
            await counted.wait()
        await raise_alert(connection, "test-gas_alarm-2")
        await live.named("order")
        goes_on.set()
        told = [0]
        while told[-1] != 2:
            items = (await live.named("kpis")).data["items"]
            told.append(next(item["value"] for item in items if item["name"] == "open_alerts"))
        assert told == [0, 1, 2]
    await connection.close()


async def test_stream_beats(database_url: str) -> None:
    connection = await prepared(database_url)
    async with (
        api_server(database_url, heartbeat_s=0.3) as url,
        client(url, "desk") as http,
        stream(http, "test") as live,
    ):
        await live.named("hb")
        for _ in range(3):
            assert set((await live.named("hb")).data) == {"at"}
    await connection.close()


async def test_stream_gives_each_role_its_own_moves(database_url: str) -> None:
    connection = await prepared(database_url)
    async with (
        api_server(database_url) as url,
        client(url, "patrol1") as patrol,
        client(url, "cleaning1") as cleaning,
        client(url, "platform") as platform,
        stream(patrol, "test") as one,
        stream(cleaning, "test") as two,
        stream(platform, "test") as three,
    ):
        for live in (one, two, three):
            await live.named("hello")
        await raise_alert(connection, "test-gas_alarm-1")
        assert "accept" in (await one.named("order")).data["moves"]
        assert (await two.named("order")).data["moves"] == []
        assert (await three.named("order")).data["moves"] == []
    await connection.close()


async def ended(live: Any) -> None:
    async with asyncio.timeout(90):
        while await live.next() is not None:
            pass


async def test_stream_is_cut_when_the_account_or_the_session_ends(database_url: str) -> None:
    connection = await prepared(database_url)
    async with api_server(database_url, session_check_s=0.2) as url:
        async with client(url, "desk") as http, stream(http, "test") as live:
            await live.named("hello")
            await http.post("/auth/logout")
            await ended(live)
        async with client(url, "street") as http, stream(http, "test") as live:
            await live.named("hello")
            await connection.execute("UPDATE app_user SET role = 'visitor' WHERE username = 'street'")
            await ended(live)
        async with client(url, "patrol1") as http, stream(http, "test") as live:
            await live.named("hello")
            await connection.execute("UPDATE app_user SET disabled_at = now() WHERE username = 'patrol1'")
            await ended(live)
            assert (await http.get("/communities/test/stream")).status_code == 401
    async with (
        api_server(database_url, session_check_s=0.2, access_s=ACCESS_S, heartbeat_s=0.5) as url,
        client(url, "grid1") as http,
        stream(http, "test") as live,
    ):
        await live.named("hello")
        # The access token it was opened with is soon over; the session is not, until it is.
        over = datetime.now(UTC) + timedelta(seconds=ACCESS_S)
        while datetime.fromisoformat((await live.named("hb")).data["at"]) <= over:
            pass
        await connection.execute("UPDATE app_session SET expires_at = now() WHERE user_id = 'user-grid1'")
        await ended(live)
    await connection.close()


async def test_stream_ends_at_once_when_the_server_stops(database_url: str) -> None:
    connection = await prepared(database_url)
    server = api_server(database_url)
    url = await server.__aenter__()
    async with client(url, "desk") as http, stream(http, "test") as live:
        await live.named("hello")
        await asyncio.gather(server.__aexit__(None, None, None), ended(live))
    await connection.close()


async def test_stream_of_a_reader_who_does_not_read_delays_nobody_and_ends_in_resync(database_url: str) -> None:
    connection = await prepared(database_url)
    async with (
        api_server(database_url, stream_queue_bytes=400_000, heartbeat_s=60, stream_stalled_s=300) as url,
        client(url, "desk") as http,
        stream(http, "test") as live,
    ):
        await live.named("hello")
        slow = open_and_do_not_read(url, http.headers["Authorization"])
        for number in range(60):
            await raise_alert(
                connection,
                "test-gas_alarm-1",
                family=str(number),
                opens_order=False,
                trigger={"clip": "x" * 200_000},
            )
            event = await live.named("alert")
            assert len(event.data["trigger"]["clip"]) == 200_000
        slow.setblocking(False)
        got = bytearray()
        async with asyncio.timeout(90):
            while b'event: resync\ndata: {"why":"slow"}' not in got:
                piece = await asyncio.get_running_loop().sock_recv(slow, 1 << 20)
                assert piece, "closed without a word"
                got += piece
        slow.close()
        metrics = (await http.get(f"{url}/metrics")).text
        dropped = next(line for line in metrics.splitlines() if line.startswith("linhub_api_stream_dropped_total"))
        assert float(dropped.split()[1]) > 0
    await connection.close()


def open_and_do_not_read(url: str, authorization: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((parts.hostname, parts.port))
    raw.sendall(
        f"GET /api/v1/communities/test/stream HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n".encode()
    )
    return raw


async def test_stream_of_a_reader_who_stalls_for_good_is_closed(database_url: str) -> None:
    connection = await prepared(database_url)
    async with api_server(database_url, stream_stalled_s=0.5) as url, client(url, "desk") as http:
        slow = open_and_do_not_read(url, http.headers["Authorization"])
        for number in range(40):
            await raise_alert(
                connection, "test-gas_alarm-1", family=str(number), opens_order=False, trigger={"clip": "x" * 400_000}
            )
        async with asyncio.timeout(90):
            while "linhub_api_streams_open 0.0" not in (await http.get(f"{url}/metrics")).text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        slow.close()
    await connection.close()
