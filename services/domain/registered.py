"""Devices and communities as the services hold them in memory: rows of the registry."""

from __future__ import annotations

from dataclasses import dataclass

from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device as the services hold it. `grid_id` is its own, else its building's."""

    device_no: DeviceNo
    id: DeviceId
    community_id: CommunityId
    partition: Partition
    kind: str
    gateway_no: DeviceNo | None
    building_id: str | None
    unit_id: str | None
    household_id: str | None
    grid_id: str | None
    person_tags: frozenset[str]
    """The tags of everybody in the device's household."""
    tags: frozenset[str]
    interval_s: int
    place: str
    x: float
    y: float
    floor: int | None
    name: str
    codec: str
    retired: bool
    person_id: str | None = None
    """Who wears or carries it."""


@dataclass(frozen=True, slots=True)
class CommunityRow:
    id: CommunityId
    name: str
    partition: Partition
    latitude: float
    longitude: float
    timezone: str
