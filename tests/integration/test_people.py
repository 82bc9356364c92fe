"""People: masks by role and field, sheets in and out, versions, who may see whom."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import structlog

from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community
from tests.said import lasting


def once() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


async def prepared(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await connection.execute(
        "UPDATE person SET phone = '13800001234', tags = tags || '{chronic_illness}' WHERE id = 'test-p1'"
    )
    await connection.execute("UPDATE person SET account_id = 'user-resident1' WHERE id = 'test-p2'")
    await connection.close()


FIELDS = {"name": "王秀英", "phone": "13800001234", "room": "101", "household_id": "test-h1", "tags": "chronic_illness"}


async def test_people_are_masked_role_by_role_and_field_by_field(database_url: str) -> None:
    """All that may be asked by each role, held against what each may see whole."""
    await prepared(database_url)
    leaks, cells = [], 0
    whole = {("grid1", "/people/test-p1"), ("desk", "reveal"), ("admin", "reveal"), ("grid1", "reveal")}
    async with api_server(database_url) as url:
        for username in ("admin", "desk", "grid1", "patrol1", "street", "platform", "resident1"):
            async with client(url, username) as http:
                answers = {
                    path: (await http.get(path)).text
                    for path in (
                        "/people/test-p1",
                        "/communities/test/people",
                        "/communities/test/elders",
                        "/communities/test/snapshot",
                        "/me/household",
                    )
                }
                found = await http.post("/communities/test/people/search", json={"words": "王秀英"})
                answers["search"] = found.text
                answers["reveal"] = (await http.post("/people/test-p1/reveal", json={"purpose": "duty"})).text
                for path, whole_text in answers.items():
                    text = lasting(whole_text)
                    for field, value in FIELDS.items():
                        cells += 1
                        own = (username, path) in whole
                        # A grid member's list has the names of those they look after; a plan has rooms, not people.
                        allowed = own or (username == "grid1" and path.endswith("/elders") and field == "name")
                        allowed = allowed or (path.endswith("/snapshot") and field == "room")
                        if value in text and not allowed:
                            leaks.append((username, path, field))
                        if own:
                            assert value in text, (username, path, field)
    assert leaks == []
    assert cells == 7 * 7 * len(FIELDS)


async def test_people_of_another_household_or_grid_are_not_there(database_url: str) -> None:
    await prepared(database_url)
    connection = await connect(database_url)
    await connection.execute("UPDATE app_user SET grid_id = 'test-grid-2' WHERE username = 'grid1'")
    async with api_server(database_url) as url:
        async with client(url, "resident1") as http:
            assert [one["name"] for one in (await http.get("/me/household")).json()] == ["李伟"]
            assert (await http.get("/people/test-p2")).json()["name"] == "李伟"
            for path in (
                "",
                "/wellbeing?purpose=self",
                "/consents",
                "/export?purpose=self",
                "/health-reads",
                "/contacts",
            ):
                assert (await http.get(f"/people/test-p1{path}")).status_code == 404, path
        async with client(url, "grid1") as http:
            assert (await http.get("/communities/test/people")).json()["items"] == []
            assert (await http.get("/communities/test/people?grid_id=test-grid-1")).json()["items"] == []
            for asked in ({"words": "王秀英"}, {"words": "13800001234", "grid_id": "test-grid-1"}):
                found = await http.post("/communities/test/people/search", json=asked)
                assert found.json()["items"] == [], asked
            assert (await http.get("/people/test-p1")).status_code == 404
            assert (await http.post("/people/test-p1/reveal", json={"purpose": "visit"})).status_code == 404
    await connection.close()


async def test_people_are_found_by_tag_age_place_and_words(database_url: str) -> None:
    await prepared(database_url)
    async with api_server(database_url) as url, client(url, "desk") as http:

        async def ids(**params: Any) -> list[str]:
            answered = await http.get("/communities/test/people", params=params)
            assert answered.status_code == 200, answered.text
            return [one["id"] for one in answered.json()["items"]]

        everybody = ["test-p1", "test-p2", "test-p3", "test-p4"]
        assert await ids() == everybody
        assert await ids(tag="elder") == await ids(alone=True) == await ids(age="80-89") == ["test-p1"]
        assert await ids(tag=["elder", "pet_owner"]) == []
        assert await ids(age="18-59") == everybody[1:]
        assert await ids(building_id="test-b1") == everybody
        assert await ids(household_id="test-h2") == ["test-p2"]

        async def found(**asked: Any) -> list[str]:
            answered = await http.post("/communities/test/people/search", json=asked)
            assert answered.status_code == 200, answered.text
            return [one["id"] for one in answered.json()["items"]]

        assert await found() == everybody
        assert await found(words=" 秀英 ") == await found(words="13800001234") == await found(words="test-p1")
        assert await found(words="秀英", tags=["elder"], age="80-89", alone=True) == ["test-p1"]
        assert await found(words="秀英", age="18-59") == await found(words="1380000") == []
        assert (await http.post("/communities/test/people/search", json={"words": " "})).status_code == 422
        first = (await http.get("/communities/test/people?limit=3")).json()
        assert await ids(cursor=first["next"]) == await found(cursor=first["next"]) == ["test-p4"]
        tags = (await http.get("/communities/test/person-tags")).json()
        assert len(tags) > 50 and len({one["label"]["zh"] for one in tags}) == len(tags)
        assert {one["name"]: one["people"] for one in tags}["elder"] == 1


async def test_people_are_entered_changed_moved_and_removed_by_version(database_url: str) -> None:
    await prepared(database_url)
    async with api_server(database_url) as url, client(url, "desk") as http:
        new = {"name": "陈静", "birth_year": 1990, "household_id": "test-h3", "tags": ["tenant"]}
        key = once()
        made = await http.post("/communities/test/people", json=new, headers=key)
        again = await http.post("/communities/test/people", json=new, headers=key)
        assert made.status_code == 201 and again.json()["id"] == made.json()["id"]
        path, tag = f"/people/{made.json()['id']}", made.headers["ETag"]
        assert (await http.put(path, json=new)).status_code == 428
        moved = await http.put(path, json=new | {"household_id": "test-h4"}, headers={"If-Match": tag})
        assert moved.json()["household_id"] == "test-h4"
        stale = await http.put(path, json=new, headers={"If-Match": tag})
        assert stale.status_code == 412 and stale.headers["ETag"] == moved.headers["ETag"]
        for wrong in (
            {"household_id": "nowhere"},
            {"tags": ["nonsense"]},
            {"account_id": "user-nobody"},
            {"phone": "x"},
        ):
            refused = await http.put(path, json=new | wrong, headers={"If-Match": moved.headers["ETag"]})
            assert refused.status_code == 422, wrong
        out = await http.post(f"{path}/move-out", json={}, headers={"If-Match": moved.headers["ETag"]})
        assert out.json()["moved_out_at"] and out.json()["household_id"] is None
        listed = (await http.get("/communities/test/people?moved_out=true")).json()["items"]
        assert [one["id"] for one in listed] == [made.json()["id"]]
        assert (await http.delete(path, headers={"If-Match": out.headers["ETag"]})).status_code == 204
        elder = await http.get("/people/test-p1")
        bound = await http.delete("/people/test-p1", headers={"If-Match": elder.headers["ETag"]})
        assert bound.status_code == 409 and "设备 3" in bound.json()["detail"]


async def imported(http: httpx.AsyncClient, content: bytes, dry_run: bool = False) -> dict[str, Any]:
    answered = await http.post("/communities/test/people/import", params={"dry_run": dry_run}, content=content)
    assert answered.status_code == 200, answered.text
    body: dict[str, Any] = answered.json()
    return body


async def test_people_sheet_goes_out_and_in_again_unchanged_in_both_languages(database_url: str) -> None:
    await prepared(database_url)
    async with api_server(database_url) as url, client(url, "desk") as http:
        http.headers["X-Purpose"] = "duty"
        for lang in ("zh", "en"):
            sheet = (await http.get("/communities/test/people/export", params={"lang": lang})).content
            back = await imported(http, sheet)
            assert (back["lines"], back["unchanged"], back["faults"]) == (4, 4, [])
        assert (await http.get("/communities/test/people/export", headers={"X-Purpose": "self"})).status_code == 422


async def test_people_sheet_is_checked_whole_before_anything_is_written(database_url: str) -> None:
    await prepared(database_url)
    async with api_server(database_url) as url, client(url, "desk") as http:
        wrong = (
            "姓名,楼栋,单元,房号,出生年份,标签\n赵六,1号楼,1单元,101,1950,老年人（60 岁以上）\n,9号楼,,1,十,没有的\n"
        )
        report = await imported(http, wrong.encode("gb18030"))
        assert report["dry_run"] and report["encoding"] == "gb18030"
        assert {(one["line"], one["column"]) for one in report["faults"]} == {
            (3, "name"),
            (3, "room"),
            (3, "birth_year"),
            (3, "tags"),
        }
        nobody = await http.post("/communities/test/people/search", json={"words": "赵六"})
        assert nobody.json()["items"] == []
        right = "name,building,unit,room,tags\n'=1+1,1号楼,1单元,101,elder;pet_owner\n"
        assert (await imported(http, right.encode(), dry_run=True))["added"] == 1
        assert (await imported(http, right.encode()))["added"] == 1
        assert (await imported(http, right.encode()))["unchanged"] == 1
        out = (await http.get("/communities/test/people/export?purpose=duty")).text
        assert "'=1+1" in out and "\n=1+1" not in out
        nonsense = await http.post("/communities/test/people/import", content=b"PK\x03\x04")
        assert nonsense.status_code == 422 and "Excel" in nonsense.json()["detail"]


async def test_people_opened_whole_are_told_who_opened_them_and_why(database_url: str) -> None:
    """The desk by its purpose, a grid member on duty; who only saw the mask is in no list."""
    await prepared(database_url)
    async with api_server(database_url) as url:
        async with client(url, "grid1") as http:
            assert (await http.get("/people/test-p1")).json()["revealed"] is True
        async with client(url, "desk") as http:
            assert (await http.get("/people/test-p1")).json()["revealed"] is False
            assert (await http.post("/people/test-p1/reveal", json={"purpose": "export"})).status_code == 422
            await http.post("/people/test-p1/reveal", json={"purpose": "visit"})
        connection = await connect(database_url)
        await connection.execute("UPDATE person SET account_id = 'user-resident1' WHERE id = 'test-p1'")
        await connection.close()
        async with client(url, "resident1") as http:
            reads = (await http.get("/people/test-p1/health-reads")).json()["items"]
        assert [(one["role"], one["purpose"], one["what"]) for one in reads] == [
            ("desk", "visit", "person"),
            ("grid", "duty", "person"),
        ]


async def test_people_keep_account_and_guardian_when_what_was_revealed_is_put_back(database_url: str) -> None:
    """A change says everything, so what is revealed has everything that can be said; the mask has neither."""
    await prepared(database_url)
    connection = await connect(database_url)
    await connection.execute("UPDATE person SET guardian_id = 'user-patrol1' WHERE id = 'test-p2'")
    async with api_server(database_url) as url, client(url, "desk") as http:
        masked = (await http.get("/people/test-p2")).json()
        assert (masked["account"], masked["account_id"], masked["guardian_id"]) == (True, None, None)
        shown = await http.post("/people/test-p2/reveal", json={"purpose": "duty"})
        names = ("name", "phone", "birth_year", "household_id", "account_id", "guardian_id")
        body = {name: shown.json()[name] for name in names} | {"tags": ["pet_owner"]}
        put = await http.put("/people/test-p2", json=body, headers={"If-Match": shown.headers["ETag"]})
        assert put.status_code == 200, put.text
        assert (masked["guardian_name"], put.json()["guardian_name"]) == (None, "patrol1")
        selfsame = body | {"guardian_id": "user-resident1"}
        refused = await http.put("/people/test-p2", json=selfsame, headers={"If-Match": put.headers["ETag"]})
        assert refused.status_code == 422 and "guardian" in refused.json()["detail"]
    row = await connection.fetchrow("SELECT account_id, guardian_id, tags FROM person WHERE id = 'test-p2'")
    assert (row["account_id"], row["guardian_id"], row["tags"]) == ("user-resident1", "user-patrol1", ["pet_owner"])
    await connection.close()


async def test_people_searched_for_leave_their_names_in_no_address_log_or_audit(database_url: str) -> None:
    """What was looked for goes in a body: whoever puts it into an address is refused, and nothing of it is kept."""
    await prepared(database_url)
    async with api_server(database_url) as url, client(url, "desk") as http:
        with structlog.testing.capture_logs() as logged:
            for words in ("王秀英", "13800001234"):
                found = await http.post("/communities/test/people/search", json={"words": words, "tags": ["disabled"]})
                assert found.status_code == 200
                refused = await http.get("/communities/test/people", params={"q": words})
                assert refused.status_code == 422 and "people/search" in refused.json()["detail"]
                assert words not in refused.text
            too_long = await http.post("/communities/test/people/search", json={"words": "王秀英" * 30})
            assert too_long.status_code == 422
    lines = [one for one in logged if one["event"] == "request"]
    assert [one["path"] for one in lines].count("/api/v1/communities/test/people/search") == 3
    connection = await connect(database_url)
    audited = await connection.fetch("SELECT subject, detail::text FROM audit")
    await connection.close()
    assert any("disabled" in row["detail"] for row in audited), "tags of hardship are written down, words are not"
    kept = str(logged) + str([tuple(row) for row in audited])
    assert "王秀英" not in kept and "13800001234" not in kept
