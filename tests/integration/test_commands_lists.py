"""What people read of commands: what waits for a word, alone and in batches, by whose names, and what proves it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx

from tests.api_server import api_server, client
from tests.factory import put_community, small_community


async def post(http: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await http.post(path, json={"why": "试", **body}, headers={"Idempotency-Key": str(uuid4())})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ids(http: httpx.AsyncClient, path: str, **query: Any) -> list[str]:
    answer = await http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["items"]]


async def test_what_waits_is_listed_alone_and_in_batches_with_names_and_places(database_url: str) -> None:
    await put_community(database_url, small_community())
    commands, batches = "/communities/test/commands", "/communities/test/command-batches"
    async with (
        api_server(database_url, auth_requests_per_min=6000) as url,
        client(url, "desk") as desk,
        client(url, "admin") as admin,
        client(url, "street") as street,
    ):
        one = await post(desk, commands, device_id="test-gas_meter-1", name="valve_close")
        assert (one["place"], one["requested_name"], one["approved_name"]) == ("1号楼101室", "desk", None)
        where = {"buildings": ["test-b1"], "grids": ["test-grid-1"]}
        valves = await post(desk, batches, kind="water_meter", name="valve_close", **where)
        assert valves["targets"] == "water_meter 1号楼 第一网格" and valves["kind"] == "water_meter"
        assert valves["expires_at"] is not None and valves["requested_name"] == "desk"
        calls = await post(
            desk, batches, kind="loudspeaker", name="speak", params={"text": "撤离"}, everywhere=True, emergency=True
        )
        lamps = await post(desk, batches, kind="lamp_post", name="on", everywhere=True)
        assert await ids(street, commands, only="awaiting", single="true") == [one["id"]]
        assert len(await ids(street, commands, only="awaiting")) == 1 + valves["total"]
        assert await ids(street, commands, state="all", to_review="true", single="true") == []
        assert await ids(street, batches) == [lamps["id"], calls["id"], valves["id"]]
        assert await ids(street, batches, waiting="true") == [calls["id"], valves["id"]]

        stopped = await admin.post(f"/command-batches/{valves['id']}/stop", json={"why": "不用了"})
        assert stopped.json()["stopped_name"] == "admin" and stopped.json()["expires_at"] is None
        verdict = {"verdict": "justified", "note": "属实"}
        await street.post(f"/command-batches/{calls['id']}/review", json=verdict)
        assert await ids(street, batches, waiting="true") == []
        reviewed = (await street.get(commands, params={"state": "all", "batch_id": calls["id"]})).json()["items"][0]
        assert (reviewed["reviewed_name"], reviewed["review_note"]) == ("street", "属实")
        approved = (await street.post(f"/commands/{one['id']}/approve", json={"note": ""})).json()
        assert approved["approved_name"] == "street"
        assert [line["by_name"] for line in approved["history"]] == ["desk", "street"]
        again = await admin.post(f"/commands/{one['id']}/approve", json={})
        assert again.status_code == 409 and "待下发" in again.json()["detail"]


async def test_catalogue_says_what_each_command_takes_and_what_proves_it(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "desk") as desk:
        kinds = {kind["name"]: kind for kind in (await desk.get("/catalogue")).json()["kinds"]}
    known = {(kind, one["name"]): one for kind in kinds for one in kinds[kind]["commands"]}
    speak, valve = known["loudspeaker", "speak"], known["gas_meter", "valve_close"]
    assert speak["params"] == ["text", "clip", "zone"] and speak["calls"] and speak["shown_by"]["name"] == "played"
    assert (valve["lives_s"], valve["calls"], valve["shown_by"]["name"]) == (120, False, "valve")
    assert valve["shown_by"]["label"]["zh"] and known["smoke_detector", "test"]["shown_by"] is None
