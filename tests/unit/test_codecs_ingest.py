"""Where foreign formats meet ingest and the alert engine: sessions that are not numbered, answers, mixed log rows."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.adapters.mqtt import Inbound
from services.domain.devices import BY_NAME
from services.domain.engine.entries import LogRow, items_of, told
from services.domain.engine.subjects import Roster
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition
from services.domain.messages import (
    AT_ARRIVAL_MS,
    NO_SESSION,
    DeviceEvent,
    Reason,
    Rejected,
    StatusChange,
    Telemetry,
    Topic,
)
from services.domain.rules.evaluation import Event, Line, Reading
from services.ingest.acks import acknowledgements, foreign_replies
from services.ingest.checked import Checked, Outcome, Refusal, Session
from services.ingest.checked import Reading as Stored
from services.ingest.core import check, heard_again, order_statuses
from services.ingest.registry import KnownDevice, Registry, kind_spec
from services.ingest.registry_keeper import unusable
from services.ingest.settings import IngestSettings

NOW = 1_800_000_000_000
HOME = CommunityId("home")
LAMP = KnownDevice(DeviceNo(1), DeviceId("lamp"), HOME, Partition(0), kind_spec(BY_NAME["lamp_post"]), None, "tasmota")
TOPIC = Topic(HOME, LAMP.id, "telemetry", "tele/LWT")
REGISTRY = Registry({LAMP.id: LAMP}, {HOME: Partition(0)})


def said(*words: tuple[bool, int], known: dict[DeviceNo, Session]) -> tuple[list[tuple[int, Outcome]], Any]:
    """(online, received) one after the other; what became of each, and the session as it is then."""
    into = Checked()
    for online, at in words:
        part = StatusChange(LAMP.id, at, online, NO_SESSION)
        check(into, 0, at, TOPIC, part, REGISTRY)
    now = order_statuses(into.statuses, known)
    return [(status.session, status.outcome) for status in into.statuses], now.get(LAMP.no)


S, D = Outcome.STORED, Outcome.DUPLICATE


@pytest.mark.parametrize(
    ("known", "words", "wanted", "session"),
    [
        ({}, [(True, NOW)], [(NOW, S)], (NOW, False)),
        ({}, [(False, NOW)], [(NOW, S)], (NOW, True)),
        ({}, [(True, NOW), (True, NOW + 5)], [(NOW, S), (NOW, D)], (NOW, False)),
        ({}, [(True, NOW), (False, NOW)], [(NOW, S), (NOW, S)], (NOW, True)),
        ({1: (7, False)}, [(True, NOW)], [(7, D)], None),
        ({1: (7, False)}, [(False, NOW)], [(7, S)], (7, True)),
        ({1: (7, True)}, [(False, NOW)], [(7, D)], None),
        ({1: (7, True)}, [(True, NOW)], [(NOW, S)], (NOW, False)),
        # The server's clock was set back: the number grows all the same.
        ({1: (NOW + 9, True)}, [(True, NOW)], [(NOW + 10, S)], (NOW + 10, False)),
        # Gone, back and gone within one millisecond.
        (
            {1: (7, False)},
            [(False, NOW), (True, NOW), (False, NOW), (True, NOW)],
            [(7, S), (NOW, S), (NOW, S), (NOW + 1, S)],
            (NOW + 1, False),
        ),
    ],
)
def test_sessions_are_derived_in_the_order_of_arrival(
    known: dict[DeviceNo, Session], words: list[tuple[bool, int]], wanted: list[Any], session: Session | None
) -> None:
    assert said(*words, known=known) == (wanted, session)


def test_sessions_come_out_the_same_when_a_batch_is_tried_again() -> None:
    into = Checked()
    for online, at in ((True, NOW), (False, NOW + 1), (True, NOW + 2)):
        part = StatusChange(LAMP.id, at, online, NO_SESSION)
        check(into, 0, at, TOPIC, part, REGISTRY)
    first = order_statuses(into.statuses, {})
    fates = [status.outcome for status in into.statuses]
    into.begin()
    assert order_statuses(into.statuses, {}) == first and [status.outcome for status in into.statuses] == fates


def _inbound(topic: str, payload: Any) -> Inbound:
    return Inbound(topic, json.dumps(payload).encode(), 1, 1, False, NOW)


def _checked(messages: int) -> Checked:
    return Checked(foreign=dict.fromkeys(range(messages), "aliyun"))


def _reading(source: int, message_id: str | None = None) -> Stored:
    return Stored(source, NOW, LAMP, NOW, message_id, (1.0, None, None))


def test_a_message_is_refused_in_its_own_words_only_where_nothing_of_it_was_kept() -> None:
    tail = "sys/p/d/thing/event/property/post"
    messages = [_inbound(f"sc/home/lamp/up/telemetry/{tail}", {"id": str(n), "params": {}}) for n in range(3)]
    into = _checked(3)
    bad = Rejected(Reason.UNKNOWN_DEVICE, "no such device", LAMP.id)
    into.readings = [_reading(0), _reading(2)]
    into.readings[1].refuse(Rejected(Reason.CONFLICT, "the first stands", LAMP.id))
    into.refusals = [Refusal(0, bad, HOME, 0), Refusal(1, bad, HOME, 0)]
    answers = foreign_replies(messages, into)
    assert {topic for topic, _ in answers} == {f"sc/home/lamp/down/reply/{tail}_reply"}
    bodies = [json.loads(body) for _, body in answers]
    assert [(body["id"], body["code"], body["message"]) for body in bodies] == [
        ("0", 200, "success"), ("1", 460, "no such device"), ("2", 460, "the first stands"),
    ]  # fmt: skip


def test_an_answer_never_goes_to_a_topic_with_wildcards() -> None:
    messages = [
        _inbound("sc/home/lamp/up/telemetry/sys/+/d/thing/event/property/post", {"id": "1", "params": {"a": 1}})
    ]
    into = _checked(1)
    into.readings = [_reading(0)]
    assert foreign_replies(messages, into) == []


def test_foreign_devices_get_no_acknowledgement_of_ours() -> None:
    messages = [_inbound("sc/home/lamp/up/telemetry/x", {})] * 2
    into = _checked(1)
    into.readings = [_reading(0, "derived"), _reading(1, "own")]
    ((_, body),) = acknowledgements(messages, into)
    assert json.loads(body)["ids"] == ["own"]


@pytest.mark.parametrize("lane", [0, 1])
def test_the_alert_engine_reads_readings_and_events_of_either_lane(lane: int) -> None:
    entry = {"type": "event", "device_no": 5, "ts_ms": 1, "received_ms": 2, "event": "alarm", "data": {}}
    row = LogRow(lane, 1, datetime.now(UTC), [5], [1], [2], [1], [3.0], [entry])
    assert [type(item) for item in items_of(row, Roster(Line()))] == [Reading, Event]
    assert [type(item) for item in told(row)] == [Event]


def test_a_retained_alarm_without_a_time_does_not_sound_again() -> None:
    undated, dated = (Telemetry(LAMP.id, ts, {"smoke": True}) for ts in (AT_ARRIVAL_MS, NOW))
    alarm, presence = DeviceEvent(LAMP.id, AT_ARRIVAL_MS, "alarm", {}), StatusChange(LAMP.id, -1, True, NO_SESSION)
    parts = heard_again([undated, dated, alarm, presence])
    assert [type(part) for part in parts] == [Rejected, Telemetry, Rejected, StatusChange]
    assert isinstance(parts[0], Rejected) and parts[0].reason is Reason.TOO_OLD and "retain" in parts[0].detail


def test_devices_registered_wrong_are_named_before_they_speak() -> None:
    child = replace(LAMP, no=DeviceNo(2), id=DeviceId("child"), gateway_no=LAMP.no, codec="native", profile="nobody")
    odd = replace(LAMP, no=DeviceNo(3), id=DeviceId("odd"), codec="morse")
    plain = replace(LAMP, no=DeviceNo(4), id=DeviceId("plain"), codec="native")
    named = [(device.id, device) for device in (LAMP, child, odd, plain)]
    assert unusable(Registry(dict(named), {HOME: Partition(0)})) == [
        ("child", "the device is registered with the profile nobody, which does not exist"),
        ("odd", "there is no format morse"),
    ]


def test_ingest_refuses_a_wrong_profile_at_its_start(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kind: water_meter\nfields:\n  a: {metric: total}\n")
    given: dict[str, Any] = {"database_url": "postgresql://x", "mqtt_url": "mqtt://x"}
    with pytest.raises(ValidationError, match=r"mine\.yaml:3: fields\.a: a water_meter has no metric 'total'"):
        IngestSettings(**given, profiles=tmp_path)
    with pytest.raises(ValidationError, match="there is no folder"):
        IngestSettings(**given, profiles=tmp_path / "no")
    (tmp_path / "mine.yaml").unlink()
    assert IngestSettings(**given, profiles=tmp_path).profiles == tmp_path
