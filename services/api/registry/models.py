"""The registry over the API: places, devices, sheets. Everything that is edited carries a `version`, its ETag."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.api.answers.models import LabelOut, Model
from services.domain.ids import ID_PATTERN
from services.domain.places import PlaceSort

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
Metres = Annotated[float, Field(ge=-10_000, le=10_000, allow_inf_nan=False)]
Size = Annotated[float, Field(ge=0.5, le=1_000, allow_inf_nan=False)]
Version = Annotated[int, Field(ge=1, le=2_000_000_000)]


class CountsOut(Model):
    compounds: int
    grids: int
    buildings: int
    units: int
    homes: int
    devices: int
    retired: int
    unplaced: int
    """Devices that nobody has placed on the plan yet: x and y are 0."""
    offline: int


class RegisteredCommunity(Model):
    """`households` and `residents` are the official figures; `counts` what stands in the registry."""

    id: str
    name: str
    city: str
    district: str
    street: str
    latitude: float
    longitude: float
    timezone: str
    households: int
    residents: int
    version: int
    plan_version: int
    counts: CountsOut


class CommunityIn(Model):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "hupan",
                    "name": "湖畔社区",
                    "city": "九江市",
                    "district": "浔阳区",
                    "street": "甘棠街道",
                    "latitude": 29.72,
                    "longitude": 115.99,
                }
            ]
        }
    )

    id: Id
    name: Name
    city: Name
    district: Name
    street: Name
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    timezone: Annotated[str, Field(max_length=64)] = "Asia/Shanghai"
    households: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    residents: Annotated[int, Field(ge=0, le=10_000_000)] = 0


class CommunityChange(Model):
    """What is left out stays."""

    name: Name | None = None
    latitude: Annotated[float | None, Field(ge=-90, le=90)] = None
    longitude: Annotated[float | None, Field(ge=-180, le=180)] = None
    timezone: Annotated[str | None, Field(max_length=64)] = None
    households: Annotated[int | None, Field(ge=0, le=1_000_000)] = None
    residents: Annotated[int | None, Field(ge=0, le=10_000_000)] = None


class PlaceOut(Model):
    """One of 小区, 网格, building, unit, household; what a sort has not is null. A household's name is its room.

    `buildings`, `units`, `households` and `devices` count what stands on it.
    """

    sort: PlaceSort
    id: str
    name: str
    compound_id: str | None
    grid_id: str | None
    building_id: str | None
    unit_id: str | None
    floors: int | None
    floor: int | None
    x: float | None
    y: float | None
    width: float | None
    depth: float | None
    version: int
    buildings: int
    units: int
    households: int
    devices: int


class PlacePage(Model):
    items: list[PlaceOut]
    next: str | None


class PlaceChange(Model):
    """What is left out stays; a field that the sort has not is refused."""

    name: Name | None = None
    compound_id: Id | None = None
    grid_id: Id | None = None
    building_id: Id | None = None
    unit_id: Id | None = None
    floors: Annotated[int | None, Field(ge=1, le=200)] = None
    floor: Annotated[int | None, Field(ge=-10, le=200)] = None
    x: Metres | None = None
    y: Metres | None = None
    width: Size | None = None
    depth: Size | None = None


class PlaceIn(PlaceChange):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sort": "building",
                    "id": "hupan-b1",
                    "name": "1号楼",
                    "compound_id": "hupan-c1",
                    "grid_id": "hupan-grid1",
                    "floors": 6,
                }
            ]
        }
    )

    sort: PlaceSort
    id: Id


class RegisteredDevice(Model):
    """`login`: whether it may log in at the broker. `person_id`: who wears it."""

    id: str
    community_id: str
    kind: str
    name: str
    place: str
    gateway_id: str | None
    building_id: str | None
    unit_id: str | None
    household_id: str | None
    person_id: str | None
    grid_id: str | None
    floor: int | None
    x: float
    y: float
    interval_s: int
    codec: str
    address: str | None
    profile: str | None
    tags: list[str]
    version: int
    login: Literal["admitted", "revoked", "retired", "behind_gateway", "no_secret"]
    secret_since: datetime | None
    online: bool
    last_seen_at: datetime | None
    created_at: datetime
    retired_at: datetime | None


class RegisteredDevicePage(Model):
    """`total` is of all pages, and only on the first."""

    items: list[RegisteredDevice]
    next: str | None
    total: int | None


class DeviceFields(BaseModel):
    """What people may say of a device. Empty text where something is named means: none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[str | None, Field(max_length=64)] = None
    name: Text | None = None
    place: Text | None = None
    gateway_id: Annotated[str | None, Field(max_length=64)] = None
    building_id: Annotated[str | None, Field(max_length=64)] = None
    unit_id: Annotated[str | None, Field(max_length=64)] = None
    household_id: Annotated[str | None, Field(max_length=64)] = None
    person_id: Annotated[str | None, Field(max_length=64)] = None
    grid_id: Annotated[str | None, Field(max_length=64)] = None
    floor: Annotated[int | None, Field(ge=-20, le=300)] = None
    x: Metres | None = None
    y: Metres | None = None
    interval_s: Annotated[int | None, Field(ge=1, le=366 * 86400)] = None
    codec: Annotated[str | None, Field(max_length=64)] = None
    address: Text | None = None
    profile: Annotated[str | None, Field(max_length=100)] = None
    tags: Annotated[list[Tag] | None, Field(max_length=32)] = None


class DeviceIn(DeviceFields):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "hupan-smoke-1", "kind": "smoke_detector", "place": "1号楼1单元门厅"}]}
    )

    id: Id
    kind: Annotated[str, Field(max_length=64)]


class DeviceChange(DeviceFields):
    """Only what is named changes; null takes a reference or a floor away."""


class DeviceChangeOf(DeviceFields):
    id: Id
    version: Version


class DeviceChanges(Model):
    items: Annotated[list[DeviceChangeOf], Field(min_length=1, max_length=2_000)]


class VersionOf(Model):
    id: str
    version: int


class DevicesChanged(Model):
    """`secrets`: of those that speak for themselves from now on."""

    changed: list[VersionOf]
    secrets: list[SecretOut]


class SecretOut(Model):
    """What an installer types into the device. It is shown here and nowhere else."""

    id: str
    name: str
    place: str
    secret: str


class DeviceMade(Model):
    """`secret` is null behind a gateway, and when the same Idempotency-Key is sent again: it was shown once."""

    device: RegisteredDevice
    secret: str | None


class CellFaultOut(Model):
    """`line` 0: of the file as a whole."""

    line: int
    column: str
    words: LabelOut


class WouldOut(Model):
    line: int
    id: str
    does: Literal["add", "change", "remove"]
    columns: list[str]


class ImportOut(Model):
    """What a sheet would do, checked but not done. `applicable`: nothing is wrong, and it does something.

    `rows` and `faults` show the first 500 each; the counts are of all.
    """

    id: UUID
    what: Literal["places", "devices"]
    encoding: str
    state: Literal["checked", "applied", "faulty"]
    lines: int
    added: int
    changed: int
    unchanged: int
    removed: int
    fault_count: int
    faults: list[CellFaultOut]
    rows: list[WouldOut]
    applicable: bool
    done: int = 0
    """Of `lines`, while it is being applied."""
    step: Literal["", "checking", "writing", "secrets", "committing"] = ""


class ImportApplied(Model):
    report: ImportOut
    secrets: list[SecretOut]
    """Shown once; the page offers them as a file."""


DevicesChanged.model_rebuild()
