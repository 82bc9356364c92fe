"""Identifiers, each a type of its own so that one cannot be passed for another."""

from __future__ import annotations

import zlib
from typing import NewType
from uuid import UUID, uuid5

CommunityId = NewType("CommunityId", str)
"""Slug of a community (社区), the tenant: `[a-z0-9][a-z0-9_-]{0,63}`."""

DeviceId = NewType("DeviceId", str)
"""Public id of a device, unique across communities; also its broker user name and its topic level."""

DeviceNo = NewType("DeviceNo", int)
"""The device's 4-byte key inside the database; never leaves it except in the log."""

AlertId = NewType("AlertId", UUID)
OrderId = NewType("OrderId", UUID)
PersonId = NewType("PersonId", str)
RuleId = NewType("RuleId", str)
Partition = NewType("Partition", int)

ID_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
PARTITIONS = 16
"""How many partitions communities hash to. Set once for a database: moving a community loses its log order."""

_ALERT_NAMESPACE = UUID("6f2f1a52-52a6-5a9b-9f0e-6c696e687562")


def partition_of(community: CommunityId, partitions: int = PARTITIONS) -> Partition:
    """The partition whose single owner ingests and evaluates this community."""
    return Partition(zlib.crc32(community.encode()) % partitions)


def alert_id(rule: RuleId, subject: str, onset_ms: int) -> AlertId:
    """Derived, not drawn: replaying the log arrives at the same alert, so it cannot be raised twice."""
    return AlertId(uuid5(_ALERT_NAMESPACE, f"{rule}|{subject}|{onset_ms}"))


def correlation_id(device: DeviceId, ts_ms: int) -> str:
    """Names one message from device to work order in every log line: `device@ts_ms`."""
    return f"{device}@{ts_ms}"
