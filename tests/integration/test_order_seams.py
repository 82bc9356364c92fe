"""Where parts of the order loop meet: reports, notices, evidence and merged orders, through the running services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.adapters.orders import fetch_history, fetch_order
from services.adapters.postgres import open_pool
from services.domain.orders import fold
from services.domain.vocabulary import Severity
from tests.api_data import raise_alert
from tests.api_server import api_server, client
from tests.evidence_kit import jpeg
from tests.factory import put_community, small_community
from tests.integration.alerts_support import until
from tests.integration.reports_support import key, move, order_of, post, send, stranger, work_through
from tests.notices_kit import Sink, give_channel, notifier, sink

PHONE = "13800138000"


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    await put_community(database_url, small_community())
    opened = await open_pool(database_url, name="test", max_size=4)
    yield opened
    await opened.close()


async def gateway(pool: asyncpg.Pool[Any], out: Sink) -> None:
    await pool.execute(
        "INSERT INTO community_gateway (community_id, sort, template, changed_by) VALUES ('test', 'sms', $1, 'admin')",
        f"json://127.0.0.1:{out.port}/sms-{{to}}",
    )


async def repeats(pool: asyncpg.Pool[Any], order: Any) -> int:
    return int(
        await pool.fetchval("SELECT count(*) FROM work_order_history WHERE order_id = $1 AND move = 'repeat'", order)
    )


async def test_reporters_are_told_each_step_also_after_their_orders_were_merged(
    database_url: str, pool: asyncpg.Pool[Any]
) -> None:
    async with (
        api_server(database_url) as url,
        sink() as out,
        stranger(url) as nobody,
        client(url, "resident1") as resident,
        client(url, "cleaning1") as worker,
        client(url, "desk") as desk,
        notifier(database_url),
    ):
        await gateway(pool, out)
        await give_channel(pool, "resident1", out.url("resident1"))
        await give_channel(pool, "desk", out.url("desk"))

        async def heard(name: str, words: str) -> None:
            async def there() -> bool:
                return any(words in one["message"] for one in out.to(name))

            await until(there)

        first = await send(resident, "rubbish", x=10.0, y=10.0)
        far = await send(nobody, "rubbish", x=90.0, y=90.0, contact_phone=PHONE)
        unknown = await send(nobody, "rubbish", x=90.0, y=90.0)
        assert not far["joined"] and unknown["joined"]
        part, into = await order_of(pool, far["id"]), await order_of(pool, first["id"])
        await heard("resident1", f"您的上报 {first['number']}：已派单。（垃圾满溢）")
        before = await repeats(pool, into["id"])
        joined = await post(desk, f"/reports/{far['id']}/join", order_id=str(into["id"]))
        assert joined.status_code == 200, joined.text
        assert await repeats(pool, into["id"]) == before + 1, "the merge writes its line, and nobody else does"
        assert (await order_of(pool, unknown["id"]))["id"] == into["id"]
        assert (await order_of(pool, far["id"]))["id"] == into["id"] != part["id"]
        await heard(f"sms-{PHONE}", f"您的上报 {far['number']}：并入同一问题的工单一起处理。")
        await work_through(worker, pool, into["id"], "accept", "arrive")
        # What is more than a few a minute comes as one: the state of the notices says that nothing was left out.
        steps = await pool.fetchval("SELECT count(*) FROM outbox WHERE type IN ('order.accept', 'order.arrive')")
        assert steps == 2

        async def told() -> bool:
            rows = await pool.fetch(
                "SELECT recipient, count(*) AS n FROM notice WHERE template = 'report' AND order_id = $1 "
                "AND params -> 'text' ->> 'zh' ~ '已接单|已到场' GROUP BY 1 ORDER BY 1",
                into["id"],
            )
            return [(row["recipient"].partition(":")[0], row["n"]) for row in rows] == [("account", 2), ("report", 2)]

        await until(told)
        await work_through(worker, pool, into["id"], "resolve")
        rated = await post(resident, f"/reports/{first['id']}/rating", rating=1, comment="还是很脏")
        assert rated.status_code == 200, rated.text

        async def desk_told() -> bool:
            found = await pool.fetchrow("SELECT * FROM notice WHERE template = 'unsatisfied'")
            return found is not None and found["severity"] == "minor" and "还是很脏" not in str(found["params"])

        await until(desk_told)
        shown = (await desk.get(f"/orders/{into['id']}/notices")).json()
        assert any(one["recipient"] == "上报人 reporter" for one in shown)
        assert PHONE not in str(shown), "a telephone number is the gateway's business alone"


async def test_reporter_without_an_account_is_not_written_to_where_no_gateway_is_set(
    database_url: str, pool: asyncpg.Pool[Any]
) -> None:
    async with api_server(database_url) as url, stranger(url) as nobody, notifier(database_url) as reading:
        await send(nobody, "rubbish", x=90.0, y=90.0, contact_phone=PHONE)

        async def read() -> bool:
            await reading.read()
            return bool(await pool.fetchval("SELECT r.seq = (SELECT max(seq) FROM outbox) FROM outbox_reader r"))

        await until(read)
    assert await pool.fetchval("SELECT count(*) FROM notice WHERE template = 'report'") == 0


async def test_reporters_of_one_order_see_their_own_pictures_and_the_finished_work_and_no_others(
    database_url: str, pool: asyncpg.Pool[Any], tmp_path: Path
) -> None:
    async def with_photo(http: Any, width: int) -> Any:
        answer = await http.post(
            "/communities/test/reports",
            data={"category": "rubbish", "x": "10", "y": "10"},
            files=[("photo", ("a.jpg", jpeg(width, 64), "image/jpeg"))],
            headers=key(),
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async with (
        api_server(database_url, evidence_url=f"file://{tmp_path}/store") as url,
        stranger(url) as nobody,
        client(url, "resident1") as resident,
        client(url, "cleaning1") as worker,
    ):
        mine, theirs = await with_photo(resident, 64), await with_photo(nobody, 80)
        assert theirs["joined"]
        token = {"X-Report-Token": theirs["token"]}
        order = await order_of(pool, mine["id"])
        await work_through(worker, pool, order["id"], "accept", "arrive")
        pieces = {}
        for phase in ("before", "after"):
            sent = await worker.post(
                f"/orders/{order['id']}/evidence",
                params={"sort": "photo", "phase": phase},
                files={"file": ("a.jpg", jpeg(100 + len(phase), 100), "image/jpeg")},
                headers=key(),
            )
            assert sent.status_code == 200, sent.text
            pieces[phase] = sent.json()["id"]
        first = (await resident.get(f"/reports/{mine['id']}")).json()
        second = (await nobody.get(f"/reports/{theirs['id']}", headers=token)).json()
        assert len(first["own_photos"]) == len(second["own_photos"]) == 1
        assert first["own_photos"] != second["own_photos"]
        assert first["after_photos"] == second["after_photos"] == [pieces["after"]]
        seen = {first["own_photos"][0]: 404, pieces["before"]: 404, second["own_photos"][0]: 200, pieces["after"]: 200}
        for photo, status in seen.items():
            answer = await nobody.get(f"/reports/{theirs['id']}/photos/{photo}", headers=token)
            assert answer.status_code == status
            assert (await nobody.get(f"/reports/{mine['id']}/photos/{photo}", headers=token)).status_code == 404
        for photo in (*second["own_photos"], pieces["before"]):
            assert (await resident.get(f"/reports/{mine['id']}/photos/{photo}")).status_code == 404
            assert (await resident.get(f"/evidence/{photo}")).status_code in (403, 404)
        assert (await resident.get(f"/orders/{order['id']}/evidence")).status_code in (403, 404)


async def test_desk_merges_a_residents_order_with_that_of_an_alert_and_both_follow(
    database_url: str, pool: asyncpg.Pool[Any], tmp_path: Path
) -> None:
    async with (
        api_server(database_url, evidence_url=f"file://{tmp_path}/store") as url,
        client(url, "resident1") as resident,
        client(url, "desk") as desk,
    ):
        lamp = (
            await resident.post(
                "/communities/test/reports",
                data={"category": "gas_smell", "building_id": "test-b1"},
                files=[("photo", ("a.jpg", jpeg(64, 64), "image/jpeg"))],
                headers=key(),
            )
        ).json()
        mine = await order_of(pool, lamp["id"])
        async with pool.acquire() as connection:
            alert, theirs = await raise_alert(connection, "test-gas_alarm-1", severity=Severity.CRITICAL)
        assert theirs != mine["id"]
        await move(desk, pool, theirs, "merge", merge_into=str(mine["id"]), reason="同一处燃气")
        assert await pool.fetchval("SELECT order_id FROM alert WHERE id = $1", alert) == mine["id"]
        # On into a third, opened by the desk: alert, report and pictures all follow.
        made = await desk.post(
            "/communities/test/orders",
            json={"source": "staff", "title": "燃气排查", "severity": "critical", "team": "patrol", "place": "1号楼"},
            headers={"Idempotency-Key": str(uuid4())},
        )
        assert made.status_code in (200, 201), made.text
        last = made.json()["id"]
        await move(desk, pool, mine["id"], "merge", merge_into=last, reason="一并排查")
        assert str(await pool.fetchval("SELECT order_id FROM alert WHERE id = $1", alert)) == last
        assert str((await order_of(pool, lamp["id"]))["id"]) == last
        own = (await resident.get(f"/reports/{lamp['id']}")).json()
        assert len(own["own_photos"]) == 1 and own["after_photos"] == []
        listed = (await desk.get(f"/orders/{last}/evidence")).json()["items"]
        assert [one["id"] for one in listed] == own["own_photos"]
        of_alert = (await desk.get(f"/alerts/{alert}/evidence")).json()
        assert own["own_photos"][0] in str(of_alert)
        async with pool.acquire() as connection:
            assert theirs is not None
            for one in (mine["id"], theirs, UUID(last)):
                row = await fetch_order(connection, one)
                assert fold(await fetch_history(connection, row.id)) == row.order
        assert row.state.value == "dispatched" and row.photos_before == 1
