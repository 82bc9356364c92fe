"""Words of city events: what data needs a grant, how an event is marked, by which way it leaves."""

from __future__ import annotations

from enum import StrEnum

from services.domain.vocabulary import Label


class DataClass(StrEnum):
    """What a subscription is granted by name; without a grant the fields of a class are left out."""

    TEXT = "text"
    """Titles and reasons in words. Of an alert about somebody's health they stay hidden all the same."""
    LOCATION = "location"
    """The place in words and the building: of what happens at home, that is somebody's address."""
    DEVICE = "device"
    """Which device it is."""
    HEALTH = "health"
    """What an alert about somebody's health says: only while that person consents, and each sending is audited."""


class EventMark(StrEnum):
    """The status of CAP 1.2: whether it is meant."""

    ACTUAL = "Actual"
    EXERCISE = "Exercise"
    TEST = "Test"


class Way(StrEnum):
    """How events leave. Whatever the way, the account may also pull them."""

    WEBHOOK = "webhook"
    PULL = "pull"
    MQTT = "mqtt"


class Format(StrEnum):
    """The two content modes of CloudEvents over HTTP."""

    STRUCTURED = "structured"
    BINARY = "binary"


class SubscriptionState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    """By a person."""
    DISABLED = "disabled"
    """By the system: the receiver said that it is gone."""


CLASS_LABELS: dict[DataClass, Label] = {
    DataClass.TEXT: Label("文字", "Words"),
    DataClass.LOCATION: Label("位置", "Location"),
    DataClass.DEVICE: Label("设备", "Device"),
    DataClass.HEALTH: Label("健康", "Health"),
}

_GRAVER = (EventMark.ACTUAL, EventMark.EXERCISE, EventMark.TEST)


def marked(*marks: EventMark) -> EventMark:
    """Of several marks the one that is furthest from being meant."""
    return max(marks, key=_GRAVER.index)
