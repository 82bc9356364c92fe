"""A critical alert as a message of the Common Alerting Protocol (OASIS CAP 1.2), in Chinese and in English."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from services.domain.city.ngsi.things import AlertThing, Site
from services.domain.city.vocabulary import DataClass, EventMark
from services.domain.devices import BY_NAME
from services.domain.vocabulary import Label, Severity

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
MEDIA_TYPE = "application/cap+xml"
KIND_CODE, STATE_CODE, TEAM_CODE = "urn:linhub:alert:kind", "urn:linhub:alert:state", "urn:linhub:alert:team"
RESTRICTION = "仅供获授权的城市平台使用 · for the city platform that it was granted to"
ALARM = Label("告警", "alert")

SEVERITY: Mapping[Severity, str] = {
    Severity.INFO: "Minor",
    Severity.MINOR: "Moderate",
    Severity.MAJOR: "Severe",
    Severity.CRITICAL: "Extreme",
}
_CATEGORY: Mapping[str, str] = {
    "smoke_detector": "Fire",
    "bin": "Fire",
    "ebike_camera": "Fire",
    "charger": "Fire",
    "perimeter_camera": "Security",
    "gate": "Security",
    "door_magnet": "Security",
    "environment": "Env",
    "manhole": "Infra",
    "tunnel_sensor": "Infra",
    "water_meter": "Infra",
    "electricity_meter": "Infra",
    "gas_meter": "Infra",
}
MessageType = Literal["Alert", "Update", "Cancel"]


@dataclass(frozen=True, slots=True)
class Message:
    """Which message it is of its alert: the first, a newer one of the same, or that it is over."""

    type: MessageType
    sent: datetime
    identifier: str


def has_message(alert: AlertThing) -> bool:
    return alert.severity is Severity.CRITICAL


def message_of(alert: AlertThing) -> Message:
    """The newest. The same alert as it stands makes the same message, so whoever has it already knows it again."""
    if alert.cleared_at is not None:
        return Message("Cancel", alert.cleared_at, f"{alert.id}.over")
    if alert.last_at > alert.fired_at:
        return Message("Update", alert.last_at, f"{alert.id}.{int(alert.last_at.timestamp() * 1000)}")
    return _first(alert)


def _first(alert: AlertThing) -> Message:
    return Message("Alert", alert.fired_at, f"{alert.id}.first")


def sender_of(site: Site, host: str) -> str:
    """`host`: where this system is reached; '' where nobody said. CAP wants it unique, without space, comma, < or &."""
    return f"{site.id}@{host or 'linhub'}"


def cap(site: Site, alert: AlertThing, granted: Collection[DataClass], *, status: EventMark, host: str = "") -> bytes:
    """UTF-8. Elements in the order of the schema of CAP 1.2; words and place only where they are granted."""
    newest, first = message_of(alert), _first(alert)
    sender = sender_of(site, host)
    root = Element("alert", xmlns=NAMESPACE)
    _add(root, "identifier", newest.identifier)
    _add(root, "sender", sender)
    _add(root, "sent", _time(newest.sent))
    _add(root, "status", status.value)
    _add(root, "msgType", newest.type)
    _add(root, "scope", "Restricted")
    _add(root, "restriction", RESTRICTION)
    if newest.type != "Alert":
        _add(root, "references", f"{sender},{first.identifier},{_time(first.sent)}")
    _add(root, "incidents", alert.id)
    for language in ("zh-CN", "en-US"):
        _info(root, language, site, alert, granted)
    written: str = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{written}'.encode()


def _info(root: Element, language: str, site: Site, alert: AlertThing, granted: Collection[DataClass]) -> None:
    def words(label: Label) -> str:
        return label.zh if language == "zh-CN" else label.en

    kind = BY_NAME.get(alert.kind)
    info = SubElement(root, "info")
    _add(info, "language", language)
    _add(info, "category", _CATEGORY.get(alert.kind, "Safety"))
    about = [words(kind.label)] if kind is not None else []
    _add(info, "event", ("" if language == "zh-CN" else " ").join([*about, words(ALARM)]))
    over = alert.cleared_at is not None
    _add(info, "urgency", "Past" if over else "Expected" if alert.state == "recovering" else "Immediate")
    _add(info, "severity", SEVERITY[alert.severity])
    _add(info, "certainty", "Observed")
    _named(info, "eventCode", KIND_CODE, alert.kind)
    if alert.case is not None and alert.case["minor"] is not None:
        code = f"{alert.case['sort']} {alert.case['major']}{alert.case['minor']}"
        _named(info, "eventCode", f"{alert.case['standard']} ({alert.case['state']})", code)
    _add(info, "effective", _time(alert.fired_at))
    _add(info, "onset", _time(alert.onset_at))
    if alert.cleared_at is not None:
        _add(info, "expires", _time(alert.cleared_at))
    _add(info, "senderName", site.name)
    if DataClass.TEXT in granted:
        _add(info, "headline", words(alert.title))
        _add(info, "description", words(alert.why))
    _named(info, "parameter", STATE_CODE, alert.state)
    _named(info, "parameter", TEAM_CODE, alert.team)
    area = SubElement(info, "area")
    _add(area, "areaDesc", f"{site.name} {alert.place}" if DataClass.LOCATION in granted else site.name)
    _add(area, "circle", f"{site.latitude:.6f},{site.longitude:.6f} 0")


def _add(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = _written(text)


def _named(parent: Element, name: str, code: str, value: str) -> None:
    one = SubElement(parent, name)
    _add(one, "valueName", code)
    _add(one, "value", value)


def _time(at: datetime) -> str:
    """CAP 1.2, 3.3.2: with an offset, UTC as -00:00, never as Z; whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S-00:00")


def _written(text: str) -> str:
    """Without what XML 1.0 cannot hold, which a name that somebody typed may have in it."""
    return "".join(
        one
        for one in text
        if one in "\t\n\r" or "\x20" <= one <= "\ud7ff" or "\ue000" <= one <= "\ufffd" or one >= "\U00010000"
    )
