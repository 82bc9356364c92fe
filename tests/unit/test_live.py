"""Frames, bounded queues and what is written for which class of readers; no sockets."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from services.api.answers import shapes
from services.api.answers.health import HEALTH_METRICS, HEALTH_RULES
from services.api.identity.auth import Ticket
from services.api.live import frames
from services.api.live.batch import Batch
from services.api.live.client import Client
from services.api.store.system import OutboxRow
from services.domain.access import Principal, ReaderClass, reader_class
from services.domain.orders import plain_terms
from services.domain.people.privacy import Shown
from services.domain.vocabulary import Role, Severity, Team
from tests.said import lasting

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def principal(role: Role, team: Team | None = None, grid_id: str | None = None) -> Principal:
    return Principal("u", "u", "u", role, team, "c", grid_id=grid_id)


def reader(role: Role, team: Team | None = None, grid_id: str | None = None) -> ReaderClass:
    return reader_class(principal(role, team, grid_id))


def a_client(limit: int = 1000) -> Client:
    return Client(Ticket(principal(Role.DESK), "t", NOW + timedelta(hours=1)), "c", limit)


def alert_row(**more: Any) -> dict[str, Any]:
    return {
        "id": uuid4(), "community_id": "c", "rule_id": "gas", "active_rules": ["gas"], "kind": "gas_alarm",
        "severity": "critical", "team": "patrol", "life_safety": True, "state": "firing", "title_zh": "燃气",
        "title_en": "Gas", "why_zh": "心率 140", "why_en": "heart rate 140", "place": "1号楼", "device_id": "d",
        "building_id": None, "onset_at": NOW, "fired_at": NOW, "last_at": NOW, "cleared_at": None, "occurrences": 1,
        "trigger": {"value": 140}, "correlation": "d@1", "order_id": None, "grid_id": "g1", "consents": 3, "held": [],
        "held_since": None, "released_at": None, "suppressed": False, "shadow": False, "group_key": None,
        "acknowledged_at": None, "acknowledged_by": None, **more,
    }  # fmt: skip


def order_row(**more: Any) -> dict[str, Any]:
    times = ("dispatched", "accepted", "arrived", "resolved", "verified", "closed", "paused")
    return {
        "id": uuid4(), "number": 1, "community_id": "c", "source": "alert", "alert_id": None, "parent_id": None,
        "device_no": 1, "device_id": "d", "building_id": None, "grid_id": "g1", "place_grid_id": "g1", "consents": 3,
        "kind": "gas_alarm",
        "severity": "critical", "title_zh": "燃气", "title_en": "Gas", "place": "1号楼", "x": 1.0, "y": 2.0,
        "team": "patrol",
        "assignee_id": None, "assignee": None, "state": "dispatched", "version": 2, "rung": 0, "returns": 0,
        "created_at": NOW, "resolved_by": None, "correlation": "d@1", "rule_id": None,
        **{f"{name}_at": None for name in times}, "dispatched_at": NOW,
        **{f"{name}_due": NOW + timedelta(minutes=1) for name in ("accept", "arrive", "resolve", "verify")},
        "terms": plain_terms(Severity.CRITICAL).as_detail(), "category": None, "external_id": None, "mode": "team",
        "offered": [], "forced": False, "reworks": 0, "urges": 0, "taken": [], "workers": [], "photos_before": 0,
        "photos_after": 0, "signatures": 0, "on_site": None, "pause_reason": None, "pause_until": None, "paused_s": 0.0,
        "merged_into": None, "rating": None, "call_back": None, "filed_at": NOW, "file_due": None, "accept_s": None,
        "arrive_s": None, "resolve_s": None, "verify_s": None, "ran_s": 0.0, "ran_before_s": 0.0, "ran_at": None,
        **more,
    }  # fmt: skip


def outbox(seq: int, type: str, **data: Any) -> OutboxRow:
    return OutboxRow(seq, type, "c", "s", data)


def parse(written: bytes) -> list[tuple[str, int, Any]]:
    found = []
    for block in written.decode().strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((lines["event"], int(lines["id"]), json.loads(lines["data"])))
    return found


def test_frame_has_name_cursor_and_one_line_of_data() -> None:
    written = frames.frame("alert", {"words": "两\n行", "at": NOW}, 7)
    assert written == 'event: alert\nid: 7\ndata: {"words":"两\\n行","at":"2026-11-22T08:00:00Z"}\n\n'.encode()
    assert frames.resync("slow") == b'event: resync\ndata: {"why":"slow"}\n\n'


async def test_client_joins_what_is_queued_in_order() -> None:
    client = a_client()
    client.put(b"one\n\n")
    client.put(b"two\n\n")
    assert await client.take() == b"one\n\ntwo\n\n"


async def test_client_too_slow_loses_its_queue_and_is_told_to_start_afresh() -> None:
    client = a_client(100)
    for _ in range(5):
        client.put(b"x" * 30)
    assert await client.take() == frames.resync("slow") + b"x" * 30


async def test_client_takes_one_frame_larger_than_its_limit() -> None:
    client = a_client(10)
    client.put(b"x" * 50)
    assert await client.take() == b"x" * 50


async def test_client_wakes_when_something_comes_and_when_it_ends() -> None:
    client = a_client()
    waiting = asyncio.create_task(client.take())
    await asyncio.sleep(0)
    client.put(b"now")
    assert await waiting == b"now"
    waiting = asyncio.create_task(client.take())
    await asyncio.sleep(0)
    client.end("session")
    assert await waiting is None
    client.put(b"late")
    assert await client.take() is None


def test_batch_keeps_the_last_row_of_each_thing_in_outbox_order() -> None:
    alert, order = alert_row(), order_row()
    rows = [
        outbox(1, "alert.raised", id=str(alert["id"])),
        outbox(2, "order.create", order_id=str(order["id"])),
        outbox(3, "order.dispatch", order_id=str(order["id"])),
        outbox(4, "alert.repeated", id=str(alert["id"])),
        outbox(5, "device.offline", device="d"),
    ]
    things: dict[tuple[str, UUID], Any] = {("alert", alert["id"]): alert, ("order", order["id"]): order}
    written = parse(Batch("c", rows, things).written_for(reader(Role.DESK)))
    assert [(name, seq) for name, seq, _ in written] == [("order", 3), ("alert", 4)]


def test_batch_leaves_out_rows_it_cannot_read_and_things_that_are_gone() -> None:
    alert = alert_row()
    rows = [outbox(1, "alert.raised", id="not a uuid"), outbox(2, "alert.raised", id=str(uuid4())), outbox(3, "x")]
    rows.append(outbox(4, "alert.raised", id=str(alert["id"])))
    written = parse(Batch("c", rows, {("alert", alert["id"]): alert}).written_for(reader(Role.DESK)))
    assert [seq for _, seq, _ in written] == [4]


def test_batch_writes_once_for_all_readers_of_a_class() -> None:
    order = order_row()
    events = Batch("c", [outbox(1, "order.create", order_id=str(order["id"]))], {("order", order["id"]): order})
    assert events.written_for(reader(Role.DESK)) is events.written_for(reader(Role.DESK))


def test_batch_gives_each_class_its_own_moves() -> None:
    order = order_row()
    events = Batch("c", [outbox(1, "order.create", order_id=str(order["id"]))], {("order", order["id"]): order})

    def moves(role: Role, team: Team | None = None) -> list[str]:
        found: list[str] = parse(events.written_for(reader(role, team)))[0][2]["moves"]
        return found

    assert "accept" in moves(Role.STAFF, Team.PATROL)
    assert moves(Role.STAFF, Team.CLEANING) == []
    assert "cancel" in moves(Role.DESK, Team.DESK)
    assert moves(Role.PLATFORM) == []


def test_order_names_its_running_clock() -> None:
    from services.api.answers.moves import actor_of_class

    desk = reader(Role.DESK)
    shown = shapes.order(order_row(), desk, actor_of_class(desk, "c"))
    assert (shown.due_for, shown.due) == ("accept", NOW + timedelta(minutes=1))
    ended = shapes.order(order_row(state="closed", closed_at=NOW), desk, actor_of_class(desk, "c"))
    assert (ended.due_for, ended.due) == (None, None)


def test_health_metrics_and_rules_come_from_the_catalogue() -> None:
    assert {"heart_rate", "systolic", "diastolic", "spo2"} <= HEALTH_METRICS["wristband"]
    assert any("heart" in rule or "hr" in rule for rule in HEALTH_RULES)


def test_health_alerts_tell_outsiders_nothing_of_the_person() -> None:
    rule = sorted(HEALTH_RULES)[0]
    row = alert_row(
        rule_id=rule, active_rules=[rule], kind="wristband", title_zh="心率过快", title_en="Heart rate high"
    )
    seeing = [reader(Role.DESK), reader(Role.ADMIN), reader(Role.GRID, Team.GRID, "g1")]
    blind = [reader(Role.STAFF, Team.PATROL), reader(Role.STREET), reader(Role.PLATFORM), reader(Role.GRID, None, "g2")]
    for allowed in seeing:
        assert shapes.alert(row, allowed).trigger == {"value": 140}
        assert shapes.alert(row, allowed).title.zh == "心率过快"
    for refused in blind:
        shown = lasting(shapes.alert(row, refused).model_dump_json())
        assert not any(word in shown for word in ("140", "心率", "eart", rule))


def test_health_is_hidden_while_any_rule_of_the_alert_is_about_it() -> None:
    row = alert_row(rule_id="wristband-sos", active_rules=["wristband-sos", sorted(HEALTH_RULES)[0]])
    assert shapes.alert(row, reader(Role.STAFF, Team.PATROL)).trigger == {}


def test_health_orders_are_titled_neutrally_for_outsiders() -> None:
    from services.api.answers.moves import actor_of_class

    row = order_row(rule_id=sorted(HEALTH_RULES)[0], title_zh="心率过快", title_en="Heart rate high")
    for role, seen in ((Role.DESK, True), (Role.STREET, False)):
        shown = shapes.order(row, reader(role), actor_of_class(reader(role), "c"))
        assert (shown.title.zh == "心率过快") == seen


def test_health_values_of_a_device_are_left_out_and_the_rest_stays() -> None:
    from services.domain.devices import BY_NAME

    kind = BY_NAME["wristband"]
    vals = [float(n) for n in range(len(kind.metrics))]
    assert set(shapes.values("wristband", vals, Shown.ALL)) == {metric.name for metric in kind.metrics}
    assert set(shapes.values("wristband", vals, Shown.NONE)) == {m.name for m in kind.metrics if not m.health}
    assert shapes.values("wristband", [None, 1.0], Shown.VITALS) == {kind.metrics[1].name: 1.0}
    assert shapes.values("unknown", [1.0], Shown.VITALS) == {}


def test_batch_hides_health_in_bytes_for_some_classes_of_the_same_batch() -> None:
    rule = sorted(HEALTH_RULES)[0]
    row = alert_row(rule_id=rule, active_rules=[rule])
    events = Batch("c", [outbox(1, "alert.raised", id=str(row["id"]))], {("alert", UUID(str(row["id"]))): row})
    desk, street = events.written_for(reader(Role.DESK)), events.written_for(reader(Role.STREET))
    assert "140" in lasting(desk.decode())
    assert "140" not in lasting(street.decode())
