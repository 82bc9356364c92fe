"""What the broker does at its queue's limit: it drops, and it counts what it drops."""

from __future__ import annotations

import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from deploy.embedded import broker
from services.adapters.broker_figures import read_once
from services.adapters.mqtt import Address
from services.cli.checks import judge_dropped
from tests.conftest import own_servers

SENT, QUEUED, IN_FLIGHT = 500, 100, 50


def test_dropped_is_counted_and_the_doctor_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "acl").write_text((broker.SHIPPED / "acl").read_text())
    text = (broker.SHIPPED / "mosquitto.conf").read_text()
    for line, small in (
        ("max_queued_messages 3500000", f"max_queued_messages {QUEUED}"),
        ("max_inflight_messages 20000", f"max_inflight_messages {IN_FLIGHT}"),
        ("sys_interval 10", "sys_interval 1"),
    ):
        assert line in text
        text = text.replace(line, small)
    (shipped / "mosquitto.conf").write_text(text)
    monkeypatch.setattr(broker, "SHIPPED", shipped)
    with own_servers(tmp_path / "home") as servers:
        mqtt = servers.mqtt
        away = paho.Client(CallbackAPIVersion.VERSION2, "away", clean_session=False)
        away.username_pw_set(mqtt.username, mqtt.password)
        away.connect(mqtt.host, mqtt.port)
        while not away.is_connected():
            away.loop(0.1)
        away.subscribe("sc/+/+/up/#", qos=1)
        subscribed: list[int] = []
        away.on_subscribe = lambda *_: subscribed.append(1)
        while not subscribed:
            away.loop(0.1)
        away.disconnect()
        away.loop(0.1)
        sender = paho.Client(CallbackAPIVersion.VERSION2)
        sender.username_pw_set(mqtt.username, mqtt.password)
        sender.connect(mqtt.host, mqtt.port)
        sender.loop_start()
        for _ in range(SENT):
            last = sender.publish("sc/c/d/up/telemetry", b"{}", qos=1)
        last.wait_for_publish(60)
        sender.disconnect()
        sender.loop_stop()
        address, secret = Address(mqtt.host, mqtt.port, None, None), mqtt.accounts["svc-health"]
        deadline = time.monotonic() + 90
        # It says so once a second, in the middle of it too.
        least = SENT - QUEUED - IN_FLIGHT
        while (figures := read_once(address, secret)) is None or (dropped := figures.dropped or 0) < least:
            assert time.monotonic() < deadline, "the broker does not say that it dropped what it must have"
    # A session that is away has nothing in flight, so what it keeps is the queue alone.
    assert dropped <= SENT - QUEUED
    finding = judge_dropped(dropped)
    assert (finding.level, finding.todo != "") == ("warning", True)
    assert [judge_dropped(count).level for count in (0, None)] == ["ok", "note"]
