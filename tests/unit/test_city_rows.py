"""Rows of the outbox as the code that causes them writes them, made into events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from jsonschema import Draft202012Validator

from services.adapters.orders.store import outgoing_of
from services.adapters.outbox import Outgoing
from services.alerts.store import alert_json
from services.domain.city import CityEvent, DataClass, EventMark, Filter, OutboxRow, make
from services.domain.city.schemas import envelope_schema
from services.domain.ids import AlertId, CommunityId, OrderId
from services.domain.orders import Draft, Source, fold
from services.domain.orders.order import created
from services.domain.vocabulary import Label, Severity, Team
from tests.said import lasting

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
ALERT = UUID("00000000-0000-0000-0000-000000000001")


def made(told: Outgoing, *granted: DataClass) -> CityEvent:
    """The event of what is put into the outbox, after its way through JSON."""
    row = OutboxRow(7, AT, told.type, told.community_id, told.subject, json.loads(json.dumps(told.document)))
    event = make(row, granted)
    Draft202012Validator(envelope_schema(event.kind)).validate(event.document())
    return event


def alert(rule_id: str, *active: str) -> Outgoing:
    row: dict[str, Any] = {
        "id": ALERT, "community_id": "test", "rule_id": rule_id, "active_rules": list(active or (rule_id,)),
        "kind": rule_id.partition(".")[0], "severity": "major", "team": "grid", "life_safety": False, "state": "firing",
        "title_zh": "标题 173", "title_en": "Title 173", "why_zh": "因为 173", "why_en": "Because 173", "place": "501",
        "building_id": "house-7", "onset_at": AT, "fired_at": AT, "last_at": AT, "cleared_at": None, "occurrences": 1,
        "held": [], "suppressed": [], "group_key": None, "trigger": {}, "correlation": "x@1",
    }  # fmt: skip
    return Outgoing("alert.raised", "test", str(ALERT), "x@1", alert_json(row, "test-device-1"))


def test_alert_of_the_engine_says_whether_it_is_about_health() -> None:
    plain = made(alert("gas_alarm.alarm"), *DataClass)
    assert plain.data["title"]["en"] == "Title 173" and plain.data["device_id"] == "test-device-1"
    for private in (alert("wristband.heart_rate_high"), alert("gas_alarm.alarm", "wristband.heart_rate_high")):
        event = made(private, *DataClass)
        assert "173" not in lasting(event.structured()[1].decode()), "one rule about health is enough, whichever speaks"
        assert event.data["rule_id"] == "health"


@pytest.mark.parametrize("granted", [(), tuple(DataClass)])
def test_order_says_what_subscribers_choose_by_and_nothing_of_where_or_what(granted: tuple[DataClass, ...]) -> None:
    draft = Draft(
        OrderId(uuid4()), CommunityId("test"), Source.ALERT, "gas_alarm", Severity.CRITICAL,
        Label("燃气泄漏", "Gas leak"), Team.MAINTENANCE, "x@1", place="3 号楼 501",
        alert_id=AlertId(ALERT), building_id="house-7",
    )  # fmt: skip
    entry = created(draft, AT, "system", "system")
    told = outgoing_of(fold([entry]), entry)
    event = made(told, *granted)
    assert (event.data["severity"], event.data["kind"], event.data["source"]) == ("critical", "gas_alarm", "alert")
    text = lasting(event.structured()[1].decode())
    assert "501" not in text and "燃气" not in text and "house-7" not in text
    assert Filter(severities=("critical",)).takes(told.data) and not Filter(severities=("minor",)).takes(told.data)


def test_mark_travels_with_the_row() -> None:
    data = {"report_id": "r", "order_id": "o"}
    assert "mark" not in Outgoing("report.urged", "test", "r", "", data).document
    assert made(Outgoing("report.urged", "test", "r", "", data, EventMark.EXERCISE)).mark is EventMark.EXERCISE
