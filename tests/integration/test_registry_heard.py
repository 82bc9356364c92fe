"""A device that was made over the API is heard by the ingest that is running."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from services.adapters.broker_identity import password_file
from tests.api_server import api_server, client, connect
from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.ingest_kit import ingest


def _say(mqtt: Mqtt, community: str, device: str, secret: str) -> None:
    publisher = Client(CallbackAPIVersion.VERSION2, device)
    publisher.username_pw_set(device, secret)
    publisher.connect(mqtt.host, mqtt.device_port)
    publisher.loop_start()
    payload = json.dumps({"ts": int(time.time() * 1000), "values": {"battery": 3.1}})
    publisher.publish(f"sc/{community}/{device}/up/telemetry", payload, qos=1).wait_for_publish(60)
    publisher.disconnect()
    publisher.loop_stop()


async def test_registry_device_made_over_the_api_is_heard_within_seconds(database_url: str, mqtt: Mqtt) -> None:
    community = f"reg{uuid4().hex[:8]}"
    await put_community(database_url, small_community(community))
    connection = await connect(database_url)
    device = f"{community}-new"
    async with ingest(database_url, mqtt.url), api_server(database_url) as url, client(url, "admin") as http:
        body = {"id": device, "kind": "smoke_detector"}
        path = f"/communities/{community}/registry/devices"
        made: Any = (await http.post(path, json=body, headers={"Idempotency-Key": "k"})).json()
        # What the identity watcher writes for the broker holds it already.
        admitted = await password_file(connection, {})
        assert f"\n{device}:".encode() in b"\n" + admitted.content
        mqtt.admit({device: made["secret"]})
        async with asyncio.timeout(90):
            while not await connection.fetchval(
                "SELECT count(*) FROM reading AS r JOIN device AS d USING (device_no) WHERE d.id = $1", device
            ):
                await asyncio.to_thread(_say, mqtt, community, device, made["secret"])
                await asyncio.sleep(0.1)
    await connection.close()
