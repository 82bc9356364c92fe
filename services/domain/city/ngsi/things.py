"""What entities are made of: a community, its devices with their latest values, its alerts. Nothing about health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from services.domain.vocabulary import Label, Severity


@dataclass(frozen=True, slots=True)
class Site:
    """A community. `latitude`, `longitude`: degrees WGS 84; every entity of it is located there, see `mapping`."""

    id: str
    name: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class DeviceThing:
    """A device that nobody wears. `values`: by metric, as its catalogue names them.

    `at_home`: it is of a home, so where it is, is somebody's address and what it measures is how they live.
    """

    id: str
    kind: str
    name: str
    place: str
    x: float
    y: float
    at_home: bool
    tags: frozenset[str]
    online: bool
    last_seen_at: datetime | None
    ts: datetime | None
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AlertThing:
    """An alert that is not about anybody's health. `device_id`: None too where it is a device that somebody wears."""

    id: str
    kind: str
    severity: Severity
    state: str
    team: str
    life_safety: bool
    title: Label
    why: Label
    place: str
    device_id: str | None
    onset_at: datetime
    fired_at: datetime
    last_at: datetime
    cleared_at: datetime | None
    occurrences: int
    case: Mapping[str, Any] | None = None
    """What city management calls it; see `municipal`."""


@dataclass(frozen=True, slots=True)
class ParkingThing:
    """All spaces of a community with a sensor, fire lanes apart; `known`: those whose sensor is heard."""

    spaces: int
    known: int
    free: int
    ts: datetime | None


Thing: TypeAlias = DeviceThing | AlertThing | ParkingThing
