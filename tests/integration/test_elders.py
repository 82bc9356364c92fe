"""The list of elders: who is in it, in which order and why, and what is left out of it for whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api_data import raise_alert, set_state
from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community
from tests.said import lasting


async def consent(connection: Any, person_id: str, *what: str) -> None:
    await connection.executemany(
        "INSERT INTO consent (id, community_id, person_id, what, given_by, how, starts_at, recorded_by) "
        "SELECT gen_random_uuid(), community_id, id, $2, 'self', 'paper', now() - interval '1 day', 'test' "
        "FROM person WHERE id = $1",
        [(person_id, one) for one in what],
    )


async def withdraw(connection: Any, person_id: str) -> None:
    await connection.execute(
        "UPDATE consent SET withdrawn_at = now(), withdrawn_by = 'test' WHERE person_id = $1", person_id
    )


async def test_elders_come_by_risk_with_every_reason_and_its_weight(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await consent(connection, "test-p1", "vitals")
    await set_state(connection, "test-wristband-1", heart_rate=118, battery=12)
    await connection.execute(
        "INSERT INTO vital_baseline SELECT device_no, 'heart_rate', 72, 5, 14, now() FROM device WHERE id = $1",
        "test-wristband-1",
    )
    async with api_server(database_url) as url, client(url, "grid1") as http:
        shown = (await http.get("/communities/test/elders")).json()
        assert shown["counts"] == {"all": 1, "high": 0, "medium": 1, "low": 0, "away": 0, "masked": False}
        elder = shown["items"][0]
        assert (elder["name"], elder["building"], elder["band"]) == ("王秀英", "1号楼", "on")
        points = {one["code"]: one["weight"] for one in elder["factors"]}
        assert points == {"unusual:heart_rate": 20, "alone": 10, "band_battery": 8, "age": 8}
        assert elder["score"] == sum(points.values())
        assert "118" in elder["factors"][0]["words"]["zh"]
        await raise_alert(connection, "test-sos_button-1", rule_id="sos_button.pressed")
        elder = (await http.get("/communities/test/elders")).json()["items"][0]
        assert (elder["level"], elder["open_alerts"], elder["factors"][0]["weight"]) == ("high", 1, 100)
    await connection.close()


async def test_elders_on_a_wall_have_masks_and_nothing_of_their_health(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await consent(connection, "test-p1", "vitals", "location")
    await set_state(connection, "test-wristband-1", heart_rate=173, battery=80)
    await connection.execute(
        "INSERT INTO vital_baseline SELECT device_no, 'heart_rate', 71, 5, 14, now() FROM device WHERE id = $1",
        "test-wristband-1",
    )
    async with api_server(database_url) as url:
        for username in ("patrol1", "street", "platform", "desk"):
            async with client(url, username) as http:
                answered = await http.get("/communities/test/elders")
                assert "王秀英" not in answered.text and "101" not in lasting(answered.text)
                assert ("173" in lasting(answered.text)) == (username == "desk"), username
                items = answered.json()["items"]
                assert [one["name"] for one in items] == ([] if username == "platform" else ["王**"])
        async with client(url, "resident1") as http:
            assert (await http.get("/communities/test/elders")).status_code == 403
    await connection.close()


async def test_elders_silence_counts_by_hours_and_not_while_they_are_away(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await set_state(connection, "test-door_magnet-1", open=0)
    for hours, weight in ((1, None), (13, 25), (30, 45)):
        await connection.execute(
            "UPDATE device_state SET last_event = 'opened', last_event_ts = $1 WHERE device_no = "
            "(SELECT device_no FROM device WHERE id = 'test-door_magnet-1')",
            datetime.now(UTC) - timedelta(hours=hours),
        )
        async with api_server(database_url) as url, client(url, "desk") as http:
            elder = (await http.get("/communities/test/elders")).json()["items"][0]
            assert {one["code"]: one["weight"] for one in elder["factors"]}.get("no_sign") == weight
            if hours == 30:
                await connection.execute("UPDATE person SET away_until = now() + interval '1 day' WHERE id = 'test-p1'")
                shown = (await http.get("/communities/test/elders")).json()
                assert shown["counts"]["away"] == 1
                codes = [one["code"] for one in shown["items"][0]["factors"]]
                assert "no_sign" not in codes and "away" in codes
    await connection.close()
