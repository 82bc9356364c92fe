"""The registry over the API: places, devices, sheets, drawings, and two people who change the same thing."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community

C = "/communities/test"
MANY = int(os.environ.get("LINHUB_TEST_DEVICES", "1000"))


@pytest.fixture
async def admin(database_url: str) -> Any:
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", "o-"))
    async with api_server(database_url) as url, client(url, "admin") as http:
        yield http


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def seen(version: int) -> dict[str, str]:
    return {"If-Match": f'"{version}"'}


async def post(http: httpx.AsyncClient, path: str, body: Any, status: int = 201) -> Any:
    answer = await http.post(path, json=body, headers=key())
    assert answer.status_code == status, answer.text
    return answer.json()


async def check_sheet(http: httpx.AsyncClient, what: str, raw: bytes | str, **query: Any) -> Any:
    content = raw if isinstance(raw, bytes) else raw.encode()
    answer = await http.post(
        f"{C}/registry/imports", params={"what": what, **query}, content=content, headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_registry_a_whole_community_is_made_changed_and_taken_apart(admin: httpx.AsyncClient) -> None:
    made = await post(
        admin,
        "/communities",
        {"id": "new", "name": "新社区", "city": "九江市", "district": "浔阳区", "street": "甘棠街道",
         "latitude": 29.7, "longitude": 116.0},
    )  # fmt: skip
    assert made["counts"]["devices"] == 0
    places: list[dict[str, Any]] = [
        {"sort": "compound", "id": "new-c1", "name": "东院"},
        {"sort": "grid", "id": "new-g1", "name": "第一网格"},
        {
            "sort": "building",
            "id": "new-b1",
            "name": "1号楼",
            "compound_id": "new-c1",
            "grid_id": "new-g1",
            "floors": 6,
        },
        {"sort": "unit", "id": "new-u1", "name": "1单元", "building_id": "new-b1"},
        {"sort": "household", "id": "new-h1", "name": "101", "unit_id": "new-u1", "floor": 1},
    ]
    for place in places:
        assert (await post(admin, "/communities/new/places", place))["version"] == 1
    page = (await admin.get("/communities/new/places", params={"limit": 2})).json()
    rest = (await admin.get("/communities/new/places", params={"limit": 9, "cursor": page["next"]})).json()
    assert [one["id"] for one in page["items"] + rest["items"]] == [one["id"] for one in places]
    building = (await admin.get("/communities/new/places/building/new-b1")).json()
    assert (building["units"], building["households"]) == (1, 1)
    changed = await admin.patch("/communities/new/places/building/new-b1", json={"floors": 11}, headers=seen(1))
    assert changed.json()["version"] == 2 and changed.headers["ETag"] == '"2"'
    for place in places[:4]:
        path = f"/communities/new/places/{place['sort']}/{place['id']}"
        version = (await admin.get(path)).json()["version"]
        refused = await admin.delete(path, headers=seen(version))
        assert refused.status_code == 409 and refused.json()["errors"], refused.text
    assert "1号楼" in (await admin.delete("/communities/new/places/compound/new-c1", headers=seen(1))).text
    assert (await admin.delete("/communities/new/registry", headers=seen(1))).status_code == 409
    for place in reversed(places):
        path = f"/communities/new/places/{place['sort']}/{place['id']}"
        version = (await admin.get(path)).json()["version"]
        assert (await admin.delete(path, headers=seen(version))).status_code == 204
    assert (await admin.delete("/communities/new/registry", headers=seen(1))).status_code == 204
    assert (await admin.get("/communities/new/registry")).status_code == 404


async def test_registry_a_device_lives_and_everything_about_it_is_audited(
    admin: httpx.AsyncClient, database_url: str
) -> None:
    body = {"id": "test-smoke-9", "kind": "smoke_detector", "building_id": "test-b1", "floor": 2}
    headers = key()
    first = await admin.post(f"{C}/registry/devices", json=body, headers=headers)
    again = await admin.post(f"{C}/registry/devices", json=body, headers=headers)
    assert first.json()["secret"] and again.json()["secret"] is None
    assert first.json()["device"] == again.json()["device"]
    other = await admin.post(f"{C}/registry/devices", json={**body, "floor": 3}, headers=headers)
    assert other.status_code == 409
    taken = await admin.post(f"{C}/registry/devices", json=body, headers=key())
    assert taken.status_code == 422 and taken.json()["errors"][0]["where"] == "id"
    path = f"{C}/registry/devices/test-smoke-9"
    version = first.json()["device"]["version"]
    moved = await admin.patch(path, json={"x": 12.5, "tags": ["fire_lane"]}, headers=seen(version))
    assert (moved.json()["device"]["x"], moved.json()["device"]["tags"]) == (12.5, ["fire_lane"])
    late = await admin.patch(path, json={"x": 1}, headers=seen(version))
    assert late.status_code == 412 and late.headers["ETag"] == moved.headers["ETag"]
    assert (await admin.patch(path, json={"x": 1})).status_code == 428
    version = moved.json()["device"]["version"]
    secret = await admin.post(f"{path}/secret", headers=seen(version))
    assert secret.json()["secret"] not in (None, first.json()["secret"])
    retired = await admin.post(f"{path}/retire", headers=seen(secret.json()["device"]["version"]))
    assert retired.json()["device"]["login"] == "retired"
    version = retired.json()["device"]["version"]
    assert (await admin.patch(path, json={"x": 1}, headers=seen(version))).status_code == 409
    back = await admin.post(f"{path}/reinstate", headers=seen(version))
    assert back.json()["device"]["login"] == "admitted" and back.json()["secret"]
    connection = await connect(database_url)
    actions = [
        row["action"]
        for row in await connection.fetch("SELECT action FROM audit WHERE action LIKE 'device%' ORDER BY id")
    ]
    told = str(await connection.fetch("SELECT detail FROM audit"))
    await connection.close()
    assert actions == [
        "device.create", "device.change", "device.rotated", "device.retired", "device.rotated", "device.reinstated"
    ]  # fmt: skip
    assert first.json()["secret"] not in told


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"kind": "teapot"}, "kind"),
        ({"codec": "morse"}, "codec"),
        ({"gateway_id": "other-gateway-1"}, "gateway"),
        ({"gateway_id": "test-water_meter-1"}, "gateway"),
        ({"building_id": "other-b1"}, "building"),
        ({"unit_id": "test-b1-u1", "household_id": "test-h3"}, "household"),
        ({"building_id": "test-b1", "floor": 40}, "floor"),
        ({"person_id": "other-p1"}, "person_id"),
        ({"grid_id": "nowhere"}, "grid"),
    ],
)
async def test_registry_refuses_a_device_that_contradicts_the_rest(
    admin: httpx.AsyncClient, change: dict[str, Any], where: str
) -> None:
    answer = await admin.post(f"{C}/registry/devices", json={"id": "test-x", "kind": "bin", **change}, headers=key())
    assert answer.status_code == 422, answer.text
    assert where in [one["where"] for one in answer.json()["errors"]], answer.text
    assert (await admin.get(f"{C}/registry/devices/test-x")).status_code == 404


async def test_registry_lists_devices_by_every_filter(admin: httpx.AsyncClient) -> None:
    async def ids(**query: Any) -> list[str]:
        answer = await admin.get(f"{C}/registry/devices", params=query)
        assert answer.status_code == 200, answer.text
        found = [one["id"] for one in answer.json()["items"]]
        assert answer.json()["total"] == len(found)
        return found

    everything = await ids(limit=500)
    assert await ids(kind="bin") == ["test-bin-1"]
    assert await ids(gateway_id="test-gateway-1", kind="gas_meter", limit=500) == [
        f"test-gas_meter-{n}" for n in range(1, 5)
    ]
    assert await ids(tag="fire_lane") == ["test-parking_sensor-1"]
    assert await ids(text="MANHOLE") == ["test-manhole-1"]
    assert await ids(offline="true", limit=500) == everything
    assert await ids(offline="false") == [] and await ids(retired="true") == []
    assert set(await ids(building_id="test-b1", limit=500)) < set(await ids(grid_id="test-grid-1", limit=500))
    paged: list[str] = []
    cursor = None
    while True:
        query = {"limit": 7} | ({"cursor": cursor} if cursor else {})
        page = (await admin.get(f"{C}/registry/devices", params=query)).json()
        paged += [one["id"] for one in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert paged == everything


async def test_registry_changes_many_or_none(admin: httpx.AsyncClient) -> None:
    rows = (await admin.get(f"{C}/registry/devices", params={"kind": "gas_meter"})).json()["items"]
    items = [{"id": row["id"], "version": row["version"], "interval_s": 900} for row in rows]
    stale = [*items[:-1], {**items[-1], "version": 99}]
    refused = await admin.patch(f"{C}/registry/devices", json={"items": stale})
    assert refused.status_code == 412 and refused.json()["errors"][0]["where"] == rows[-1]["id"]
    done = await admin.patch(f"{C}/registry/devices", json={"items": items})
    assert len(done.json()["changed"]) == 4 and done.json()["secrets"] == []
    rows = (await admin.get(f"{C}/registry/devices", params={"kind": "gas_meter"})).json()["items"]
    assert {row["interval_s"] for row in rows} == {900}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "gb18030"])
async def test_registry_import_reads_what_excel_saves(admin: httpx.AsyncClient, encoding: str) -> None:
    text = "编号,类型,名称,位置,楼栋,楼层,X,Y\r\ntest-n1,烟感探测器,门厅烟感,1号楼门厅,test-b1,1,21,22\r\n"
    kinds = {one["name"]: one["label"]["zh"] for one in (await admin.get("/catalogue")).json()["kinds"]}
    text = text.replace("烟感探测器", kinds["smoke_detector"])
    report = await check_sheet(admin, "devices", text.encode(encoding))
    assert (report["added"], report["applicable"]) == (1, True), report
    assert report["encoding"] == ("gb18030" if encoding == "gb18030" else "utf-8")
    assert (await admin.get(f"{C}/registry/devices/test-n1")).status_code == 404
    done = await admin.post(f"{C}/registry/imports/{report['id']}/apply")
    assert done.status_code == 200, done.text
    assert [one["id"] for one in done.json()["secrets"]] == ["test-n1"]
    device = (await admin.get(f"{C}/registry/devices/test-n1")).json()
    assert (device["name"], device["kind"], device["x"], device["login"]) == (
        "门厅烟感",
        "smoke_detector",
        21,
        "admitted",
    )
    assert (await admin.post(f"{C}/registry/imports/{report['id']}/apply")).status_code == 409


async def test_registry_import_says_what_is_wrong_by_line_and_column(admin: httpx.AsyncClient) -> None:
    sheet = (
        "id,kind,floor,gateway\n"
        "test-n1,teapot,1,\n"
        "test-n2,bin,high,\n"
        "test-n3,bin,1,nowhere\n"
        "test-n4,bin,,\n"
        "test-n4,bin,,\n"
        "other-bin-1,bin,,\n"
    )
    report = await check_sheet(admin, "devices", sheet)
    assert report["state"] == "faulty" and not report["applicable"]
    found = {(one["line"], one["column"]) for one in report["faults"]}
    assert found >= {(2, "kind"), (3, "floor"), (4, "gateway"), (6, "id"), (7, "id")}
    assert all(one["words"]["zh"] and one["words"]["en"] for one in report["faults"])
    for raw in (b"\xff\xfei\x00d\x00", b"PK\x03\x04zip", b"\x81", b"a,b\n1,2\n", b"", b'id,kind\n"open', b"id,kind\n"):
        assert (await check_sheet(admin, "devices", raw))["state"] == "faulty", raw


async def test_registry_export_and_import_bring_back_the_same(admin: httpx.AsyncClient) -> None:
    formula = "=cmd|' /C calc'!A0"
    body = {"id": "test-evil", "kind": "bin", "name": formula, "place": "'-1楼", "x": -3.5, "y": 2}
    await post(admin, f"{C}/registry/devices", body)
    for what in ("places", "devices"):
        for lang in ("zh", "en"):
            sheet = await admin.get(f"{C}/registry/export", params={"what": what, "lang": lang})
            assert sheet.content.startswith(b"\xef\xbb\xbf"), what
            cells = [cell for line in sheet.text.splitlines() for cell in line.split(",")]
            assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
            report = await check_sheet(admin, what, sheet.content, remove="true")
            assert (report["added"], report["changed"], report["removed"], report["faults"]) == (0, 0, 0, []), report
    sheet = await admin.get(f"{C}/registry/export", params={"what": "devices", "lang": "en"})
    changed = sheet.text.replace("test-bin-1,bin,", "test-bin-1,bin,")
    lines = [line for line in changed.splitlines() if not line.startswith("test-lamp_post-1,")]
    report = await check_sheet(admin, "devices", "\n".join(lines), remove="true")
    assert [(one["id"], one["does"]) for one in report["rows"]] == [("test-lamp_post-1", "remove")]
    assert (await admin.post(f"{C}/registry/imports/{report['id']}/apply")).status_code == 200
    assert (await admin.get(f"{C}/registry/devices/test-lamp_post-1")).json()["login"] == "retired"
    kept = (await admin.get(f"{C}/registry/devices/test-evil")).json()
    assert (kept["name"], kept["place"], kept["x"]) == (formula, "'-1楼", -3.5)


async def test_registry_import_of_places_is_done_only_as_it_was_checked(admin: httpx.AsyncClient) -> None:
    sheet = (
        "类型,编号,名称,小区,网格,楼栋,单元,层数,楼层,X,Y,长,宽\n"
        "楼栋,test-b2,2号楼,test-c1,test-grid-1,,,6,,80,20,30,12\n"
        "单元,test-b2-u1,1单元,,,test-b2,,,,,,,\n"
        "住户,test-h9,101,,,,test-b2-u1,,1,,,,\n"
    )
    report = await check_sheet(admin, "places", sheet)
    assert (report["added"], report["applicable"]) == (3, True), report
    await admin.patch(f"{C}/places/grid/test-grid-1", json={"name": "改名网格"}, headers=seen(1))
    building = {"sort": "building", "id": "test-b2", "name": "x", "compound_id": "test-c1", "grid_id": "test-grid-1"}
    await post(admin, f"{C}/places", {**building, "floors": 3})
    late = await admin.post(f"{C}/registry/imports/{report['id']}/apply")
    assert late.status_code == 409
    report = await check_sheet(admin, "places", sheet)
    assert (report["added"], report["changed"]) == (2, 1)
    assert (await admin.post(f"{C}/registry/imports/{report['id']}/apply")).status_code == 200
    assert (await admin.get(f"{C}/places/household/test-h9")).json()["unit_id"] == "test-b2-u1"
    wrong = await check_sheet(admin, "places", "type,id,name,unit,floor\n住户,test-h9,101,nowhere,1\n楼,x y,,,\n")
    assert {(one["line"], one["column"]) for one in wrong["faults"]} >= {(2, "unit"), (3, "id"), (3, "name")}
    alone = await check_sheet(admin, "places", "type,id,name\ngrid,test-grid-1,第一网格\n", remove="true")
    assert alone["state"] == "checked" and [one["id"] for one in alone["rows"] if one["does"] == "remove"] == [
        "test-grid-2"
    ]


async def test_registry_drawings_are_kept_by_version_and_two_editors_do_not_overwrite(admin: httpx.AsyncClient) -> None:
    first = await admin.get(f"{C}/plan")
    assert first.headers["ETag"] == '"1"' and first.json()["shapes"][0]["kind"] == "road"
    assert (await admin.get(f"{C}/plan", headers={"If-None-Match": '"1"'})).status_code == 304
    drawn = {"width": 100, "height": 80, "shapes": [{"kind": "green", "points": [[0, 0], [9, 0], [9, 9]]}]}
    made = await admin.post(f"{C}/plan/drawings", json=drawn, headers=seen(1))
    assert made.status_code == 201 and made.json()["version"] == 2
    late = await admin.post(f"{C}/plan/drawings", json=drawn, headers=seen(1))
    assert late.status_code == 412
    back = await admin.post(f"{C}/plan/drawings/1/restore", headers=seen(2))
    assert back.json()["version"] == 3 and back.json()["shapes"] == first.json()["shapes"]
    listed = (await admin.get(f"{C}/plan/drawings")).json()["items"]
    assert [(one["version"], one["source"]) for one in listed] == [(3, "restore"), (2, "editor"), (1, "import")]
    kept = await admin.get(f"{C}/plan/drawings/2")
    assert kept.headers["Vary"] == "Authorization, Cookie, X-API-Key" and "private" in kept.headers["Cache-Control"]
    assert "immutable" in kept.headers["Cache-Control"] and kept.json()["width"] == 100
    assert (await admin.get(f"{C}/snapshot")).json()["plan"]["version"] == 3
    for wrong in (
        {"width": 0, "height": 1, "shapes": []},
        {"width": 9, "height": 9, "shapes": [{"kind": "castle", "points": [[0, 0], [1, 1]]}]},
        {"width": 9, "height": 9, "shapes": [{"kind": "road", "points": [[0, 0], [1, 1e9]]}]},
    ):
        assert (await admin.post(f"{C}/plan/drawings", json=wrong, headers=seen(3))).status_code == 422


async def test_registry_things_are_put_on_the_plan_together(admin: httpx.AsyncClient) -> None:
    device = (await admin.get(f"{C}/registry/devices/test-bin-1")).json()
    building = (await admin.get(f"{C}/places/building/test-b1")).json()
    move = {"id": device["id"], "version": device["version"], "x": 33.3, "y": 22}
    inside = {**move, "inside": True, "building_id": "test-b1", "unit_id": "test-b1-u2", "floor": 3}
    moved = {"id": "test-b1", "version": building["version"], "x": 25, "y": 21}
    wrong = await admin.patch(f"{C}/plan/places", json={"devices": [{**inside, "unit_id": "other-b1-u1"}]})
    assert wrong.status_code == 422
    done = await admin.patch(f"{C}/plan/places", json={"devices": [inside], "buildings": [moved]})
    assert done.status_code == 200, done.text
    late = await admin.patch(f"{C}/plan/places", json={"devices": [move], "buildings": [moved]})
    assert late.status_code == 412
    device = (await admin.get(f"{C}/registry/devices/test-bin-1")).json()
    assert (device["x"], device["unit_id"], device["floor"]) == (33.3, "test-b1-u2", 3)
    assert (await admin.get(f"{C}/places/building/test-b1")).json()["x"] == 25


async def test_registry_upload_takes_shapes_alone(admin: httpx.AsyncClient) -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 50"><script>alert(1)</script>'
        '<g id="road"><rect x="0" y="20" width="100" height="8" onclick="x()"/></g>'
        '<foreignObject><b>x</b></foreignObject><path class="green" d="M0 0h10v10z"/></svg>'
    )
    answer = await admin.post(
        f"{C}/plan/preview?metres_per_unit=2", content=svg, headers={"Content-Type": "image/svg+xml"}
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["width"], told["height"], told["kinds"]) == (200, 100, {"road": 1, "green": 1})
    assert len(told["left_out"]) == 3 and "alert" not in answer.text
    geo = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"kind": "water"},
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[[116.0001, 29.6999], [116.0002, 29.6999], [116.0002, 29.6998]]],
                },
            }
        ],
    }
    answer = await admin.post(f"{C}/plan/preview", json=geo, headers={"Content-Type": "application/geo+json"})
    x, y = answer.json()["shapes"][0]["points"][0]
    assert 9 < x < 10.5 and 10.5 < y < 11.7


async def test_registry_import_of_a_thousand_devices_lets_others_through(admin: httpx.AsyncClient) -> None:
    rows = [f"test-lot-{n},lamp_post,灯{n},户外,{n % 100},{n // 100 % 80}" for n in range(1, MANY + 1)]
    report = await check_sheet(admin, "devices", "id,kind,name,place,x,y\n" + "\n".join(rows))
    assert report["added"] == MANY

    async def answers() -> int:
        answered = 0
        while not done.done():
            assert (await admin.get("/auth/me")).status_code == 200
            answered += not done.done()
        return answered

    done = asyncio.ensure_future(admin.post(f"{C}/registry/imports/{report['id']}/apply", timeout=120))
    answered = await answers()
    assert (await done).status_code == 200
    assert answered > 1, "others were let through only after it"
    assert (await admin.get(f"{C}/registry")).json()["counts"]["devices"] > MANY
