"""Pictures of a community: packed by the piece, written in slices, made once for all, never behind what is promised."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from services.api.answers.models import CommunityOut, KpisOut
from services.api.kpis import figures
from services.api.live import batch
from services.api.live.pictures import board as boards
from services.api.live.pictures import gallery as galleries
from services.api.live.pictures import packing, picture
from services.api.live.pictures.board import KpiBoard
from services.api.live.pictures.gallery import Body, Gallery
from services.api.live.pictures.picture import Picture
from services.api.live.pictures.rows import Began, Rows, Stand
from services.api.store import communities, privacy, system, work
from services.api.store.database import Database
from services.domain.access import Principal
from services.domain.vocabulary import Role, Team
from tests.unit.test_live import NOW, alert_row, order_row

HOME = CommunityOut(
    id="c", name="c", city="", district="", street="", households=1, residents=1, latitude=0.0, longitude=0.0,
    timezone="Asia/Shanghai",
)  # fmt: skip
DESK = Principal("desk", "desk", "desk", Role.DESK, None, "c")


def device_row(no: int, **more: Any) -> dict[str, Any]:
    return {
        "device_no": no, "id": f"d{no}", "kind": "bin", "name": f"bin {no}", "place": "1号楼", "x": 1.0, "y": 2.0,
        "floor": 1, "building_id": None, "gateway_id": None, "tags": [], "online": True, "last_seen_at": NOW,
        "vals_ts": NOW, "vals": [1.0], "last_event": None, "last_event_ts": None, "grid_id": "g1", "consents": 0,
        **more,
    }  # fmt: skip


def shown(body: bytes | Body) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(body.plain if isinstance(body, Body) else body))


# -- packing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [[], [b""], [b"a"], [b"x" * 200_000, b"", b"\xff\x00" * 70_000, "邻枢".encode()]])
def test_pieces_packed_one_by_one_are_one_gzip_of_all(parts: list[bytes]) -> None:
    pieces = [packing.pack(part) for part in parts]
    sum = packing.checksum(pieces)
    packed = packing.gzip(pieces, sum)
    assert gzip.decompress(packed) == b"".join(parts)
    # One member: readers that stop after the first have it all.
    reader = zlib.decompressobj(31)
    assert reader.decompress(packed) == b"".join(parts) and reader.eof and reader.unused_data == b""


# -- writing ------------------------------------------------------------------------------------------------------


def first(rows: Rows) -> bytes:
    return b'{"cursor":%d' % rows.stand.head


def hang(devices: int = 0, alerts: int = 0, orders: int = 0) -> Picture:
    made = Picture("c")
    made.rows.devices = {no: device_row(no) for no in range(devices)}
    made.rows.alerts = {row["id"]: row for row in (alert_row(device_no=1) for _ in range(alerts))}
    made.rows.orders = {row["id"]: row for row in (order_row() for _ in range(orders))}
    return made


async def body_of(made: Picture, who: Principal = DESK) -> dict[str, Any]:
    _, pieces = await made.pieces(who, first)
    return shown(b"".join(piece.plain for piece in pieces))


async def turns_during(work: Awaitable[Any]) -> int:
    """How often somebody else got a turn."""
    turns = 0

    async def somebody_else() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(somebody_else())
    await asyncio.sleep(0)
    turns = 0
    await work
    other.cancel()
    return turns


async def test_rows_are_written_in_slices_with_turns_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "to_thread", at_once)
    made = hang(devices=2000, alerts=100, orders=100)
    at_least = (2000 * picture._DEVICE + 100 * picture._ALERT + 100 * picture._ORDER) // picture._AT_ONCE
    assert await turns_during(made.pieces(DESK, first)) >= at_least > 10
    assert await turns_during(made.pieces(DESK, first)) < 3  # nothing is new


async def at_once(work: Callable[[], Any]) -> Any:
    return work()


async def test_what_moves_while_it_is_written_is_shown_as_it_is_when_it_is_put_together() -> None:
    made = hang(devices=3 * picture._AT_ONCE, orders=2)
    going = asyncio.create_task(made.pieces(DESK, first))
    await asyncio.sleep(0)
    made.rows.devices[0] = device_row(0, name="moved")
    gone = next(iter(made.rows.orders))
    del made.rows.orders[gone]
    made.rows.stand = Stand(9, 41, 0.0, 0)
    stand, pieces = await going
    found = shown(b"".join(piece.plain for piece in pieces))
    assert found["devices"][0]["name"] == "moved" and str(gone) not in {one["id"] for one in found["orders"]}
    assert (stand.head, found["cursor"], len(found["orders"])) == (41, 41, 1)


async def test_only_pieces_that_changed_are_packed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[bytes] = []
    pack = packing.pack

    def counted(plain: bytes) -> packing.Piece:
        packed.append(plain[:10])
        return pack(plain)

    monkeypatch.setattr(picture, "pack", counted)
    made = hang(devices=5, alerts=2)
    before = await body_of(made)
    assert len(packed) == 4
    packed.clear()
    made.rows.alerts.popitem()
    after = await body_of(made)
    assert [one.startswith((b'{"cursor"', b',"alerts"')) for one in packed] == [True, True]
    assert len(after["alerts"]) == 1 and after["devices"] == before["devices"]
    packed.clear()
    made.rows.devices[2] = device_row(2, online=False)
    made.rows.devices_mark = object()
    assert (await body_of(made))["devices"][2]["online"] is False
    assert b',"devices"' in packed and b',"plan":{}' not in packed


async def test_who_leads_is_told_apart_from_who_does_not() -> None:
    made = hang(orders=1)
    plain = Principal("p", "p", "p", Role.STAFF, Team.PATROL, "c")
    leads = Principal("p", "p", "p", Role.STAFF, Team.PATROL, "c", leads=True)
    assert made.variant(plain) != made.variant(leads)
    assert set((await body_of(made, plain))["orders"][0]["moves"]) < set(
        (await body_of(made, leads))["orders"][0]["moves"]
    )


# -- rows read again ----------------------------------------------------------------------------------------------


class Tables:
    """What the database holds, in place of its statements."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.head = 1
        self.devices = [device_row(no) for no in range(3)]
        self.alerts: list[dict[str, Any]] = []
        self.named: list[UUID] = []
        self.loading = asyncio.Event()
        self.loading.set()
        self.loads = self.follows = self.looks = 0
        for module, name, does in (
            (system, "outbox_head", self._head),
            (communities, "devices", self._devices),
            (work, "alerts", self._alerts),
            (work, "orders", self._none),
            (communities, "plan_version", self._head),
            (communities, "plan", self._plan),
            (system, "outbox_between", self._between),
            (batch, "load", self._load_named),
            (system, "device_changes", self._changes),
            (privacy, "consents_of", self._consents),
        ):
            monkeypatch.setattr(module, name, does)

    async def _head(self, *_: Any) -> int:
        return self.head

    async def _devices(self, *_: Any) -> list[dict[str, Any]]:
        self.loads += 1
        found = [{**row, "vals": list(row["vals"])} for row in self.devices]
        await self.loading.wait()
        return found

    async def _alerts(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self.alerts]

    async def _none(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return []

    async def _plan(self, *_: Any) -> tuple[dict[str, Any], list[Any]]:
        return {}, []

    async def _between(self, *_: Any) -> list[Any]:
        self.follows += 1
        return []

    async def _load_named(self, *_: Any) -> dict[Any, Any]:
        return {("alert", row["id"]): dict(row) for row in self.alerts}

    async def _changes(self, *_: Any) -> list[dict[str, Any]]:
        self.looks += 1
        return [dict(row) for row in self.devices]

    async def _consents(self, *_: Any) -> dict[int, Any]:
        return {}

    def say(self, **alert: Any) -> int:
        self.alerts.append(alert_row(device_no=1, **alert))
        self.head += 1
        return self.head


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Tables:
    return Tables(monkeypatch)


def began(clock: float = 0.0, heeded: int = 0) -> Began:
    return Began(clock, datetime.now(UTC), heeded)


async def test_a_row_that_says_the_same_stays_the_row_it_was(tables: Tables) -> None:
    kept = Rows("c")
    tables.say()
    await kept.load(cast(Any, None), began())
    before, mark, plan = dict(kept.devices), kept.devices_mark, kept.plan
    await kept.load(cast(Any, None), began(10.0))
    assert all(kept.devices[no] is row for no, row in before.items())
    assert kept.devices_mark is mark and kept.plan is plan
    tables.devices[1] = device_row(1, name="renamed")
    await kept.load(cast(Any, None), began(20.0))
    assert kept.devices[0] is before[0] and kept.devices[1]["name"] == "renamed" and kept.devices_mark is not mark
    mark = kept.devices_mark
    del tables.devices[2]
    await kept.load(cast(Any, None), began(30.0))
    assert list(kept.devices) == [0, 1] and kept.devices_mark is not mark


async def test_a_look_that_finds_nothing_new_leaves_the_devices_as_they_are(tables: Tables) -> None:
    kept = Rows("c")
    await kept.load(cast(Any, None), began())
    mark = kept.devices_mark
    await kept.look(cast(Any, None), began(1.0))
    assert kept.devices_mark is mark and kept.stand.looked == 1.0
    tables.devices[1] = device_row(1, online=False)
    await kept.look(cast(Any, None), began(2.0))
    assert kept.devices[1]["online"] is False and kept.devices_mark is not mark


# -- the gallery --------------------------------------------------------------------------------------------------


class Figures:
    """In place of the board: figures of one moment."""

    def __init__(self) -> None:
        self.at = NOW

    async def get(self, *_: Any) -> KpisOut:
        return KpisOut(at=self.at, items=[])


class Nowhere:
    """In place of the database."""

    @asynccontextmanager
    async def consistent(self, **_: Any) -> AsyncIterator[None]:
        yield None


class Hung:
    """A gallery over tables, with a clock of its own; packing waits for `go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.figures = Figures()
        self.go = asyncio.Event()
        self.go.set()
        self.made = 0
        self.gallery = Gallery(cast(Database, Nowhere()), cast(KpiBoard, self.figures), lambda: "b", lambda: self.now)

        async def in_a_thread(work: Callable[[], Any]) -> Any:
            self.made += 1
            packed = work()
            await self.go.wait()
            return packed

        monkeypatch.setattr(asyncio, "to_thread", in_a_thread)

    async def ask(self, head: int = 1, who: Principal = DESK) -> Body:
        return await self.gallery.show(who, HOME, head)

    def asked(self, head: int = 1) -> asyncio.Task[Body]:
        return asyncio.create_task(self.ask(head))


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch, tables: Tables) -> Hung:
    return Hung(monkeypatch)


async def settled() -> None:
    """Until whatever can go on without us has gone on."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_body_is_made_once_for_all_who_ask_meanwhile(hung: Hung) -> None:
    hung.go.clear()
    asked = [hung.asked() for _ in range(20)]
    await settled()
    assert not any(one.done() for one in asked) and hung.made == 1
    hung.go.set()
    assert len({id(body) for body in await asyncio.gather(*asked)}) == 1 and hung.made == 1


async def test_the_last_whole_body_is_shown_while_the_next_is_made(hung: Hung, tables: Tables) -> None:
    before = await hung.ask()
    hung.now += galleries.FRESH_S
    tables.devices[0] = device_row(0, online=False)
    assert await hung.ask() is before  # the look goes on beside
    await settled()
    hung.go.clear()
    assert [await hung.ask() for _ in range(3)] == [before] * 3  # nobody waits for the packing
    await settled()
    assert hung.made == 2
    hung.go.set()
    await settled()
    after = await hung.ask()
    assert shown(after)["devices"][0]["online"] is False and after.tag != before.tag and hung.made == 2


async def test_nobody_who_knows_of_an_event_is_shown_a_body_without_it(hung: Hung, tables: Tables) -> None:
    before = await hung.ask()
    head = tables.say(place="there")
    hung.go.clear()
    knows = [hung.asked(head) for _ in range(5)]
    await settled()
    assert not any(one.done() for one in knows)
    does_not = hung.asked(1)
    await settled()
    assert (await does_not) is before  # of before the event, as this asker's own look at the outbox was
    again = tables.say(place="here")  # while a body without it is being made
    later = hung.asked(again)
    await settled()
    hung.go.set()
    for body in await asyncio.gather(*knows):
        assert "there" in {one["place"] for one in shown(body)["alerts"]} and shown(body)["cursor"] >= head
    assert {one["place"] for one in shown(await later)["alerts"]} == {"there", "here"}


async def test_what_may_be_shown_no_more_is_not_in_the_last_whole_body_either(hung: Hung, tables: Tables) -> None:
    await hung.ask()
    hung.go.clear()
    tables.say()
    making = hung.asked(tables.head)
    await settled()
    hung.gallery.consents_changed("c")
    looks = tables.looks
    after = hung.asked(1)
    await settled()
    assert not after.done() and tables.looks == looks + 1
    hung.go.set()
    assert (await after).stand.heeded == 1 and (await making).stand.heeded == 0


async def test_device_states_are_never_older_than_promised(hung: Hung, tables: Tables) -> None:
    await hung.ask()
    hung.now += galleries.STALE_S
    tables.devices[0] = device_row(0, online=False)
    assert shown(await hung.ask())["devices"][0]["online"] is False


async def test_figures_that_are_newer_are_shown_at_once(hung: Hung) -> None:
    await hung.ask()
    hung.figures.at = NOW + timedelta(seconds=5)
    assert shown(await hung.ask())["kpis"]["at"] == "2026-11-22T08:00:05Z"


async def test_all_is_read_anew_beside_the_picture_that_is_shown(hung: Hung, tables: Tables) -> None:
    before = await hung.ask()
    tables.devices[0] = device_row(0, name="renamed")
    tables.loading.clear()
    hung.now += galleries._AHEAD_S
    await hung.ask()
    await settled()
    assert tables.loads == 2
    hung.now += galleries.FRESH_S / 2
    head = tables.say(place="meanwhile")  # the reading that is under way does not know of it
    meanwhile = shown(await hung.ask(head))
    assert [one["place"] for one in meanwhile["alerts"]] == ["meanwhile"]
    assert meanwhile["devices"][0]["name"] == "bin 0"
    tables.loading.set()
    await settled()
    await hung.ask(head)
    await settled()
    after = await hung.ask(head)
    found = shown(after)
    assert found["devices"][0]["name"] == "renamed" and [one["place"] for one in found["alerts"]] == ["meanwhile"]
    assert tables.loads == 2 and after.stand.version > before.stand.version and found["cursor"] == head


async def test_all_is_read_anew_at_once_where_nobody_looked_for_a_while(hung: Hung, tables: Tables) -> None:
    await hung.ask()
    tables.devices[0] = device_row(0, name="renamed")
    hung.now += galleries.WHOLE_S
    assert shown(await hung.ask())["devices"][0]["name"] == "renamed"


async def test_a_body_that_cannot_be_made_is_made_by_the_next_who_asks(
    hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = Picture.pieces
    fails = iter([True])

    async def failing(self: Picture, *given: Any) -> Any:
        if next(fails, False):
            raise ValueError("no")
        return await pieces(self, *given)

    monkeypatch.setattr(Picture, "pieces", failing)
    with pytest.raises(ValueError, match="no"):
        await hung.ask()
    assert shown(await hung.ask())["cursor"] == 1


# -- key figures --------------------------------------------------------------------------------------------------


async def test_pictures_wait_for_figures_from_when_their_count_began(monkeypatch: pytest.MonkeyPatch) -> None:
    now, go, counts = 0.0, asyncio.Event(), 0
    go.set()

    async def kpis(*_: Any) -> KpisOut:
        nonlocal counts
        counts += 1
        n = counts
        await go.wait()
        return KpisOut(at=NOW + timedelta(seconds=n), items=[])

    monkeypatch.setattr(figures, "kpis", kpis)
    monkeypatch.setattr(boards, "PATIENCE_S", 3600.0)
    board = KpiBoard(cast(Database, Nowhere()), lambda: now)
    before = await board.get("c", 1)
    go.clear()
    now = 10.0
    waits = asyncio.create_task(board.get("c", 2))
    await settled()
    assert not waits.done()
    now += 3600.0  # who asks now has not begun it, and does not wait for it
    assert await board.get("c", 2) == before
    go.set()
    assert (await waits).at > before.at and counts == 2
