"""CAP 1.2 messages: elements, their order and their values as OASIS states them, and nothing that was not granted."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring

from services.domain.city import DataClass, EventMark
from services.domain.city.cap import NAMESPACE, cap, has_message, message_of
from services.domain.city.ngsi import AlertThing, Site
from services.domain.devices import BY_NAME
from services.domain.vocabulary import Label, Severity
from tests.said import lasting

SITE = Site("test", "测试社区 <东> & 西", 29.7, 116.0)
AT = datetime(2026, 11, 22, 8, 0, 0, 250_000, tzinfo=UTC)
ALERT = AlertThing(
    id="6f1c8a52-0d0f-4b0e-9d5c-0f6f0a1f2a3b", kind="gas_alarm", severity=Severity.CRITICAL, state="firing",
    team="maintenance", life_safety=True, title=Label("燃气泄漏", "Gas leak"), why=Label("浓度 12 %LEL", "12 %LEL"),
    place="3 号楼 2 单元 501", device_id="test-gas_alarm-1", onset_at=AT - timedelta(seconds=5), fired_at=AT,
    last_at=AT, cleared_at=None, occurrences=1,
)  # fmt: skip
OVER = replace(ALERT, state="cleared", last_at=AT + timedelta(minutes=3), cleared_at=AT + timedelta(minutes=9))
EVERYTHING = frozenset(DataClass)
GRANTS = [frozenset(some) for size in range(5) for some in combinations(DataClass, size)]

# OASIS CAP 1.2, 3.2: (element, at least, at most); None: as many as there are.
ALERT_ORDER: list[tuple[str, int, int | None]] = [
    ("identifier", 1, 1), ("sender", 1, 1), ("sent", 1, 1), ("status", 1, 1), ("msgType", 1, 1), ("source", 0, 1),
    ("scope", 1, 1), ("restriction", 0, 1), ("addresses", 0, 1), ("code", 0, None), ("note", 0, 1),
    ("references", 0, 1), ("incidents", 0, 1), ("info", 0, None),
]  # fmt: skip
INFO_ORDER: list[tuple[str, int, int | None]] = [
    ("language", 0, 1), ("category", 1, None), ("event", 1, 1), ("responseType", 0, None), ("urgency", 1, 1),
    ("severity", 1, 1), ("certainty", 1, 1), ("audience", 0, 1), ("eventCode", 0, None), ("effective", 0, 1),
    ("onset", 0, 1), ("expires", 0, 1), ("senderName", 0, 1), ("headline", 0, 1), ("description", 0, 1),
    ("instruction", 0, 1), ("web", 0, 1), ("contact", 0, 1), ("parameter", 0, None), ("resource", 0, None),
    ("area", 0, None),
]  # fmt: skip
AREA_ORDER: list[tuple[str, int, int | None]] = [
    ("areaDesc", 1, 1), ("polygon", 0, None), ("circle", 0, None), ("geocode", 0, None), ("altitude", 0, 1),
    ("ceiling", 0, 1),
]  # fmt: skip
NAMED: list[tuple[str, int, int | None]] = [("valueName", 1, 1), ("value", 1, 1)]
VALUES = {
    "status": {"Actual", "Exercise", "System", "Test", "Draft"},
    "msgType": {"Alert", "Update", "Cancel", "Ack", "Error"},
    "scope": {"Public", "Restricted", "Private"},
    "category": {"Geo", "Met", "Safety", "Security", "Rescue", "Fire", "Health", "Env", "Transport", "Infra", "CBRNE",
                 "Other"},
    "urgency": {"Immediate", "Expected", "Future", "Past", "Unknown"},
    "severity": {"Extreme", "Severe", "Moderate", "Minor", "Unknown"},
    "certainty": {"Observed", "Likely", "Possible", "Unlikely", "Unknown"},
}  # fmt: skip
TIMES = {"sent", "effective", "onset", "expires"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d")
NO_IDENTIFIER = re.compile(r"[\s,<&]")


def _name(element: Any) -> str:
    assert element.tag.startswith(f"{{{NAMESPACE}}}"), element.tag
    return str(element.tag.removeprefix(f"{{{NAMESPACE}}}"))


def _structure(element: Any, order: list[tuple[str, int, int | None]]) -> None:
    names = [_name(one) for one in element]
    places = [name for name, _, _ in order]
    assert [places.index(name) for name in names] == sorted(places.index(name) for name in names), names
    for name, least, most in order:
        assert least <= names.count(name) <= (most if most is not None else len(names)), name
    for one in element:
        name, text = _name(one), one.text or ""
        inner = {"info": INFO_ORDER, "area": AREA_ORDER, "eventCode": NAMED, "parameter": NAMED}.get(name)
        if inner is not None:
            _structure(one, inner)
        else:
            assert text.strip(), name
            assert name not in VALUES or text in VALUES[name], (name, text)
            assert name not in TIMES or TIME.fullmatch(text), (name, text)
            assert name not in ("identifier", "sender") or not NO_IDENTIFIER.search(text)


def _read(body: bytes) -> Any:
    """Raises AssertionError for what is no message."""
    root = fromstring(body)
    assert _name(root) == "alert"
    _structure(root, ALERT_ORDER)
    texts = {_name(one): one.text for one in root}
    assert (texts["scope"] == "Restricted") == ("restriction" in texts)
    if texts["msgType"] != "Alert":
        [sender, identifier, sent] = texts["references"].split(",")
        assert sender == texts["sender"] and identifier != texts["identifier"] and TIME.fullmatch(sent)
    return root


def _said(body: bytes) -> dict[str, str]:
    """Texts by element; of both languages the first."""
    found: dict[str, str] = {}
    for one in _read(body).iter():
        found.setdefault(_name(one), one.text or "")
    return found


def test_cap_every_alert_makes_a_message_of_the_standard() -> None:
    count = 0
    for kind in BY_NAME:
        for state in ("firing", "recovering"):
            for alert in (ALERT, OVER, replace(ALERT, last_at=AT + timedelta(minutes=1), state=state)):
                for granted in (GRANTS[0], EVERYTHING):
                    for status in EventMark:
                        _read(cap(SITE, replace(alert, kind=kind), granted, status=status, host="linhub.example.cn"))
                        count += 1
    assert count == len(BY_NAME) * 36


def test_cap_says_what_it_is_in_both_languages() -> None:
    body = cap(SITE, ALERT, EVERYTHING, status=EventMark.ACTUAL, host="linhub.example.cn")
    said = _said(body)
    assert said["sender"] == "test@linhub.example.cn" and said["sent"] == "2026-11-22T08:00:00-00:00"
    assert (said["status"], said["msgType"], said["scope"]) == ("Actual", "Alert", "Restricted")
    assert (said["urgency"], said["severity"], said["certainty"]) == ("Immediate", "Extreme", "Observed")
    space = {"c": NAMESPACE}
    infos = _read(body).findall("c:info", space)
    assert [one.find("c:language", space).text for one in infos] == ["zh-CN", "en-US"]
    assert [one.find("c:event", space).text for one in infos] == ["燃气报警器告警", "Gas alarm alert"]
    assert [one.find("c:headline", space).text for one in infos] == ["燃气泄漏", "Gas leak"]
    assert said["areaDesc"] == "测试社区 <东> & 西 3 号楼 2 单元 501" and said["circle"] == "29.700000,116.000000 0"
    assert body == cap(SITE, ALERT, EVERYTHING, status=EventMark.ACTUAL, host="linhub.example.cn")


@pytest.mark.parametrize("status", list(EventMark))
def test_cap_carries_whether_it_is_meant(status: EventMark) -> None:
    assert _said(cap(SITE, ALERT, (), status=status))["status"] == status.value


def test_cap_follows_its_alert_and_names_the_first_message() -> None:
    again = replace(ALERT, last_at=AT + timedelta(minutes=1))
    kinds = [_said(cap(SITE, one, (), status=EventMark.ACTUAL)) for one in (ALERT, again, OVER)]
    assert [one["msgType"] for one in kinds] == ["Alert", "Update", "Cancel"]
    assert len({one["identifier"] for one in kinds}) == 3 and len({one["incidents"] for one in kinds}) == 1
    first = f"{kinds[0]['sender']},{kinds[0]['identifier']},{kinds[0]['sent']}"
    assert kinds[1]["references"] == kinds[2]["references"] == first
    assert kinds[2]["urgency"] == "Past" and kinds[2]["expires"] == kinds[2]["sent"]
    assert message_of(again) != message_of(replace(again, last_at=AT + timedelta(minutes=2)))


def test_cap_holds_words_and_place_only_where_they_are_granted() -> None:
    for granted in GRANTS:
        text = cap(SITE, ALERT, granted, status=EventMark.ACTUAL).decode()
        assert ("501" in lasting(text)) is (DataClass.LOCATION in granted)
        assert ("燃气泄漏" in text) is ("Gas leak" in text) is ("12 %LEL" in text) is (DataClass.TEXT in granted)
        assert "test-gas_alarm-1" not in text


def test_cap_text_that_xml_cannot_hold_is_left_out() -> None:
    odd = replace(ALERT, title=Label("漏\x00\x0b气\ud800<b>", "]]>&\uffff x"), place="\x1b[31m东")
    said = _said(cap(SITE, odd, EVERYTHING, status=EventMark.TEST))
    assert said["headline"] == "漏气<b>" and said["areaDesc"].endswith("[31m东")


def test_cap_is_for_critical_alerts() -> None:
    assert [has_message(replace(ALERT, severity=one)) for one in Severity] == [False, False, False, True]
