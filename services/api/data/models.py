"""What the API says of readings over time, of facilities, of the public's data, and of a time past."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from services.api.answers.models import AlertOut, DeviceOut, KpiOut, LabelOut, Model, OrderOut, Point
from services.api.data.tile_models import AreaOut, EnvironmentTile

Aggregate = Literal["raw", "avg", "min", "max", "last", "sum", "consumption"]


class StatesOut(Model):
    """Latest states alone; history is never read for them."""

    at: datetime
    items: list[DeviceOut]


class ReadingsCurve(Model):
    device_id: str
    metric: str
    unit: str
    label: LabelOut
    points: list[Point]
    """A point without a value stands in every outage: no line is to be drawn over it."""
    whole: bool
    """False: there were more readings than are looked at in one call; ask for a shorter time."""


class ReadingsOut(Model):
    aggregate: Aggregate
    bucket_s: int | None
    curves: list[ReadingsCurve]


class FacilityHour(Model):
    ts_ms: int
    came: float
    left: float


class FacilityUse(Model):
    device_id: str
    name: str
    place: str
    rank: int
    """By who came in, 1 the most."""
    came: float
    before: float
    """Who came in the same time before this."""
    change: float | None = Field(examples=[0.12])
    """(came - before) ÷ before; None where nobody came before."""
    busiest_hour: int | None = Field(ge=0, le=23)
    """Of the local day, by visits over the whole time."""
    capacity: int | None
    hours: list[FacilityHour]


class FacilitiesOut(Model):
    """Use of facilities by counters at their doors. Counters are metered: a reset at night loses nobody."""

    start: datetime
    end: datetime
    bucket: Literal["hour", "day"]
    came: float
    before: float
    items: list[FacilityUse]


class PublicCommunity(Model):
    id: str
    name: str
    city: str
    district: str
    street: str


class PublicFacility(Model):
    name: str
    busy: Literal["quiet", "some", "busy", "full", "unknown"]
    """quiet < 30 % of capacity, some < 60 %, busy < 90 %. Numbers of people are not told."""


class PublicDataOut(Model):
    """What anybody may read of a community that has opened its data. Nothing of any household or of single spaces."""

    at: datetime
    community: PublicCommunity
    environment: EnvironmentTile
    parking_spaces: int
    parking_left: int
    parking: list[AreaOut]
    facilities: list[PublicFacility]


class OpenDataIn(Model):
    open_data: bool


class ReplayOut(Model):
    """The cockpit's picture of a past time, as it is known today: what came late stands where it belongs."""

    at: datetime
    kept_from: datetime | None
    """Readings before it are gone."""
    devices: list[DeviceOut]
    alerts: list[AlertOut]
    orders: list[OrderOut]
    kpis: list[KpiOut]


class Mark(Model):
    at: datetime
    what: Literal["alert", "order"]
    severity: str
    title: LabelOut
    id: str


class Density(Model):
    ts_ms: int
    alerts: int
    critical: int
    orders: int


class MarksOut(Model):
    """What to draw under a scrubber: how much began when, and the gravest by name."""

    start: datetime
    end: datetime
    bucket_s: int
    density: list[Density]
    marks: list[Mark]


class ReplayEvent(Model):
    at: datetime
    what: Literal["alert", "order", "device"]
    id: str
    state: str
    """Of an alert what befell it; of an order the state it came to; of a device online, offline or its event."""
    severity: str | None = None
    title: LabelOut | None = None


class ReplayEventsOut(Model):
    items: list[ReplayEvent]
    next: str | None
