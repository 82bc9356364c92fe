"""Emergency contacts over the API: masked, revealed for a purpose, changed by version, told in an order, forgotten."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community
from tests.said import lasting

DAUGHTER = {"name": "李娜娜", "relation": "女儿", "phone": "13800138000"}
SON = {"name": "李强", "relation": "儿子", "phone": "0792-8123456", "position": 2, "language": "en"}
HERE = "/people/test-p1/contacts"


def once() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def seen(answer: httpx.Response) -> dict[str, str]:
    return {"If-Match": answer.headers["ETag"]}


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url:
        yield url


async def rows(database_url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    connection = await connect(database_url)
    try:
        return [tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()


async def both(desk: httpx.AsyncClient) -> httpx.Response:
    """Daughter and son of the first elder; the list as it stands."""
    for one in (DAUGHTER, SON):
        made = await desk.post(HERE, json=one, headers=once())
        assert made.status_code == 200, made.text
    return await desk.get(HERE)


async def test_contacts_are_masked_until_it_was_said_what_for(url: str, database_url: str) -> None:
    async with client(url, "desk") as desk, client(url, "grid1") as grid, client(url, "patrol1") as staff:
        listed = await both(desk)
        for http in (desk, grid):
            shown = await http.get(HERE)
            assert [(one["name"], one["relation"], one["revealed"]) for one in shown.json()] == [
                ("李**", "女儿", False), ("李*", "儿子", False),
            ]  # fmt: skip
            assert "娜" not in shown.text and "0013" not in lasting(shown.text) and "8123" not in lasting(shown.text)
        assert (await staff.get(HERE)).status_code == 403
        assert (await staff.post(f"{HERE}/reveal", json={"purpose": "duty"})).status_code == 403
        assert (await desk.post(f"{HERE}/reveal", json={})).status_code == 422
        refused = await desk.post(f"{HERE}/reveal", json={"purpose": "self"})
        assert refused.status_code == 422 and "duty" in refused.json()["detail"]
        whole = await desk.post(f"{HERE}/reveal", json={"purpose": "emergency"})
        assert [(one["name"], one["phone"], one["revealed"]) for one in whole.json()] == [
            ("李娜娜", "13800138000", True), ("李强", "07928123456", True),
        ]  # fmt: skip
        assert whole.headers["ETag"] == listed.headers["ETag"]
        reads = (await desk.get("/people/test-p1/health-reads")).json()["items"]
    assert [(one["purpose"], one["what"]) for one in reads] == [("emergency", "contacts")]
    audited = await rows(database_url, "SELECT action, detail::text FROM audit WHERE subject = 'person:test-p1'")
    assert [action for action, _ in audited] == ["contact.add", "contact.add", "health.reveal"]
    assert not any(said in lasting(str(audited)) for said in ("李", "女儿", "138001", "8123"))


async def test_contacts_are_changed_by_version_and_without_the_number_being_shown(url: str, database_url: str) -> None:
    async with client(url, "desk") as desk, client(url, "grid1") as grid:
        listed = await both(desk)
        at = f"/contacts/{listed.json()[0]['id']}"
        renamed = {"name": "李娜", "relation": "女儿"}
        assert (await grid.put(at, json=renamed)).status_code == 428
        changed = await grid.put(at, json=renamed, headers=seen(listed))
        assert changed.status_code == 200 and changed.json()["phone"] == "138****00", "an edit must not unmask"
        overtaken = await desk.put(at, json=renamed | {"phone": "13900139000"}, headers=seen(listed))
        assert overtaken.status_code == 412 and overtaken.headers["ETag"] == changed.headers["ETag"]
        assert "核对" in overtaken.json()["detail"] and "look at them" in overtaken.json()["detail"]
        numbers = "SELECT sort, address, failing_since IS NULL FROM contact_channel WHERE contact_id = $1 ORDER BY sort"
        contact = uuid.UUID(listed.json()[0]["id"])
        before = [("phone", "13800138000", True), ("sms", "13800138000", True)]
        assert await rows(database_url, numbers, contact) == before
        await rows(database_url, "UPDATE contact_channel SET failing_since = now() WHERE contact_id = $1", contact)
        assert (await desk.get(HERE)).json()[0]["failing_since"] is not None
        # A landline takes no messages; a mobile does again. A new number is not failing yet.
        landline = await desk.put(at, json=renamed | {"phone": "0792 8000000"}, headers=seen(changed))
        assert landline.status_code == 200 and landline.json()["failing_since"] is None
        assert await rows(database_url, numbers, contact) == [("phone", "07928000000", True)]
        mobile = await desk.put(at, json=renamed | {"phone": "13900139000", "language": "en"}, headers=seen(landline))
        assert mobile.json()["language"] == "en"
        assert await rows(database_url, numbers, contact) == [
            ("phone", "13900139000", True), ("sms", "13900139000", True),
        ]  # fmt: skip
        same = await desk.put(at, json=renamed | {"language": "en"}, headers=seen(mobile))
        assert same.headers["ETag"] == mobile.headers["ETag"]
    changes = await rows(
        database_url, "SELECT detail -> 'fields' FROM audit WHERE action = 'contact.change' ORDER BY id"
    )
    assert [fields for (fields,) in changes] == [["name"], ["phone"], ["language", "phone"]]


async def test_contacts_are_told_in_the_order_that_was_set(url: str, database_url: str) -> None:
    async with client(url, "desk") as desk:
        listed = await both(desk)
        ids = [one["id"] for one in listed.json()]
        assert (await desk.put(f"{HERE}/order", json={"ids": ids[::-1]})).status_code == 428
        for wrong in (ids[:1], [*ids, str(uuid.uuid4())], [ids[0], ids[0]]):
            refused = await desk.put(f"{HERE}/order", json={"ids": wrong}, headers=seen(listed))
            assert refused.status_code == 422, wrong
        turned = await desk.put(f"{HERE}/order", json={"ids": ids[::-1]}, headers=seen(listed))
        assert [one["id"] for one in turned.json()] == ids[::-1]
        assert [one["position"] for one in turned.json()] == [1, 2]
        late = await desk.put(f"{HERE}/order", json={"ids": ids}, headers=seen(listed))
        assert late.status_code == 412 and late.headers["ETag"] == turned.headers["ETag"]
        gone = await desk.delete(f"/contacts/{ids[0]}", headers=seen(turned))
        assert gone.status_code == 204
        left = await desk.get(HERE)
        assert [one["id"] for one in left.json()] == ids[1:] and left.headers["ETag"] == gone.headers["ETag"]
    told = "SELECT count(*) FROM audit WHERE action = ANY ('{contact.order,contact.remove}')"
    assert await rows(database_url, told) == [(2,)]


async def test_contacts_with_a_number_that_helps_nobody_are_refused_in_words(url: str, database_url: str) -> None:
    await rows(database_url, "UPDATE person SET phone = '+86 13700000001' WHERE id = 'test-p1'")
    wrong = (
        ("1380013800", "现为 10 位", "this one has 10"),
        ("8123456", "加区号", "area code"),
        ("120", "求助电话", "a service"),
        ("138 0013 800x", "只能有数字", "nothing but digits"),
        ("137 0000 0001", "本人的号码", "own number"),
    )
    async with client(url, "desk") as desk:
        for phone, zh, en in wrong:
            refused = await desk.post(HERE, json=DAUGHTER | {"phone": phone}, headers=once())
            assert refused.status_code == 422, phone
            assert zh in refused.json()["detail"] and en in refused.json()["detail"], phone
        listed = await both(desk)
        twice = await desk.post(HERE, json=SON | {"phone": "+86 138 0013 8000"}, headers=once())
        assert twice.status_code == 422 and "已在联系人中" in twice.json()["detail"]
        son = f"/contacts/{listed.json()[1]['id']}"
        body = {"name": "李强", "relation": "儿子", "phone": "13800138000"}
        assert (await desk.put(son, json=body, headers=seen(listed))).status_code == 422
        for n in range(3):
            more = {"name": "邻居", "relation": "邻居", "phone": f"1360013600{n}"}
            assert (await desk.post(HERE, json=more, headers=once())).status_code == 200
        full = await desk.post(HERE, json=DAUGHTER | {"phone": "13500135000"}, headers=once())
        assert full.status_code == 422 and "最多 5 位" in full.json()["detail"]


async def test_contacts_of_a_person_are_their_guardians_business_and_no_neighbours(url: str, database_url: str) -> None:
    """A guardian who lives elsewhere names whom to call; they know whom they named, the number stays masked."""
    async with client(url, "desk") as desk, client(url, "resident1") as resident:
        listed = await both(desk)
        at = f"/contacts/{listed.json()[0]['id']}"
        for answer in (
            await resident.get(HERE),
            await resident.put(at, json={"name": "x", "relation": "x"}, headers=seen(listed)),
            await resident.put(f"{HERE}/order", json={"ids": [str(uuid.uuid4())]}, headers=seen(listed)),
            await resident.delete(at, headers=seen(listed)),
        ):
            assert answer.status_code == 404, answer.text
        await rows(database_url, "UPDATE person SET guardian_id = 'user-resident1' WHERE id = 'test-p1'")
        own = await resident.get(HERE)
        assert [one["name"] for one in own.json()] == ["李娜娜", "李强"] and "0013" not in lasting(own.text)
        assert (await resident.post(f"{HERE}/reveal", json={"purpose": "self"})).status_code == 403
        changed = await resident.put(at, json={"name": "李娜", "relation": "女儿"}, headers=seen(own))
        assert changed.status_code == 200 and changed.json()["name"] == "李娜"
