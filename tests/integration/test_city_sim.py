"""The small city platform against the whole way: a case from opening to result, away and back, and a liar found out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from services.adapters.observe import serve
from services.adapters.postgres import open_pool
from services.cli.city_sim_above import Above, NotDone
from services.cli.city_sim_book import Book
from services.cli.city_sim_demo import joined as demo_joined
from services.cli.city_sim_demo import keep_asking
from services.cli.city_sim_proof import read_key
from services.cli.city_sim_receiver import Manners, Receiver
from services.cli.main import app
from tests.access_kit import key, service
from tests.api_server import api_server, client, connect
from tests.city_kit import Clock, many, running, subscribe
from tests.factory import put_community, small_community
from tests.fault_kit import free_port
from tests.integration.test_city_cases import move
from tests.integration.test_city_delivery import engine


@pytest.fixture
async def url(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    await put_community(database_url, small_community())
    async with api_server(
        database_url,
        evidence_url=(tmp_path / "store").as_uri(),
        evidence_reserve_bytes=0,
    ) as address:
        yield address


@pytest.fixture
async def db(database_url: str, url: str) -> AsyncIterator[Any]:
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def admin(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url, "admin") as http:
        yield http


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    kept = Book(tmp_path / "city.db")
    yield kept
    kept.close()


@asynccontextmanager
async def delivering(database_url: str) -> AsyncIterator[None]:
    pool = await open_pool(database_url, name="city", max_size=6)
    try:
        async with running(engine(database_url, pool, Clock())):
            yield
    finally:
        pool.terminate()


async def joined(admin: httpx.AsyncClient, port: int) -> tuple[str, str, str]:
    """A platform with a webhook there: the key of its account, the secret that signs, and the subscription."""
    account = await service(admin, community_id="test")
    secret = (await key(admin, account, scopes=["city_cases", "city_events"]))["secret"]
    made = await subscribe(admin, account, way="webhook", url=f"http://127.0.0.1:{port}/hook", types=["order.*"])
    return secret, made["secret"], made["subscription"]["id"]


async def until(done: Callable[[], bool | Awaitable[bool]], within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while True:
            found = done()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


async def test_case_is_opened_followed_and_heard_of_to_its_end(
    url: str, database_url: str, admin: httpx.AsyncClient, book: Book
) -> None:
    receiver = Receiver(book, ())
    async with serve(receiver.app(), "127.0.0.1", 0) as port, delivering(database_url):
        secret, signing, subscription = await joined(admin, port)
        receiver.keys = (read_key(signing),)
        async with Above(url, secret) as above:
            wanted = {
                "community_id": "test", "external_id": "SIM-1", "system": "city", "title": "井盖松动", "place": "东门",
            }  # fmt: skip
            case = await above.open(wanted)
            assert (await above.open(wanted))["id"] == case["id"]
            followed = asyncio.create_task(_followed(above, case["id"]))
            async with client(url, "desk") as desk, client(url, "patrol1") as patrol:
                await move(desk, case["id"], "dispatch", team="patrol")
                assert (await above.urge(case["id"], "市民催", "u1"))["urges"] == 1
                for name, more in (("accept", {}), ("arrive", {}), ("resolve", {"note": "已加固"})):
                    await move(patrol, case["id"], name, **more)
                for name in ("verify", "close"):
                    await move(desk, case["id"], name)
            last = await asyncio.wait_for(followed, 60)
            assert last["words"]["zh"] == "已结案" and last["result"]["note"] == "已加固"
            with pytest.raises(NotDone, match="409"):
                await above.withdraw(case["id"], "x")
            await until(lambda: any(type == "cn.linhub.order.close.v1" for _, type, *_ in book.newest(99)))
            lost = [id async for page in above.ids(0, subscription) for id in book.lacks(page)]
        found = book.figures()
    assert lost == [] and (found.again, found.late, found.missing, found.refused) == (0, 0, 0, {})
    assert found.events >= 8 and found.lag_most is not None


async def _followed(above: Above, id: str) -> dict[str, Any]:
    return [case async for case in above.follow(id, 0.05)][-1]


async def test_platform_that_was_away_has_everything_once_when_it_is_back(
    database_url: str, admin: httpx.AsyncClient, db: Any, book: Book
) -> None:
    receiver = Receiver(book, ())
    port = free_port()
    _, signing, subscription = await joined(admin, port)
    receiver.keys = (read_key(signing),)
    async with delivering(database_url):
        first, last = await many(db, 40)

        async def failing() -> bool:
            query = "SELECT failures > 1 FROM city_delivery WHERE subscription_id = $1::text::uuid"
            return bool(await db.fetchval(query, subscription))

        await until(failing)
        async with serve(receiver.app(), "127.0.0.1", port):
            await until(lambda: book.figures().events == 40)
    assert book.lacks(str(seq) for seq in range(first, last + 1)) == [] and book.figures().late == 0


async def test_receiver_that_lies_is_found_out_by_pulling(
    url: str, database_url: str, admin: httpx.AsyncClient, db: Any, book: Book, tmp_path: Path
) -> None:
    receiver = Receiver(book, ())
    async with serve(receiver.app(), "127.0.0.1", 0) as port, delivering(database_url):
        secret, signing, _ = await joined(admin, port)
        receiver.keys = (read_key(signing),)
        await many(db, 3)
        await until(lambda: book.figures().events == 3)
        receiver.manners = Manners(lie=True)
        first, last = await many(db, 5)
        await until(lambda: receiver.heard == 8)
        (tmp_path / "key").write_text(secret)
        asked = [
            "city-sim", "figures", "--book", str(tmp_path / "city.db"), "--against", url, "--api-key",
            str(tmp_path / "key"), "--json",
        ]  # fmt: skip
        run = await asyncio.to_thread(CliRunner().invoke, app, asked)
    assert run.exit_code == 1, run.output
    # The API logs to the same stdout meanwhile: it runs in this process.
    [said] = [line for line in run.stdout.splitlines() if line.startswith("{")]
    assert json.loads(said)["lost"] == [str(seq) for seq in range(first, last + 1)]


async def test_forged_events_are_kept_by_nobody(
    database_url: str, admin: httpx.AsyncClient, db: Any, book: Book
) -> None:
    receiver = Receiver(book, (read_key(f"whsec_{'A' * 44}"),))
    async with serve(receiver.app(), "127.0.0.1", 0) as port, delivering(database_url):
        await joined(admin, port)
        await many(db, 1)
        await until(lambda: receiver.heard > 0 and bool(book.figures().refused))
    assert book.figures().events == 0 and list(book.figures().refused) == ["wrong signature 签名错误"]


async def test_platform_of_the_demo_joins_by_itself_and_comes_back_to_the_same_place(
    url: str, database_url: str, db: Any, book: Book
) -> None:
    receiver = Receiver(book, ())
    keys, signed_by = [], []

    async def heard(what: str, count: int) -> None:
        name = f"cn.linhub.order.{what}.v1"
        await until(lambda: sum(type == name for _, type, *_ in book.newest(999)) >= count)

    async with serve(receiver.app(), "127.0.0.1", 0) as port, delivering(database_url):
        for turn in (1, 2):
            async with demo_joined(database_url, f"http://127.0.0.1:{port}/hook") as there:
                keys.append(there.key)
                signed_by.append(there.signing)
                receiver.keys = (read_key(there.signing),)
                async with Above(url, there.key) as above:
                    asking = asyncio.create_task(keep_asking(above, there.community, 0.01))
                    await heard("create", turn)
                    asking.cancel()
                    newest, *_ = (await above.cases())["items"]
                    await above.withdraw(newest["id"], "x")
                    await heard("cancel", turn)
            assert await db.fetchval("SELECT array_agg(state) FROM city_subscription") == ["paused"]
        async with httpx.AsyncClient() as browser:
            page = await browser.get(f"http://127.0.0.1:{port}/")
    assert "cn.linhub.order.create.v1" in page.text and book.figures().refused == {}
    assert keys[0] != keys[1] and signed_by[0] == signed_by[1]
    async with Above(url, keys[0]) as gone:
        with pytest.raises(NotDone, match="401"):
            await gone.cases()
