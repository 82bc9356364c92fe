"""Evidence through the running service: from upload to the order's history, hostile senders included."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from PIL import Image

from services.adapters.orders import fetch_history, fetch_order
from services.api.web import meters
from services.domain.orders import fold
from services.domain.vocabulary import Team
from tests import evidence_kit as kit
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community


async def send(
    http: httpx.AsyncClient,
    order: object,
    data: bytes,
    *,
    sort: str = "photo",
    phase: str = "before",
    declared: str = "image/jpeg",
    key: str = "",
    path: str = "",
    **fields: str,
) -> httpx.Response:
    return await http.post(
        path or f"/orders/{order}/evidence",
        params={"sort": sort, "phase": phase},
        files={"file": ("IMG_1.jpg", data, declared)},
        data=fields,
        headers={"Idempotency-Key": key or str(uuid4())},
    )


@pytest.fixture
async def order(database_url: str) -> UUID:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, order = await raise_alert(connection, "test-gas_alarm-1")
    await connection.close()
    assert order is not None
    return order


@pytest.fixture
async def url(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    async with api_server(
        database_url, evidence_url=(tmp_path / "store").as_uri(), evidence_reserve_bytes=0
    ) as address:
        yield address


def objects(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "store").glob("??/*") if path.is_file())


async def test_photo_goes_from_the_phone_into_the_orders_history(
    database_url: str, order: UUID, url: str, tmp_path: Path
) -> None:
    data = kit.jpeg()
    async with client(url, "patrol1") as http:
        answer = await send(http, order, data, place="1号楼", x="21.5", y="22")
        assert answer.status_code == 200, answer.text
        shown = answer.json()
        assert (shown["sort"], shown["phase"], shown["place"], shown["order_id"]) == (
            "photo",
            "before",
            "1号楼",
            str(order),
        )
        assert shown["original_sha256"] == hashlib.sha256(data).hexdigest() != shown["sha256"]
        assert shown["claimed"] == ["time", "position"] and shown["uploader"].strip() == "patrol1"
        assert (shown["x"], shown["y"]) == (21.5, 22.0)
        assert shown["taken_at"] == "2026-11-20T02:30:00Z"

        kept = await http.get(f"/evidence/{shown['id']}")
        assert hashlib.sha256(kept.content).hexdigest() == shown["sha256"]
        assert kit.SECRET.encode() not in kept.content and b"Exif" not in kept.content
        assert kept.headers["content-type"] == "image/jpeg"
        assert kept.headers["x-content-type-options"] == "nosniff"
        assert kept.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert kept.headers["cache-control"] == "private, no-cache"
        assert kept.headers["content-disposition"] == f'inline; filename="{shown["id"]}.jpg"'
        same = await http.get(f"/evidence/{shown['id']}", headers={"If-None-Match": kept.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        small = await http.get(f"/evidence/{shown['id']}/thumbnail")
        assert max(Image.open(io.BytesIO(small.content)).size) == 320

        listed = (await http.get(f"/orders/{order}/evidence")).json()["items"]
        assert [one["id"] for one in listed] == [shown["id"]]
        history = (await http.get(f"/orders/{order}")).json()["history"]
        assert history[-1]["move"] == "evidence"
        assert {name: history[-1]["detail"][name] for name in ("evidence_id", "sort", "phase")} == {
            "evidence_id": shown["id"], "sort": "photo", "phase": "before",
        }  # fmt: skip
    connection = await connect(database_url)
    row = await fetch_order(connection, order)
    assert row.photos_before == 1
    assert row.order == fold(await fetch_history(connection, order))
    assert await connection.fetchval("SELECT alert_id FROM evidence") == row.alert_id
    types = [one["type"] for one in await connection.fetch("SELECT type FROM outbox ORDER BY seq")]
    assert types[-1] == "order.evidence"
    await connection.close()
    assert not list((tmp_path / "store" / ".incoming").iterdir()), "what came in is cleared away"


async def test_same_key_stores_once_and_no_version_is_asked_for(database_url: str, order: UUID, url: str) -> None:
    async with client(url, "patrol1") as http:
        first = await send(http, order, kit.jpeg(), key="k")
        again = await send(http, order, kit.jpeg(), key="k")
        both = await asyncio.gather(*(send(http, order, kit.jpeg(300, 200), key="n", phase="after") for _ in range(4)))
        assert first.json()["id"] == again.json()["id"]
        assert [one.status_code for one in both] == [200] * 4
        assert len({one.json()["id"] for one in both}) == 1
        # Pictures from several phones at once, and a move with the version seen before them is told of the new one.
        many = await asyncio.gather(*(send(http, order, kit.jpeg(100 + n, 80)) for n in range(5)))
        assert [one.status_code for one in many] == [200] * 5
        assert (await http.post(f"/orders/{order}/evidence", params={"sort": "photo"})).status_code == 400
    connection = await connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM evidence") == 7
    row = await fetch_order(connection, order)
    assert (row.version, row.photos_before, row.photos_after) == (9, 6, 1)
    await connection.close()


async def test_identical_files_sent_at_once_are_one_object(
    database_url: str, order: UUID, url: str, tmp_path: Path
) -> None:
    async with client(url, "patrol1") as patrol, client(url, "desk") as desk:
        answers = await asyncio.gather(*(send(http, order, kit.jpeg()) for http in (patrol, desk) * 4))
        assert [one.status_code for one in answers] == [200] * 8
        assert len({one.json()["id"] for one in answers}) == 8
        assert len({one.json()["sha256"] for one in answers}) == 1
        assert len(objects(tmp_path)) == 2  # the picture and its small one
        ids = [one.json()["id"] for one in answers]
        for number, id in enumerate(ids):
            removed = await desk.request("DELETE", f"/evidence/{id}", json={"why": "拍到无关人员"})
            assert removed.status_code == 200 and removed.json()["url"] is None
            assert len(objects(tmp_path)) == (2 if number < 7 else 0), "what another row needs stays"
        assert (await desk.get(f"/evidence/{ids[0]}")).status_code == 410
        again = await desk.request("DELETE", f"/evidence/{ids[0]}", json={"why": "拍到无关人员"})
        assert again.status_code == 409
        listed = (await desk.get(f"/orders/{order}/evidence")).json()["items"]
        assert [one["removed_why"] for one in listed] == ["拍到无关人员"] * 8
    connection = await connect(database_url)
    audited = await connection.fetchval("SELECT count(*) FROM audit WHERE action = 'evidence.remove'")
    assert audited == 8
    for change in ("UPDATE evidence SET place = 'x'", "DELETE FROM evidence", "UPDATE evidence SET removed_why = 'x'"):
        with pytest.raises(Exception, match="append-only"):
            await connection.execute(change)
    await connection.close()


HOSTILE: tuple[tuple[bytes, str, str, int, str], ...] = (
    (b"", "image/jpeg", "photo", 422, "empty"),
    (kit.SVG, "image/svg+xml", "photo", 415, "type"),
    (kit.HTML, "image/jpeg", "photo", 415, "type"),
    (kit.HEIC, "image/heic", "photo", 415, "heic"),
    (kit.gif(), "image/gif", "photo", 415, "gif"),
    (kit.png(), "image/jpeg", "photo", 415, "mismatch"),
    (kit.bomb_png(), "image/png", "photo", 422, "pixels"),
    (kit.jpeg()[:-3000], "image/jpeg", "photo", 422, "damaged"),
    (kit.PLAYLIST, "video/mp4", "clip", 415, "type"),
)


async def test_hostile_file_is_refused_in_words_and_leaves_nothing(
    database_url: str, order: UUID, url: str, tmp_path: Path
) -> None:
    async with client(url, "patrol1") as http:
        for data, declared, sort, status, code in HOSTILE:
            answer = await send(http, order, data, declared=declared, sort=sort)
            assert answer.status_code == status, answer.text
            problem = answer.json()
            assert problem["errors"] == [{"code": code}] and " · " in problem["detail"]
    assert objects(tmp_path) == []
    connection = await connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM evidence") == 0
    assert (await fetch_order(connection, order)).version == 2
    await connection.close()


async def raw(
    url: str, token: str, path: str, headers: dict[str, str], body: AsyncIterator[bytes]
) -> tuple[bytes, int]:
    """One request by hand: the answer's head and body, and how much of the request's body was taken."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"POST /api/v1{path} HTTP/1.1", f"Host: {host}", f"Authorization: {token}", "Idempotency-Key: k"]
    writer.write("\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode())
    sent = 0
    answer = asyncio.create_task(reader.read(65536))
    try:
        async for chunk in body:
            if answer.done():
                break
            writer.write(chunk)
            try:
                await writer.drain()
            except ConnectionError:
                break
            sent += len(chunk)
        async with asyncio.timeout(120):
            return await answer, sent
    except ConnectionError:
        return b"", sent  # closed on us while we went on sending; what was answered is lost with it
    finally:
        answer.cancel()
        writer.close()


async def test_500_mb_are_refused_by_their_length_without_a_byte_being_read(
    order: UUID, url: str, tmp_path: Path
) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    async with client(url, "patrol1") as http:
        token = http.headers["Authorization"]
    for path, length, words in (
        (f"/orders/{order}/evidence?sort=photo", 500 * 1024 * 1024, "100 MiB"),
        (f"/orders/{order}/evidence?sort=photo", 50 * 1024 * 1024, "20 MiB"),
        (f"/orders/{order}/moves", 500 * 1024 * 1024, "64 KiB"),
    ):
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(length)}
        answer, _ = await raw(url, token, path, headers, nothing())
        assert answer.startswith(b"HTTP/1.1 413"), answer
        assert words.encode() in answer and b"connection: close" in answer.lower()
    assert not (tmp_path / "store" / ".incoming").exists() or not list((tmp_path / "store" / ".incoming").iterdir())


async def test_endless_body_without_a_length_is_cut_at_the_limit(order: UUID, url: str, tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        head = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        )
        first = head + kit.jpeg()
        yield b"%x\r\n" % len(first) + first + b"\r\n"
        for _ in range(2000):
            yield b"%x\r\n" % 65536 + bytes(65536) + b"\r\n"

    cut = meters.UPLOADS.labels("photo", "too_large")._value.get()
    async with client(url, "patrol1") as http:
        token = http.headers["Authorization"]
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Transfer-Encoding": "chunked"}
        answer, sent = await raw(url, token, f"/orders/{order}/evidence?sort=photo", headers, endless())
        assert answer[:12] in (b"HTTP/1.1 413", b""), answer
        assert meters.UPLOADS.labels("photo", "too_large")._value.get() == cut + 1
        assert sent < 60 * 1024 * 1024
        assert list((tmp_path / "store" / ".incoming").iterdir()) == []

        # Wrong from its first bytes: refused long before its end.
        async def wrong() -> AsyncIterator[bytes]:
            head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + kit.HTML
            yield b"%x\r\n" % len(head) + head + b"\r\n"
            for _ in range(100):
                yield b"%x\r\n" % 65536 + bytes(65536) + b"\r\n"

        answer, sent = await raw(url, token, f"/orders/{order}/evidence?sort=photo", headers, wrong())
        assert answer.startswith(b"HTTP/1.1 415"), answer


async def test_form_that_is_not_as_asked_is_refused(order: UUID, url: str) -> None:
    file = ("a.jpg", kit.jpeg(), "image/jpeg")
    cut = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + kit.jpeg()
    asked: dict[str, dict[str, Any]] = {
        "no file": {"files": {"x": (None, "text")}},
        "two files": {"files": [("file", file), ("file", file)]},
        "other field": {"files": {"picture": file}},
        "bad field": {"files": {"file": file}, "data": {"latitude": "north"}},
        "unknown field": {"files": {"file": file}, "data": {"order_id": "x"}},
        "endless field": {"files": {"file": file}, "data": {"place": "x" * 3000}},
        "cut": {"content": cut, "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
        "not a form": {"json": {"file": "x"}},
    }
    async with client(url, "patrol1") as http:
        for form, more in asked.items():
            headers = {"Idempotency-Key": "k", **more.pop("headers", {})}
            answer = await http.post(f"/orders/{order}/evidence?sort=photo", headers=headers, **more)
            assert answer.status_code == 422, (form, answer.text)
            assert " · " in answer.json()["detail"]


async def test_clip_is_handed_out_in_parts(order: UUID, url: str, tmp_path: Path) -> None:
    data = kit.clip(tmp_path / "made.mp4")
    async with client(url, "patrol1") as http:
        made = await send(http, order, data, sort="clip", declared="video/mp4", phase="other")
        assert made.status_code == 200, made.text
        path, size = f"/evidence/{made.json()['id']}", made.json()["bytes"]
        whole = (await http.get(path)).content
        assert len(whole) == size
        for asked, expected in (
            ("bytes=0-99", whole[:100]),
            ("bytes=100-", whole[100:]),
            ("bytes=-50", whole[-50:]),
            (f"bytes={size - 1}-{size + 5000}", whole[-1:]),
        ):
            part = await http.get(path, headers={"Range": asked})
            assert (part.status_code, part.content) == (206, expected), asked
            assert part.headers["content-range"].endswith(f"/{size}")
        for asked in (f"bytes={size}-", "bytes=5-2", "bytes=-0"):
            assert (await http.get(path, headers={"Range": asked})).status_code == 416, asked
        for asked in ("bytes=0-1,5-6", "rows=1-2", "bytes=-"):
            assert (await http.get(path, headers={"Range": asked})).status_code == 200, asked
        stale = await http.get(path, headers={"Range": "bytes=0-9", "If-Range": '"old"'})
        assert (stale.status_code, len(stale.content)) == (200, size)


async def test_object_that_was_spoiled_or_lost_is_never_shown(database_url: str, order: UUID, tmp_path: Path) -> None:
    settings = {"evidence_url": (tmp_path / "store").as_uri(), "evidence_reserve_bytes": 0}
    async with api_server(database_url, **settings) as url, client(url, "patrol1") as http:
        made = (await send(http, order, kit.jpeg())).json()
    path = tmp_path / "store" / made["sha256"][:2] / made["sha256"]
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    async with api_server(database_url, **settings) as url, client(url, "patrol1") as http:
        spoiled = await http.get(f"/evidence/{made['id']}")
        assert spoiled.status_code == 500 and "损坏" in spoiled.json()["detail"]
        path.unlink()
        assert (await http.get(f"/evidence/{made['id']}")).status_code == 500
        # Sent once more, the same bytes mend it.
        assert (await send(http, order, kit.jpeg())).json()["sha256"] == made["sha256"]
        assert (await http.get(f"/evidence/{made['id']}")).content == kept


async def test_who_sees_which_picture(database_url: str, url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, gas = await raise_alert(connection, "test-gas_alarm-1")
    _, heart = await raise_alert(connection, "test-wristband-1", rule_id="wristband.heart_rate_high", team=Team.GRID)
    async with client(url, "desk") as desk, client(url, "patrol1") as patrol, client(url, "resident1") as resident:
        seen = (await send(desk, gas, kit.jpeg())).json()["id"]
        masked = await send(desk, heart, kit.jpeg(320, 200))
        assert masked.status_code == 200, masked.text
        hidden = masked.json()["id"]
        assert (await patrol.get(f"/evidence/{seen}")).status_code == 200
        assert (await desk.get(f"/evidence/{hidden}")).status_code == 200
        assert (await patrol.get(f"/evidence/{hidden}")).status_code == 404
        assert (await patrol.get(f"/evidence/{hidden}/thumbnail")).status_code == 404
        assert (await patrol.get(f"/orders/{heart}/evidence")).json()["items"] == []
        assert len((await desk.get(f"/orders/{heart}/evidence")).json()["items"]) == 1
        assert (await send(patrol, heart, kit.jpeg())).status_code == 404
        for path in (f"/evidence/{seen}", f"/orders/{gas}/evidence"):
            assert (await resident.get(path)).status_code == 404
        assert (await send(resident, gas, kit.jpeg())).status_code == 404
        own = await send(resident, "", kit.jpeg(), path="/communities/test/evidence", phase="other")
        assert own.status_code == 200, own.text
        assert (await resident.get(f"/evidence/{own.json()['id']}")).status_code == 200
        assert (await resident.request("DELETE", f"/evidence/{seen}", json={"why": "no"})).status_code == 403
        assert (await patrol.request("DELETE", f"/evidence/{seen}", json={"why": "no"})).status_code == 403
    await connection.close()


async def test_picture_taken_before_there_was_an_order_is_linked_once(database_url: str, order: UUID, url: str) -> None:
    connection = await connect(database_url)
    _, other = await raise_alert(connection, "test-gas_alarm-2")
    async with client(url, "patrol1") as http:
        made = await send(http, "", kit.jpeg(), path="/communities/test/evidence", phase="before")
        id = made.json()["id"]
        for _ in range(2):
            linked = await http.post(f"/evidence/{id}/link", json={"order_id": str(order)})
            assert linked.status_code == 200 and linked.json()["order_id"] == str(order), linked.text
        assert (await http.post(f"/evidence/{id}/link", json={"order_id": str(other)})).status_code == 409
    assert (await fetch_order(connection, order)).photos_before == 1
    await connection.close()


async def test_alert_shows_what_its_device_names_and_what_people_sent(database_url: str, url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    trigger = {"event": "thrown", "data": {"clip": "http://127.0.0.1:1/clip.mp4", "floor": 9, "photo": 7}}
    alert, order = await raise_alert(
        connection, "test-highthrow_camera-1", rule_id="highthrow_camera.thrown", trigger=trigger
    )
    await connection.close()
    async with client(url, "patrol1") as http:
        made = (await send(http, order, kit.jpeg())).json()
        shown = (await http.get(f"/alerts/{alert}/evidence")).json()
        assert [one["id"] for one in shown["items"]] == [made["id"]]
        assert [(one["name"], one["reference"]) for one in shown["references"]] == [
            ("clip", "http://127.0.0.1:1/clip.mp4")
        ]


async def test_upload_is_refused_for_an_order_one_has_nothing_to_do_with_before_it_is_read(
    database_url: str, order: UUID, url: str, tmp_path: Path
) -> None:
    connection = await connect(database_url)
    async with client(url, "cleaning1") as cleaning, client(url, "desk") as desk:
        refused = await send(cleaning, order, kit.jpeg())
        assert refused.status_code == 422 and " · " in refused.json()["detail"]
        assert not (tmp_path / "store").exists()
        done = await desk.post(
            f"/orders/{order}/moves",
            json={"move": "cancel", "version": 2, "reason": "重复"},
            headers={"Idempotency-Key": "c"},
        )
        assert done.status_code == 200
        assert (await send(desk, order, kit.jpeg())).status_code == 422
        assert (await send(desk, uuid4(), kit.jpeg())).status_code == 404
    await connection.close()


async def test_uploads_of_one_account_are_limited_a_minute(database_url: str, order: UUID, tmp_path: Path) -> None:
    settings = {"evidence_url": (tmp_path / "s").as_uri(), "evidence_per_min": 2, "evidence_reserve_bytes": 0}
    async with api_server(database_url, **settings) as url, client(url, "patrol1") as http, client(url, "desk") as desk:
        statuses = [(await send(http, order, kit.png(), declared="image/png")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert (await send(desk, order, kit.png(), declared="image/png")).status_code == 200


async def test_limit_of_a_file_is_kept_to_the_byte(database_url: str, order: UUID, tmp_path: Path) -> None:
    settings = {"evidence_url": (tmp_path / "s").as_uri(), "evidence_photo_bytes": 9000, "evidence_reserve_bytes": 0}
    picture = kit.jpeg(200, 100)
    async with api_server(database_url, **settings) as url, client(url, "patrol1") as http:
        for size, status in ((9000, 200), (9001, 413)):
            answer = await send(http, order, picture + bytes(size - len(picture)))
            assert answer.status_code == status, answer.text


async def test_store_that_is_full_or_away_keeps_nothing_and_says_so(
    database_url: str, order: UUID, tmp_path: Path
) -> None:
    taken = tmp_path / "file"
    taken.write_bytes(b"no folder")
    for settings, status in (
        ({"evidence_url": (tmp_path / "a").as_uri(), "evidence_reserve_bytes": 2**60}, 507),
        ({"evidence_url": taken.as_uri(), "evidence_reserve_bytes": 0}, 503),
    ):
        async with api_server(database_url, **settings) as url, client(url, "patrol1") as http:
            answer = await send(http, order, kit.jpeg())
            assert answer.status_code == status, answer.text
            assert "未保存" in answer.json()["detail"]
    connection = await connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM evidence") == 0
    assert (await fetch_order(connection, order)).version == 2
    await connection.close()


async def test_memory_of_the_service_stays_small_while_large_files_come_in(
    database_url: str, order: UUID, url: str, tmp_path: Path
) -> None:
    """Three files of 90 MiB at once, each of which has to come in whole to be found worthless."""
    process, done = psutil.Process(os.getpid()), asyncio.Event()
    before = highest = process.memory_info().rss
    size = 90 * 2**20

    async def watch() -> None:
        nonlocal highest
        while not done.is_set():
            highest = max(highest, process.memory_info().rss)
            await asyncio.sleep(0.01)

    async def body() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n\0\0\0\x18ftypisom'
        block = bytes(65536)
        for _ in range(size // len(block)):
            yield block
        yield b"\r\n--b--\r\n"

    async def sent(n: int) -> int:
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Idempotency-Key": str(n)}
        path = f"/orders/{order}/evidence?sort=clip"
        return (await http.post(path, content=body(), headers=headers, timeout=60)).status_code

    async with client(url, "patrol1") as http:
        watching = asyncio.create_task(watch())
        statuses = await asyncio.gather(*(sent(n) for n in range(3)))
        done.set()
        await watching
    assert statuses == [422] * 3
    grown = (highest - before) / 2**20
    print(f"\nRSS {before / 2**20:.0f} MiB, {grown:.1f} MiB more at most, while {3 * size / 2**20:.0f} MiB came in")  # noqa: T201
    assert grown < 60
