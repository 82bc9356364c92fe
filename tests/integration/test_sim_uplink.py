"""A device's connection on a real broker: resends until acknowledged, leaves a will, obeys once, gives way."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from device_sim import spool
from device_sim.paho_loop import bind, unbind
from device_sim.spool import Spool
from device_sim.uplink import Uplink
from tests.conftest import Mqtt
from tests.sim_kit import Ingest, broker_of, ingest, running

SECRET = "a-device-secret"


@pytest.fixture
def community() -> str:
    return f"sim-{secrets.token_hex(4)}"


@pytest.fixture
def device(mqtt: Mqtt, community: str) -> str:
    name = f"{community}-bin-1"
    mqtt.admit({name: SECRET})
    return name


def sent_ids(witness: Ingest, device: str) -> list[str]:
    return [body["id"] for body in witness.of("event", device)]


async def test_uplink_resends_an_event_until_the_application_ack(
    mqtt: Mqtt, community: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "RESEND_FIRST_S", 0.2)
    async with ingest(mqtt, community) as witness:
        uplink = Uplink(broker_of(mqtt), community, device, SECRET)
        async with running(uplink):
            message = uplink.send("event", {"ts": 1, "event": "overflow", "data": {}}, urgent=True)
            await witness.until(lambda: sent_ids(witness, device).count(message) >= 3)
            assert message in uplink.spool
            waiting = asyncio.create_task(uplink.stored(message, 10))
            witness.acknowledge(device, message)
            assert await waiting is True
            assert len(uplink.spool) == 0
            before = len(sent_ids(witness, device))
            uplink.refresh_status(2)
            await witness.until(lambda: len(witness.of("status", device)) >= 2)
            assert len(sent_ids(witness, device)) == before


async def test_uplink_gives_up_what_was_rejected_and_says_why(mqtt: Mqtt, community: str, device: str) -> None:
    async with ingest(mqtt, community) as witness:
        uplink = Uplink(broker_of(mqtt), community, device, SECRET)
        async with running(uplink):
            message = uplink.send("event", {"ts": 1, "event": "nonsense", "data": {}}, urgent=True)
            waiting = asyncio.create_task(uplink.stored(message, 10))
            await witness.until(lambda: bool(sent_ids(witness, device)))
            reason = {"id": message, "reason": "unknown_event", "detail": "bin has no nonsense"}
            witness.acknowledge(device, rejected=(reason,))
            assert await waiting is False
            assert uplink.rejections[message] == "unknown_event: bin has no nonsense"
            assert len(uplink.spool) == 0


async def test_uplink_keeps_what_was_said_while_offline_for_the_next_connection(
    mqtt: Mqtt, community: str, device: str
) -> None:
    uplink = Uplink(broker_of(mqtt), community, device, SECRET, spool=Spool(10))
    said = [uplink.send("event", {"ts": n, "event": "overflow", "data": {}}, urgent=True) for n in range(3)]
    async with ingest(mqtt, community) as witness, running(uplink):
        await witness.until(lambda: len(witness.of("event", device)) >= 3)
        assert sent_ids(witness, device) == said


async def test_uplink_without_power_leaves_its_last_will(mqtt: Mqtt, community: str, device: str) -> None:
    async with ingest(mqtt, community) as witness:
        uplink = Uplink(broker_of(mqtt), community, device, SECRET)
        await uplink.connect()
        await witness.until(lambda: bool(witness.of("status", device)))
        uplink.cut()
        await witness.until(lambda: len(witness.of("status", device)) >= 2)
        online, will = witness.of("status", device)
        assert (online["online"], will["online"]) == (True, False)
        assert online["session"] == will["session"] == uplink.session
        assert [heard.retained for heard in witness.heard] == [False, False]


async def test_uplink_sessions_grow_with_each_connection(mqtt: Mqtt, community: str, device: str) -> None:
    async with ingest(mqtt, community) as witness:
        uplink = Uplink(broker_of(mqtt), community, device, SECRET)
        for _ in range(3):
            await uplink.connect()
            await uplink.close()
        await witness.until(lambda: len(witness.of("status", device)) >= 6)
        statuses = witness.of("status", device)
        assert [status["online"] for status in statuses] == [True, False] * 3
        sessions = [status["session"] for status in statuses if status["online"]]
        assert sessions == sorted(set(sessions))


async def test_uplink_carries_a_command_out_once_and_answers_each_time(mqtt: Mqtt, community: str, device: str) -> None:
    done: list[str] = []

    def obey(command: dict[str, object]) -> tuple[bool, str]:
        done.append(str(command["command"]))
        return True, "done"

    async with ingest(mqtt, community) as witness:
        uplink = Uplink(broker_of(mqtt), community, device, SECRET, on_command=obey)
        async with running(uplink):
            now = int(time.time() * 1000)
            command = {"id": "c1", "ts": now, "command": "speak", "params": {}, "expires": now + 60_000}
            witness.command(device, command)
            witness.command(device, command)
            await witness.until(lambda: len(witness.of("reply", device)) >= 2)
            late = {"id": "c2", "ts": now - 9000, "command": "speak", "params": {}, "expires": now - 5000}
            witness.command(device, late)
            await witness.until(lambda: len(witness.of("reply", device)) >= 3)
    assert done == ["speak"]
    replies = witness.of("reply", device)
    assert [(r["id"], r["ok"]) for r in replies] == [("c1", True), ("c1", True), ("c2", False)]
    assert replies[2]["detail"] == "expired"


async def test_uplink_taken_over_by_a_story_stays_away_and_leaves_no_will(
    mqtt: Mqtt, community: str, device: str
) -> None:
    held = {device}
    async with ingest(mqtt, community) as witness:
        fleet = Uplink(broker_of(mqtt), community, device, SECRET, held=lambda name: name in held)
        async with running(fleet):
            await witness.until(lambda: bool(witness.of("status", device)))
            story = Uplink(broker_of(mqtt), community, device, SECRET, with_status=False)
            await story.connect()
            message = story.send("event", {"ts": 1, "event": "overflow", "data": {}}, urgent=True)
            await witness.until(lambda: message in sent_ids(witness, device))
            await asyncio.sleep(2.0)  # longer than the will's delay and the first pause before a reconnect
            assert not fleet.connected
            assert story.connected
            assert all(status["online"] for status in witness.of("status", device))
            await story.leave()
            held.clear()
            await witness.until(lambda: len(witness.of("status", device)) >= 2)
            assert fleet.connected


async def test_uplink_nobody_answers_is_an_error_not_a_wait(mqtt: Mqtt, community: str, device: str) -> None:
    uplink = Uplink(broker_of(mqtt), community, device, SECRET)
    uplink._broker = type(uplink._broker)("127.0.0.1", 1)
    with pytest.raises(OSError, match="refused"):
        await uplink.connect()


async def test_uplink_batch_is_one_message_under_one_id(mqtt: Mqtt, community: str, device: str) -> None:
    async with ingest(mqtt, community) as witness:
        uplink = Uplink(broker_of(mqtt), community, device, SECRET)
        async with running(uplink):
            items = [{"device": f"m{n}", "ts": 5, "values": {"flow": 0.1}} for n in range(50)]
            message = uplink.send("telemetry", list(items))
            await witness.until(lambda: bool(witness.of("telemetry", device)))
            (batch,) = witness.of("telemetry", device)
            assert len(batch) == 50
            assert {item["id"] for item in batch} == {message}


def test_device_that_outlives_its_loop_is_let_go_in_quiet() -> None:
    """As when the power failed while words were still to be written, and it is collected after everything has ended."""
    loop = asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        bind(client, loop)
        client.connect("127.0.0.1", nobody.getsockname()[1])
        assert client.want_write(), "nothing was to be written"
        unbind(client, loop)
        loop.close()
        client.__del__()
