"""Notifications of NGSI-LD: a real database, the API, the engine and a receiver on a socket."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from standardwebhooks import Webhook

from services.adapters.postgres import open_pool
from services.adapters.steady_clock import SteadyClock
from services.alerts.city.ngsi import NgsiDelivery
from services.alerts.city.ngsi.turn import PIECE
from services.alerts.settings import AlertSettings
from services.domain.city.ngsi import TYPES
from tests.api_data import raise_alert, set_state
from tests.api_server import api_server, client, connect
from tests.city_kit import Clock, Receiver, append, receiver, running, status
from tests.factory import put_community, small_community
from tests.ngsi_kit import EVERYTHING, platform
from tests.said import lasting

GOLDEN = Path(__file__).parents[1] / "golden" / "ngsi"
BIN = "urn:ngsi-ld:WasteContainer:test-bin-1"
AIR = "urn:ngsi-ld:AirQualityObserved:test-environment-1"


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", prefix="other-"))
    async with api_server(database_url) as url:
        yield url


@pytest.fixture
async def db(url: str, database_url: str) -> AsyncIterator[Any]:
    connection = await connect(database_url)
    for community in ("test", "other"):
        await bin_at(connection, 40.0, community)
        await set_state(connection, f"{community}-environment-1", pm2_5=35.0, pm10=60.0, temperature=19.5)
    yield connection
    await connection.close()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Any]:
    pool = await open_pool(database_url, name="ngsi", max_size=4)
    yield pool
    pool.terminate()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def engine(database_url: str, pool: Any, clock: Clock) -> NgsiDelivery:
    settings = AlertSettings(
        database_url=database_url, ngsi_look_s=0.02, city_networks="127.0.0.0/8", city_pace=0.001, city_connect_s=20,
        city_timeout_s=30,
    )  # fmt: skip
    return NgsiDelivery(pool, settings, cast(SteadyClock, clock))


@pytest.fixture
async def started(database_url: str, pool: Any, clock: Clock, db: Any) -> AsyncIterator[NgsiDelivery]:
    one = engine(database_url, pool, clock)
    async with running(one):
        yield one


async def bin_at(connection: Any, fill: float, community: str = "test", temperature: float = 21.0) -> None:
    await set_state(connection, f"{community}-bin-1", fill=fill, temperature=temperature, tilt=1.0)


def about(there: Receiver, *types: str, endpoint: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    notification = {"format": "simplified", "endpoint": {"uri": there.url, **(endpoint or {})}}
    notification |= more.pop("notification", {})
    return {
        "type": "Subscription", "entities": [{"type": one} for one in types or ("WasteContainer",)],
        "notification": notification, **more,
    }  # fmt: skip


async def subscribe(http: httpx.AsyncClient, document: dict[str, Any]) -> str:
    """Its path."""
    made = await http.post("/subscriptions", json=document)
    assert made.status_code == 201, made.text
    return str(made.headers["Location"]).removeprefix("/ngsi-ld/v1")


def told(there: Receiver) -> list[dict[str, Any]]:
    """Entities of all notifications, in their order."""
    return [entity for one in there.heard for entity in json.loads(one.body)["data"]]


def fills(there: Receiver) -> list[float]:
    return [one["fillingLevel"] for one in told(there) if one["type"] == "WasteContainer"]


async def until(db: Any, path: str, statement: str, within_s: float = 90) -> Any:
    """Where a subscription stands, once it is so."""
    async with asyncio.timeout(within_s):
        while True:
            row = await db.fetchrow(
                "SELECT p.*, s.active, s.state_why FROM ngsi_subscription s JOIN ngsi_progress p"
                f" ON p.subscription_id = s.id WHERE s.name = $1 AND ({statement})",
                path.rpartition("/")[2],
            )
            if row is not None:
                return row
            await asyncio.sleep(0.02)


async def settled(db: Any, path: str) -> Any:
    """Once everything that was written up to now has been looked at: more is written that changes nothing, and seen."""
    mark = await db.fetchval("SELECT pg_current_xact_id()::xid::text")
    await db.execute("UPDATE device_state SET session = session")
    await append(db, "alert.repeated", {"id": str(uuid4())})
    return await until(db, path, f"p.lease IS NULL AND NOT p.fresh AND age(p.seen::xid) < age('{mark}'::xid)")


async def silent(db: Any, path: str, there: Receiver) -> int:
    """How many notifications there are, once everything up to now has been looked at."""
    await settled(db, path)
    return len(there.heard)


async def test_ngsi_subscription_tells_the_present_state_first_and_then_what_changes(
    url: str, db: Any, started: NgsiDelivery
) -> None:
    async with platform(url) as http, receiver() as there:
        path = await subscribe(http, about(there, watchedAttributes=["fillingLevel"]))
        [first] = await there.until(lambda heard: len(heard) == 1)
        said = json.loads(first.body)
        name = path.rpartition("/")[2]
        assert (said["type"], said["subscriptionId"]) == ("Notification", name)
        assert said["id"].startswith("urn:ngsi-ld:Notification:") and said["notifiedAt"].endswith("Z")
        assert [one["id"] for one in said["data"]] == [BIN] and fills(there) == [0.4]
        assert first.headers["content-type"] == "application/json" and "json-ld#context" in first.headers["link"]
        await until(db, path, "NOT p.fresh AND p.lease IS NULL")
        await bin_at(db, 41.0)
        await there.until(lambda heard: len(heard) == 2)
        await bin_at(db, 41.0, temperature=30.0)
        assert await silent(db, path, there) == 2, "another attribute is not watched"
        await set_state(db, "other-bin-1", fill=99.0)
        assert await silent(db, path, there) == 2, "of another community"
        assert fills(there) == [0.4, 0.41]
        row = (await http.get(path)).json()
        assert row["status"] == "active" and row["notification"]["status"] == "ok"
        assert row["notification"]["timesSent"] == 2 and "timesFailed" in row["notification"]
        assert row["notification"]["lastNotification"] == row["notification"]["lastSuccess"]
        log = (await http.get(f"{path}/attempts")).json()
        assert [(one["ok"], one["status"], one["entities"]) for one in log] == [(True, 204, 1)] * 2


async def test_ngsi_notifications_of_every_type_are_valid_by_the_models(
    url: str, db: Any, started: NgsiDelivery
) -> None:
    for number in range(10, 20):
        await db.execute(
            "INSERT INTO device (id, community_id, kind, name, place, interval_s)"
            " VALUES ($1, 'test', 'parking_sensor', 'p', '东区', 3600)",
            f"test-parking_sensor-{number}",
        )
        await set_state(db, f"test-parking_sensor-{number}", occupied=float(number % 2))
    await db.execute(
        "UPDATE device SET household_id = NULL, unit_id = NULL, place = '总表' WHERE id = 'test-water_meter-4'"
    )
    await set_state(db, "test-water_meter-4", total_m3=71.5, flow=0.1)
    await raise_alert(db, "test-gas_alarm-1")
    wanted = {
        name: Draft202012Validator(json.loads((GOLDEN / f"{name}.json").read_text()), format_checker=FormatChecker())
        for name in TYPES
    }
    async with platform(url, **EVERYTHING) as http, receiver() as there:
        path = await subscribe(http, about(there, *TYPES))
        await settled(db, path)
        for device in ("test-parking_sensor-10", "test-parking_sensor-11"):
            await set_state(db, device, occupied=1.0)
        await bin_at(db, 77.0)
        await set_state(db, "test-water_meter-4", total_m3=72.5, flow=0.1)
        await set_state(db, "test-environment-1", pm2_5=50.0, pm10=60.0, temperature=19.5)
        await settled(db, path)
        for one in told(there):
            wanted[one["type"]].validate(one)
        sys.stdout.write(f"ngsi: {len(told(there))} entities in {len(there.heard)} notifications valid\n")
        assert {one["type"] for one in told(there)} == set(TYPES)
        latest = {one["id"]: one for one in told(there)}
        assert latest["urn:ngsi-ld:ParkingSpot:test-parking_sensor-10"]["status"] == "occupied"
        assert latest["urn:ngsi-ld:OffStreetParking:test"]["occupiedSpotNumber"] == 6
        assert latest["urn:ngsi-ld:WaterConsumptionObserved:test-water_meter-4"]["waterConsumption"] == 72.5
        assert "wristband" not in str(told(there)) and "sos_button" not in str(told(there))


async def test_ngsi_query_holds_back_and_lets_through_again(url: str, db: Any, started: NgsiDelivery) -> None:
    async with platform(url) as http, receiver() as there:
        path = await subscribe(http, about(there, q="fillingLevel>=0.8", watchedAttributes=["fillingLevel"]))
        assert await silent(db, path, there) == 0
        for fill in (81.0, 60.0, 81.0):
            await bin_at(db, fill)
            await settled(db, path)
        assert fills(there) == [0.81, 0.81], "risen twice, and told twice"


async def test_ngsi_throttling_coalesces(url: str, db: Any, started: NgsiDelivery, clock: Clock) -> None:
    async with platform(url) as http, receiver() as there:
        path = await subscribe(http, about(there, watchedAttributes=["fillingLevel"], throttling=600))
        row = await until(db, path, "NOT p.fresh AND p.lease IS NULL")
        # Counted from the request; written down within its time limit.
        assert timedelta(seconds=590) < row["next_at"] - row["last_notification"] <= timedelta(seconds=600)
        for fill in (50.0, 55.0, 60.0):
            await bin_at(db, fill)
        async with receiver() as witness:
            other = await subscribe(http, about(witness))
            await settled(db, other)
        assert fills(there) == [0.4]
        clock.ahead = timedelta(seconds=601)
        started.wake()
        await there.until(lambda heard: len(heard) == 2)
        assert fills(there) == [0.4, 0.6]


async def test_ngsi_receiver_that_was_away_gets_the_latest_of_each(url: str, db: Any, started: NgsiDelivery) -> None:
    async with platform(url) as http, receiver(answering=status(503)) as there:
        path = await subscribe(http, about(there, "WasteContainer", "AirQualityObserved"))
        await until(db, path, "p.failures >= 3")
        for fill in range(50, 60):
            await bin_at(db, float(fill))
        tried = len(there.heard)
        assert (await http.get(path)).json()["notification"]["lastErrorReason"] == "HTTP 503"
        there.answering = status(200)
        await until(db, path, "p.failures = 0 AND p.lease IS NULL AND NOT p.fresh")
        await settled(db, path)
        await bin_at(db, 60.0)
        await there.until(lambda heard: json.loads(heard[-1].body)["data"][0].get("fillingLevel") == 0.6)
        taken = [entity for one in there.heard[tried:] for entity in json.loads(one.body)["data"]]
        assert {one["id"] for one in taken} == {BIN, AIR}
        levels = [one["fillingLevel"] for one in taken if one["id"] == BIN]
        assert levels == sorted(levels) and levels[-1] == 0.6
        row = (await http.get(path)).json()["notification"]
        assert row["timesFailed"] >= 3 and row["status"] == "ok" and row["lastFailure"] < row["lastSuccess"]
        assert "lastErrorReason" not in row


async def test_ngsi_engine_that_starts_again_tells_what_happened_meanwhile_and_nothing_twice(
    database_url: str, url: str, db: Any, pool: Any, clock: Clock
) -> None:
    async with platform(url) as http, receiver() as there:
        path = await subscribe(http, about(there, "WasteContainer", "AirQualityObserved"))
        async with running(engine(database_url, pool, clock)):
            await settled(db, path)
        assert len(told(there)) == 2
        await bin_at(db, 50.0)
        await bin_at(db, 62.0)
        async with running(engine(database_url, pool, clock)):
            await settled(db, path)
        assert [one["id"] for one in told(there)[2:]] == [BIN] and fills(there)[-1] == 0.62
        async with running(engine(database_url, pool, clock)):
            await silent(db, path, there)
        assert len(told(there)) == 3


async def test_ngsi_what_an_engine_that_died_was_sending_is_the_same_notification_again(
    database_url: str, url: str, db: Any, pool: Any, clock: Clock
) -> None:
    held = asyncio.Event()

    async def stall(request: Any, writer: asyncio.StreamWriter) -> None:
        await held.wait()

    async with platform(url) as http, receiver(answering=stall) as there:
        path = await subscribe(http, about(there))
        dying = engine(database_url, pool, clock)
        await dying.deliver()
        await there.until(lambda heard: len(heard) == 1)
        for task in dying._serving:
            task.cancel()
        there.answering = status(200)
        clock.ahead = timedelta(seconds=61)
        async with running(engine(database_url, pool, clock)):
            await settled(db, path)
        first, again = [json.loads(one.body) for one in there.heard]
        assert first["id"] == again["id"] and first["data"] == again["data"]


async def test_ngsi_two_engines_share_subscriptions(
    database_url: str, url: str, db: Any, pool: Any, clock: Clock
) -> None:
    async with (
        platform(url) as http,
        receiver() as there,
        running(engine(database_url, pool, clock)),
        running(engine(database_url, pool, clock)),
    ):
        paths = [await subscribe(http, about(there)) for _ in range(4)]
        for path in paths:
            await settled(db, path)
        await bin_at(db, 90.0)
        for path in paths:
            await settled(db, path)
        assert sorted(fills(there)) == [0.4] * 4 + [0.9] * 4


async def test_ngsi_deletion_pause_and_expiry_stop(url: str, db: Any, started: NgsiDelivery, clock: Clock) -> None:
    async with platform(url) as http, receiver() as there, receiver() as witness:
        ended, paused, resting = [await subscribe(http, about(there)) for _ in range(3)]
        soon = (clock.now() + timedelta(hours=1)).isoformat()
        expiring = await subscribe(http, about(there, expiresAt=soon))
        path = await subscribe(http, about(witness))
        await there.until(lambda heard: len(heard) == 4)
        for one in (ended, paused, resting, expiring, path):
            await settled(db, one)
        assert (await http.delete(ended)).status_code == 204
        assert (await http.get(ended)).status_code == (await http.delete(ended)).status_code == 404
        assert (await http.patch(paused, json={"isActive": False})).status_code == 204
        assert (await http.get(paused)).json()["status"] == "paused"
        await db.execute("UPDATE ngsi_subscription SET active = false WHERE name = $1", resting.rpartition("/")[2])
        clock.ahead = timedelta(hours=2)
        await bin_at(db, 70.0)
        await settled(db, path)
        assert len(there.heard) == 4
        await db.execute("UPDATE ngsi_subscription SET expires_at = now() WHERE name = $1", expiring.rpartition("/")[2])
        assert (await http.get(expiring)).json()["status"] == "expired"
        assert (await http.patch(paused, json={"isActive": True})).status_code == 204
        await there.until(lambda heard: len(heard) == 5)
        assert fills(there)[-1] == 0.7


async def test_ngsi_change_begins_anew(url: str, db: Any, started: NgsiDelivery) -> None:
    async with platform(url) as http, receiver() as there, receiver() as moved:
        path = await subscribe(http, about(there, q="fillingLevel>0.9", description="满了"))
        assert await silent(db, path, there) == 0
        change = {"q": "urn:ngsi-ld:null", "notification": about(moved)["notification"]}
        assert (await http.patch(path, json=change)).status_code == 204
        await moved.until(lambda heard: len(heard) == 1)
        found = (await http.get(path)).json()
        assert "q" not in found and found["description"] == "满了" and there.heard == []
        assert found["notification"]["endpoint"]["uri"] == moved.url


async def test_ngsi_account_key_and_grants_that_end_stop(
    url: str, db: Any, started: NgsiDelivery, clock: Clock
) -> None:
    async with (
        platform(url, **EVERYTHING) as narrowed,
        platform(url) as revoked,
        platform(url) as shut,
        platform(url) as http,
        receiver() as there,
        receiver() as witness,
    ):
        paths = [await subscribe(one, about(there)) for one in (revoked, shut)]
        granted = await subscribe(narrowed, about(there, "Device"))
        path = await subscribe(http, about(witness))
        for one in (*paths, granted, path):
            await settled(db, one)
        await db.execute(
            "UPDATE api_key SET revoked_at = now() WHERE id = (SELECT key_id FROM ngsi_subscription WHERE name = $1)",
            paths[0].rpartition("/")[2],
        )
        account = "(SELECT account_id FROM ngsi_subscription WHERE name = $1)"
        await db.execute(f"UPDATE app_user SET disabled_at = now() WHERE id = {account}", paths[1].rpartition("/")[2])
        await db.execute(
            f"UPDATE city_subscription SET classes = '{{}}' WHERE account_id = {account}", granted.rpartition("/")[2]
        )
        for one in (*paths, granted):
            await until(db, one, "p.lease IS NULL")  # no turn is left that asked for its rights before
        there.heard.clear()
        await bin_at(db, 88.0)
        await settled(db, path)
        await settled(db, granted)
        await until(db, paths[0], "p.last_error LIKE '%key%' AND p.lease IS NULL")
        assert there.heard == []
        await db.execute(f"UPDATE app_user SET disabled_at = NULL WHERE id = {account}", paths[1].rpartition("/")[2])
        await there.until(lambda heard: len(heard) == 1)
        assert fills(there) == [0.88], "what it missed, once it may listen again"


async def test_ngsi_grants_that_come_are_told_of_everything_and_those_that_go_are_silent(
    url: str, db: Any, started: NgsiDelivery
) -> None:
    async with platform(url) as http, receiver() as there:
        triggers = ["attributeCreated", "entityDeleted"]
        path = await subscribe(http, about(there, "Device", notificationTrigger=triggers))
        assert await silent(db, path, there) == 0
        await db.execute("UPDATE city_subscription SET classes = '{device}', classes_reason = '联动'")
        await settled(db, path)
        assert "urn:ngsi-ld:Device:test-lamp_post-1" in {one["id"] for one in told(there)}, "nothing was written of it"
        await db.execute("UPDATE city_subscription SET classes = '{}'")
        await settled(db, path)
        assert all("deletedAt" not in one for one in told(there))
        assert await db.fetchval("SELECT count(*) FROM ngsi_known") == 0


async def test_ngsi_key_that_was_rotated_carries_on(url: str, db: Any, started: NgsiDelivery) -> None:
    async with platform(url) as http, receiver() as there:
        path = await subscribe(http, about(there))
        await settled(db, path)
        await db.execute(
            "INSERT INTO api_key (id, user_id, community_id, sort, name, secret_hash, scopes, per_minute, created_by,"
            " expires_at, rotated_from) SELECT 'rotatedkey01', k.user_id, k.community_id, k.sort, k.name, sha256('x'),"
            " k.scopes, k.per_minute, k.created_by, k.expires_at, k.id"
            " FROM api_key k JOIN ngsi_subscription s ON s.key_id = k.id"
        )
        await db.execute("UPDATE api_key SET revoked_at = now() WHERE id <> 'rotatedkey01'")
        await bin_at(db, 66.0)
        await there.until(lambda heard: len(heard) == 2)
        await db.execute("UPDATE api_key SET scopes = '{city_events,alerts}'")
        await bin_at(db, 67.0)
        assert await silent(db, path, there) == 2, "a key with less sees less"


async def test_ngsi_tells_nothing_about_health(url: str, db: Any, started: NgsiDelivery) -> None:
    async with platform(url, **EVERYTHING) as http, receiver() as there:
        path = await subscribe(http, about(there, *TYPES))
        await settled(db, path)
        await set_state(db, "test-wristband-1", heart_rate=173.0, latitude=29.123, longitude=116.456)
        private, _ = await raise_alert(db, "test-wristband-1", rule_id="wristband.heart_rate_high")
        called, _ = await raise_alert(db, "test-sos_button-1", rule_id="sos_button.sos")
        for id in (private, called):
            await append(db, "alert.raised", {"id": str(id)})
        await there.until(lambda heard: str(called) in heard[-1].body.decode())
        await db.execute("UPDATE device SET person_id = 'test-p2' WHERE id = 'test-bin-1'")
        await bin_at(db, 99.0)
        await silent(db, path, there)
        everything = "".join(one.body.decode() for one in there.heard)
        assert str(private) not in everything
        for word in ("wristband", "173", "29.123", "116.456", "sos_button-1", "0.99"):
            assert word not in lasting(everything), word


async def test_ngsi_alert_is_told_of_while_it_stands_and_once_it_is_over(
    url: str, db: Any, started: NgsiDelivery
) -> None:
    async with platform(url) as http, receiver() as there:
        path = await subscribe(http, about(there, "Alert"))
        assert await silent(db, path, there) == 0
        id, _ = await raise_alert(db, "test-gas_alarm-1")
        await append(db, "alert.raised", {"id": str(id)})
        await there.until(lambda heard: len(heard) == 1)
        await db.execute("UPDATE alert SET state = 'cleared', cleared_at = now() WHERE id = $1", id)
        await append(db, "alert.cleared", {"id": str(id)})
        await there.until(lambda heard: len(heard) == 2)
        await settled(db, path)
        first, last = told(there)
        assert "validTo" not in first and "validTo" in last and first["id"] == last["id"]
        assert await db.fetchval("SELECT count(*) FROM ngsi_known") == 0, "what is over is not remembered for ever"


async def test_ngsi_triggers_say_what_comes_and_goes(url: str, db: Any, started: NgsiDelivery) -> None:
    async with platform(url) as http, receiver() as there:
        triggers = ["entityCreated", "entityDeleted", "attributeDeleted"]
        path = await subscribe(http, about(there, notificationTrigger=triggers, notification={"format": "normalized"}))
        await there.until(lambda heard: len(heard) == 1)
        await bin_at(db, 77.0)
        assert await silent(db, path, there) == 1, "changes were not asked for"
        await set_state(db, "test-bin-1", temperature=20.0)
        await there.until(lambda heard: len(heard) == 2)
        assert told(there)[-1]["fillingLevel"] == {"type": "Property", "value": "urn:ngsi-ld:null"}
        await settled(db, path)
        await db.execute("UPDATE device SET retired_at = now() WHERE id = 'test-bin-1'")
        await there.until(lambda heard: len(heard) == 3)
        gone = told(there)[-1]
        assert (gone["id"], gone["type"]) == (BIN, "WasteContainer") and gone["deletedAt"].endswith("Z")
        await settled(db, path)
        await db.execute("UPDATE device SET retired_at = NULL WHERE id = 'test-bin-1'")
        await there.until(lambda heard: len(heard) == 4)
        assert told(there)[-1]["status"]["value"] == "ok"


async def test_ngsi_representations_headers_and_signatures(url: str, db: Any, started: NgsiDelivery) -> None:
    secret = "whsec_" + "A" * 43 + "="
    async with platform(url, **EVERYTHING) as http, receiver() as there:
        await db.execute(
            "INSERT INTO city_signing_key (id, subscription_id, sort, secret, created_by)"
            " SELECT $1, id, 'hmac', $2, 'test' FROM city_subscription",
            uuid4(), secret,
        )  # fmt: skip
        endpoint = {
            "accept": "application/ld+json", "receiverInfo": [{"key": "Authorization", "value": "Bearer x y"}],
        }  # fmt: skip
        path = await subscribe(
            http, about(there, endpoint=endpoint, notification={"format": "concise", "pick": ["fillingLevel"]})
        )
        [one] = await there.until(lambda heard: len(heard) == 1)
        said = json.loads(one.body)
        assert one.headers["content-type"] == "application/ld+json" and "link" not in one.headers
        assert said["@context"] == f"{url}/ngsi-ld/v1/jsonldContexts/linhub"
        [entity] = said["data"]
        assert set(entity) == {"id", "type", "fillingLevel"} and entity["fillingLevel"]["unitCode"] == "C62"
        assert one.headers["authorization"] == "Bearer x y"
        assert Webhook(secret).verify(one.body, one.headers) == said
        assert one.headers["webhook-id"] == said["id"]
        shown = await http.get(path)
        assert "Bearer x y" not in shown.text
        assert shown.json()["notification"]["endpoint"]["receiverInfo"] == [{"key": "authorization", "value": "***"}]
        grants = "SELECT has_column_privilege('linhub_tenant', 'ngsi_subscription', 'headers', 'SELECT')"
        assert not await db.fetchval(grants)


async def test_ngsi_leads_nowhere_inside(url: str, db: Any, started: NgsiDelivery) -> None:
    async with (
        platform(url) as http,
        receiver() as inner,
        receiver(answering=status(302, f"Location: {inner.url}")) as there,
    ):
        said = {}
        for uri in ("https://10.1.2.3/hook", "http://169.254.169.254/latest/meta-data", there.url):
            path = await subscribe(http, about(there, endpoint={"uri": uri}))
            said[uri] = (await until(db, path, "p.failures >= 1"))["last_error"]
        assert list(said.values()) == ["address refused: private", "address refused: metadata", "HTTP 302"]
        assert inner.connections == 0


async def test_ngsi_gone_ends_it_and_what_is_refused_for_an_hour_is_let_go_of(
    url: str, db: Any, started: NgsiDelivery, clock: Clock
) -> None:
    async with platform(url) as http, receiver(answering=status(410)) as gone, receiver(answering=status(422)) as fussy:
        path, other = await subscribe(http, about(gone)), await subscribe(http, about(fussy))
        await until(db, path, "NOT s.active AND p.lease IS NULL")
        assert len(gone.heard) == 1
        shown = (await http.get(path)).json()
        assert shown["status"] == "paused" and shown["notification"]["lastErrorReason"] == "410 Gone"
        await until(db, other, "p.refusals >= 8")
        clock.ahead = timedelta(hours=1, seconds=30)
        started.wake()
        await until(db, other, "p.failures = 0 AND NOT p.fresh AND p.lease IS NULL")
        fussy.answering = status(200)
        tried = len(fussy.heard)
        await bin_at(db, 91.0)
        await fussy.until(lambda heard: len(heard) > tried)
        assert fills(fussy)[-1] == 0.91


async def test_ngsi_many_entities_come_in_pieces_and_go_on_where_they_stopped(
    url: str, db: Any, started: NgsiDelivery
) -> None:
    count = 2 * PIECE + 10
    await db.execute(
        "INSERT INTO device (id, community_id, kind, name, place, interval_s)"
        " SELECT 'test-bin-' || n, 'test', 'bin', 'b', '东区', 3600 FROM generate_series(2, $1::integer) AS n",
        count,
    )
    taken = 0

    async def once(request: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        await status(200 if taken == 1 else 503)(request, writer)

    async with platform(url) as http, receiver(answering=once) as there:
        path = await subscribe(http, about(there))
        await until(db, path, "p.failures >= 2")
        there.answering = status(200)
        await until(db, path, "NOT p.fresh AND p.lease IS NULL")
        sizes = [len(json.loads(one.body)["data"]) for one in there.heard]
        assert sizes[0] == PIECE and sizes[-2:] == [PIECE, 10]
        good = [there.heard[0], *there.heard[-2:]]
        names = [one["id"] for each in good for one in json.loads(each.body)["data"]]
        assert len(names) == len(set(names)) == count


async def test_ngsi_subscriptions_are_each_accounts_own(url: str, db: Any, started: NgsiDelivery) -> None:
    async with platform(url) as http, platform(url) as other, receiver() as there, client(url, "admin") as admin:
        document = about(there, "Alert") | {"id": "urn:ngsi-ld:Subscription:mine"}
        path = await subscribe(http, document)
        assert path == "/subscriptions/urn:ngsi-ld:Subscription:mine"
        again = await http.post("/subscriptions", json=document)
        assert again.status_code == 409 and again.json()["type"].endswith("/AlreadyExists")
        assert (await other.get(path)).status_code == 404
        assert (await other.patch(path, json={"isActive": False})).status_code == 404
        assert (await other.delete(path)).status_code == 404
        assert (await other.get("/subscriptions")).json() == []
        await subscribe(other, document | {"description": "其他平台"})
        assert [one["id"] for one in (await http.get("/subscriptions")).json()] == [document["id"]]
        assert "description" not in (await http.get(path)).json()
        base = f"{url}/ngsi-ld/v1"
        page = await admin.get(f"{base}/subscriptions", params={"limit": 1, "count": "true"})
        assert page.headers["NGSILD-Results-Count"] == "2" and len(page.json()) == 1
        assert 'rel="next"' in page.headers["Link"]
        assert (await admin.patch(base + path, json={"isActive": False})).status_code == 404
        assert (await admin.delete(base + path)).status_code == 204
        audit = await db.fetch("SELECT action FROM audit WHERE action LIKE 'ngsi.%' ORDER BY id")
        assert [row["action"] for row in audit] == ["ngsi.subscribe", "ngsi.subscribe", "ngsi.remove"]


async def test_ngsi_subscriptions_of_one_account_are_bounded(
    url: str, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.api.city.ngsi_subscriptions.MOST", 2)
    async with platform(url) as http:
        document = about(Receiver(url="https://city.example.cn/notify"))
        made = await asyncio.gather(*(http.post("/subscriptions", json=document) for _ in range(4)))
        assert sorted(one.status_code for one in made) == [201, 201, 403, 403]


WRONG: tuple[tuple[Callable[[dict[str, Any]], Any], int, str], ...] = (
    (lambda d: d | {"type": "Device"}, 400, "BadRequestData"),
    (lambda d: d | {"colour": "red"}, 400, "BadRequestData"),
    (lambda d: d | {"geoQ": {}}, 422, "OperationNotSupported"),
    (lambda d: d | {"q": "a~=b"}, 422, "OperationNotSupported"),
    (lambda d: d | {"jsonldContext": "https://elsewhere.example/context.jsonld"}, 422, "OperationNotSupported"),
    (lambda d: d | {"expiresAt": "2020-01-01T00:00:00Z"}, 400, "BadRequestData"),
    (lambda d: d | {"@context": "https://elsewhere.example/context.jsonld"}, 400, "BadRequestData"),
    (lambda d: [d], 400, "BadRequestData"),
)


@pytest.mark.parametrize("number", range(len(WRONG)))
async def test_ngsi_subscription_errors_are_those_of_ngsi_ld(url: str, db: Any, number: int) -> None:
    spoilt, expected, fault = WRONG[number]
    async with platform(url) as http:
        answer = await http.post("/subscriptions", json=spoilt(about(Receiver(url="https://city.example.cn/notify"))))
        problem = answer.json()
        assert answer.status_code == problem["status"] == expected, answer.text
        assert problem["type"] == f"https://uri.etsi.org/ngsi-ld/errors/{fault}"
        assert answer.headers["Content-Type"] == "application/problem+json" and " · " in problem["detail"]


async def test_ngsi_subscription_bodies_and_media_types(url: str, db: Any) -> None:
    async with platform(url) as http:
        document = about(Receiver(url="https://city.example.cn/notify"))
        plain = {"Content-Type": "text/plain"}
        assert (await http.post("/subscriptions", content=b"{}", headers=plain)).status_code == 415
        broken = await http.post("/subscriptions", content=b"{", headers={"Content-Type": "application/json"})
        assert broken.status_code == 400 and broken.json()["title"] == "InvalidRequest"
        linked = {"Content-Type": "application/ld+json", "Accept": "application/ld+json"}
        assert (await http.post("/subscriptions", json=document, headers=linked)).status_code == 400
        made = await http.post("/subscriptions", json=document | {"@context": ["https://a.example/c"]}, headers=linked)
        assert made.status_code == 201
        path = made.headers["Location"].removeprefix("/ngsi-ld/v1")
        shown = (await http.get(path, headers={"Accept": "application/ld+json"})).json()
        assert shown["@context"] == shown["jsonldContext"] == f"{url}/ngsi-ld/v1/jsonldContexts/linhub"
        tenant = {"NGSILD-Tenant": "x"}
        assert (await http.post("/subscriptions", json=document, headers=tenant)).status_code == 501
        assert (await http.patch(path, json={})).status_code == 400
        assert (await http.patch(path, json={"id": "urn:x:y"})).status_code == 400
        assert (await http.patch(path, json=shown | {"@context": 1}, headers=linked)).status_code == 204
        assert (await http.get("/subscriptions", params={"colour": "red"})).status_code == 400
    async with platform(url, scopes=["devices"]) as http:
        assert (await http.get("/subscriptions")).status_code == 403
        assert (await http.post("/subscriptions", json=document)).status_code == 403
