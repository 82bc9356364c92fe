"""What devices say, once decoded, and what becomes of it.

Topics: `sc/{community}/{device}/up/{telemetry|event|status|reply}` and `…/down/{ack|command|config}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.domain.ids import CommunityId, DeviceId


class Lane(StrEnum):
    """Events never wait behind bulk telemetry."""

    EVENT = "event"
    TELEMETRY = "telemetry"

    @property
    def number(self) -> int:
        return 0 if self is Lane.EVENT else 1


class Reason(StrEnum):
    """Why a message, or one value of it, was put in quarantine."""

    BAD_TOPIC = "bad_topic"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    UNKNOWN_DEVICE = "unknown_device"
    WRONG_COMMUNITY = "wrong_community"
    NOT_YOUR_DEVICE = "not_your_device"
    """A gateway spoke for a device that is not behind it."""
    FUTURE = "future_timestamp"
    TOO_OLD = "too_old"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_METRIC = "unknown_metric"
    OUT_OF_RANGE = "out_of_range"
    CONFLICT = "conflict"
    """The same device, metric and time were stored before with another value; the first stands."""
    FLOOD = "flood"
    """One device sent more than its share; the rest of it was not read, so that its neighbours are not hurt."""


FUTURE_LIMIT_MS = 5 * 60 * 1000
LATE_LIMIT_MS = 7 * 24 * 3600 * 1000
MAX_PAYLOAD_BYTES = 256 * 1024

AT_ARRIVAL_MS = -1
"""As a part's time: its format carries none. −1 − n stands for n ms before the message arrived."""
NO_SESSION = -1
"""As a status's session: its format numbers none; ingest derives one from what it knows of the device."""


@dataclass(frozen=True, slots=True)
class Topic:
    """An upward topic, taken apart.

    `tail` is what follows the channel: foreign formats keep levels of their own there (`…/up/telemetry/tele/SENSOR`).
    """

    community: CommunityId
    device: DeviceId
    channel: str
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One decoded set of values of one device at one time; raw as sent, not yet checked against its kind.

    `device` is a device id, or the address a foreign format calls it by (meter number, DevEUI, friendly name): the
    registry knows which device of the publisher has that address.
    """

    device: DeviceId
    ts_ms: int
    values: Mapping[str, Any]
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """One decoded event of one device. `data` is as sent (clip, photo, floor, zone …)."""

    device: DeviceId
    ts_ms: int
    event: str
    data: Mapping[str, Any]
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class StatusChange:
    """Online, or the last will's offline. `session` grows with each connection, so order is certain."""

    device: DeviceId
    ts_ms: int
    online: bool
    session: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A device's answer to a command. Not `done`: it has it and is at work; another answer follows."""

    device: DeviceId
    ts_ms: int
    command_id: str
    ok: bool
    detail: str = ""
    done: bool = True


Message = Telemetry | DeviceEvent | StatusChange | Reply


@dataclass(frozen=True, slots=True)
class Rejected:
    """A payload, or a part of one, that cannot be used, and why, in words a technician understands."""

    reason: Reason
    detail: str
    device: DeviceId | None = None
    message_id: str | None = None
