"""The small city platform: what it believes, what it keeps, and how it misbehaves when it is asked to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from typer.testing import CliRunner

from services.adapters.city.signing import SigningKey, new_key, signed
from services.cli.city_sim_above import Above, NotDone
from services.cli.city_sim_book import Book
from services.cli.city_sim_mqtt import catch_up
from services.cli.city_sim_proof import TOLERANCE_S, Refused, proven, read_key
from services.cli.city_sim_receiver import MOST_BYTES, Manners, Receiver
from services.cli.main import app
from services.domain.city import CityEvent, OutboxRow, make
from tests.city_kit import order_data

NOW = datetime(2026, 11, 22, 8, 0, 1, tzinfo=UTC)
HMAC, PAIR = new_key("hmac"), new_key("ed25519")
KEYS = (read_key(HMAC.secret), read_key(str(PAIR.public)))


def event(seq: int = 7, order: str = "o", version: int = 2) -> CityEvent:
    data = order_data(order_id=order, version=version)
    row = OutboxRow(seq, NOW - timedelta(seconds=1), "order.dispatch", "test", order, data)
    return make(row, [], base="https://linhub.example.cn")


def request(one: CityEvent, *by: SigningKey, binary: bool = False, at: datetime = NOW) -> tuple[dict[str, str], bytes]:
    headers, body = one.binary() if binary else one.structured()
    headers |= signed(one.id, at, body, by or (HMAC,))
    return {name.lower(): text for name, text in headers.items()}, body


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    kept = Book(tmp_path / "city.db")
    yield kept
    kept.close()


@pytest.mark.parametrize("by", [HMAC, PAIR], ids=["hmac", "ed25519"])
@pytest.mark.parametrize("binary", [False, True])
def test_what_is_signed_by_a_known_key_is_believed(by: SigningKey, binary: bool) -> None:
    one = event()
    found = proven(*request(one, by, binary=binary), KEYS, NOW)
    assert (found.id, found.type, found.source, found.subject) == (one.id, one.kind.name, one.source, "order/o")
    assert (found.sequence, found.mark, found.time) == (7, "Actual", one.time)
    assert found.data == dict(one.data) and found.whole is not binary


def test_signatures_of_the_standards_own_package_are_believed() -> None:
    headers, body = request(event())
    headers["webhook-signature"] = Webhook(HMAC.secret).sign("7", NOW, body.decode())
    assert proven(headers, body, KEYS, NOW).id == "7"


def test_one_good_signature_among_several_is_enough() -> None:
    headers, body = request(event(), new_key("hmac"), new_key("ed25519"), HMAC)
    assert proven(headers, body, KEYS, NOW).id == "7"


def _changed(what: str) -> tuple[dict[str, str], bytes]:
    headers, body = request(event())
    other = request(event(8))
    cases: dict[str, tuple[dict[str, str], bytes]] = {
        "body": (headers, body.replace(b"dispatched", b"closed")),
        "id": ({**headers, "webhook-id": "8"}, body),
        "time": ({**headers, "webhook-timestamp": str(int(NOW.timestamp()) + 1)}, body),
        "key": request(event(), new_key("hmac")),
        "version": ({**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "v1a,")}, body),
        "other": ({**headers, "webhook-signature": other[0]["webhook-signature"]}, body),
        "none": ({name: text for name, text in headers.items() if not name.startswith("webhook-")}, body),
        "empty": ({**headers, "webhook-signature": ""}, body),
        "garbage": ({**headers, "webhook-signature": "v1,%%%"}, body),
        "stamp": ({**headers, "webhook-timestamp": "soon"}, body),
    }
    return cases[what]


@pytest.mark.parametrize("what", ["body", "id", "time", "key", "version", "other", "none", "empty", "garbage", "stamp"])
def test_what_is_not_proven_is_refused(what: str) -> None:
    with pytest.raises(Refused) as refused:
        proven(*_changed(what), KEYS, NOW)
    assert refused.value.status == 401


@pytest.mark.parametrize("off_s", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_what_was_signed_long_ago_or_ahead_is_refused(off_s: int) -> None:
    given = request(event(), at=NOW - timedelta(seconds=off_s))
    with pytest.raises(Refused, match="old"):
        proven(*given, KEYS, NOW)
    assert proven(*request(event(), at=NOW - timedelta(seconds=TOLERANCE_S - 1)), KEYS, NOW)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"specversion": "0.3", "id": "7", "source": "s", "type": "t", "data": {}}', b"\xff"]
)
def test_signed_and_no_event_is_refused_as_such(body: bytes) -> None:
    headers = signed("7", NOW, body, [HMAC]) | {"content-type": "application/cloudevents+json"}
    with pytest.raises(Refused) as refused:
        proven(headers, body, KEYS, NOW)
    assert refused.value.status == 400


def test_event_of_another_id_than_the_request_is_refused() -> None:
    headers, body = event(8).structured()
    with pytest.raises(Refused, match="id of the event"):
        proven({"content-type": headers["Content-Type"]} | signed("7", NOW, body, [HMAC]), body, KEYS, NOW)


@pytest.mark.parametrize("text", ["", "x", "whsec_", "whsec_%%", "whpk_AAAA", HMAC.secret[6:]])
def test_key_that_is_none_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_key(text)
    assert len(text) < 8 or text not in str(refused.value)


def keep(book: Book, one: CityEvent, now: datetime = NOW) -> bool:
    return book.keep(proven(*request(one), KEYS, NOW), now)


def test_each_event_is_kept_once_and_what_is_wrong_is_counted(book: Book, tmp_path: Path) -> None:
    assert keep(book, event(1, version=2)) and keep(book, event(5, version=5), NOW + timedelta(seconds=9))
    assert not keep(book, event(5, version=5)), "the same again"
    assert keep(book, event(3, version=3)), "one that should have come before"
    keep(book, event(9, order="p", version=4))
    found = book.figures()
    assert (found.events, found.again, found.late, found.missing, found.last) == (4, 1, 1, 1, 9)
    assert found.lag_p50 == 1.0 and found.lag_most == 10.0
    assert book.lacks(["1", "2", "3", "4"]) == ["2", "4"]
    book.refuse("wrong", NOW)
    book.refuse("wrong", NOW)
    book.close()
    again = Book(tmp_path / "city.db")
    assert again.figures().events == 4 and again.figures().refused == {"wrong": 2}, "it stands in the file"
    again.close()


@pytest.fixture
async def receiver(book: Book) -> AsyncIterator[Receiver]:
    yield Receiver(book, KEYS, clock=lambda: NOW)


async def post(receiver: Receiver, given: tuple[dict[str, str], bytes]) -> httpx.Response:
    headers, body = given
    transport = httpx.ASGITransport(receiver.app())
    async with httpx.AsyncClient(transport=transport, base_url="http://city") as http:
        return await http.post("/hook", headers=headers, content=body)


async def test_receiver_says_that_it_was_kept_after_it_was(receiver: Receiver) -> None:
    assert (await post(receiver, request(event()))).status_code == 204
    assert receiver.book.figures().events == 1
    forged = await post(receiver, request(event(8), new_key("hmac")))
    assert forged.status_code == 401 and receiver.book.figures().events == 1
    big = request(event())[0], b"x" * (MOST_BYTES + 1)
    assert (await post(receiver, big)).status_code == 413
    assert sum(receiver.book.figures().refused.values()) == 2


async def test_receiver_misbehaves_as_asked(receiver: Receiver) -> None:
    receiver.manners = Manners(refuse=503, retry_after_s=7)
    answer = await post(receiver, request(event()))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    receiver.manners = Manners(redirect="http://169.254.169.254/")
    answer = await post(receiver, request(event()))
    assert (answer.status_code, answer.headers["Location"]) == (307, "http://169.254.169.254/")
    receiver.manners = Manners(lie=True)
    assert (await post(receiver, request(event()))).status_code == 204
    assert receiver.book.figures().events == 0, "it lied"
    receiver.manners = Manners(slow_s=0.01)
    assert (await post(receiver, request(event()))).status_code == 204
    assert receiver.heard == 4 and receiver.book.figures().events == 1


async def test_endless_answer_goes_on(receiver: Receiver) -> None:
    receiver.manners = Manners(endless=True)
    sent = 0
    enough = asyncio.Event()

    async def send(message: Any) -> None:
        nonlocal sent
        sent += len(message.get("body", b""))
        if sent > 1_000_000:
            enough.set()

    async def receive() -> dict[str, Any]:
        await enough.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": [], "query_string": b"", "asgi": {},
             "http_version": "1.1", "scheme": "http", "server": ("x", 80), "root_path": ""}  # fmt: skip
    await receiver.app()(scope, receive, send)
    assert sent > 1_000_000


async def test_asking_is_repeated_where_nobody_answers_and_never_where_it_is_refused() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) == 1:
            raise httpx.ConnectError("no")
        if len(asked) == 2:
            return httpx.Response(503, json={"detail": "busy"})
        if request.url.path.endswith("/cases"):
            return httpx.Response(201, json={"id": "c"})
        return httpx.Response(409, json={"detail": "已撤销"})

    async with Above("http://linhub", "key", (0.0, 0.0), httpx.MockTransport(answer)) as above:
        assert (await above.open({}))["id"] == "c" and len(asked) == 3
        with pytest.raises(NotDone, match="已撤销"):
            await above.urge("c", "x", "k")
        assert len(asked) == 4


def test_figures_are_printed_for_programs(book: Book, tmp_path: Path) -> None:
    keep(book, event())
    run = CliRunner().invoke(app, ["city-sim", "figures", "--book", str(tmp_path / "city.db"), "--json"])
    assert run.exit_code == 0 and json.loads(run.stdout)["events"] == 1
    assert CliRunner().invoke(app, ["city-sim", "figures", "--book", str(tmp_path / "none.db")]).exit_code == 2


class Asked(Above):
    """Every event from the cursor that was asked with; without one, behind everything that was delivered."""

    def __init__(self, delivered: list[CityEvent]) -> None:
        self.delivered = delivered
        self.cursors: list[int | None] = []

    async def pages(self, after: int | None, subscription: str | None) -> AsyncIterator[dict[str, Any]]:
        last = self.delivered[-1].seq
        self.cursors.append(after)
        items = [one.document() for one in self.delivered if one.seq > (last if after is None else after)]
        yield {"items": items, "next": last, "more": False}


async def test_what_was_lost_before_the_first_pull_is_pulled_from_the_first_event_that_came(book: Book) -> None:
    """By MQTT: the broker's queue has let go of some, and no pull had an answer yet."""
    sent = [event(seq, version=seq) for seq in range(5, 9)]
    for one in (sent[0], sent[3]):
        book.keep(proven(*request(one), KEYS, NOW), NOW)
    above = Asked(sent)
    assert book.cursor is None and book.lacks(["6", "7"]) == ["6", "7"]
    assert await catch_up(book, above, None) == 2
    assert book.lacks(["5", "6", "7", "8"]) == [] and book.cursor == 8
    assert await catch_up(book, above, None) == 0
    assert above.cursors == [4, 8]


async def test_a_book_in_which_nothing_stands_asks_without_a_cursor(book: Book) -> None:
    above = Asked([event()])
    assert await catch_up(book, above, None) == 0 and above.cursors == [None]
