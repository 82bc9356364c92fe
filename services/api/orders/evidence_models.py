"""Shapes of evidence, of place codes, and of what shows that somebody has arrived."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.api.answers.models import Model, Page
from services.domain.evidence import Datum, EvidenceSort, Phase

Metres = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]


class ArrivalPositionIn(Model):
    """Where the phone believes to be: degrees (say in which datum), or metres on the plan."""

    latitude: float | None = Field(default=None, ge=-90, le=90, allow_inf_nan=False)
    longitude: float | None = Field(default=None, ge=-180, le=180, allow_inf_nan=False)
    datum: Datum = Datum.WGS84
    x: Metres | None = None
    y: Metres | None = None
    accuracy_m: float = Field(ge=0, le=1_000_000, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_of_two(self) -> ArrivalPositionIn:
        degrees = self.latitude is not None and self.longitude is not None
        plan = self.x is not None and self.y is not None
        if degrees == plan:
            raise ValueError("give latitude and longitude, or x and y")
        return self


class EvidenceOut(Model):
    """`claimed`: what the file or its sender says and nobody checked (time, position). A removed one keeps its row."""

    id: UUID
    community_id: str
    order_id: UUID | None
    alert_id: UUID | None
    report_id: UUID | None
    sort: EvidenceSort
    phase: Phase
    sha256: str
    original_sha256: str
    media_type: str
    bytes: int
    width: int | None
    height: int | None
    duration_s: float | None
    taken_at: datetime | None
    claimed: list[str]
    uploaded_at: datetime
    uploader: str
    uploader_role: str
    place: str
    x: float | None
    y: float | None
    latitude: float | None
    longitude: float | None
    url: str | None
    thumbnail: str | None
    removed_at: datetime | None
    removed_why: str | None


class EvidencePage(Page):
    items: list[EvidenceOut]


class ReferenceOut(Model):
    """A picture that a device's event names. It lies with the device or its maker and is not fetched from here."""

    name: str
    reference: str
    at: datetime


class AlertEvidenceOut(Model):
    items: list[EvidenceOut]
    references: list[ReferenceOut]


class RemoveIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"why": "拍到无关人员面部"}]})

    why: str = Field(min_length=2, max_length=500)


class LinkIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"order_id": "6f1c7a52-6f0e-4f41-9f3b-0f4c8d1f3b11"}]})

    order_id: UUID


class PlaceCodeIn(Model):
    """At a building (its middle, unless x and y say where), at one of its units, or anywhere on the plan."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"building_id": "gy-b3"}, {"place": "3号配电房", "x": 120.5, "y": 44.0}],
        }
    )

    building_id: str | None = Field(default=None, max_length=64)
    unit_id: str | None = Field(default=None, max_length=64)
    place: str | None = Field(default=None, min_length=1, max_length=60)
    x: Metres | None = None
    y: Metres | None = None


class PlaceCodeOut(Model):
    """`code` is what the label shows; None of one that is void."""

    id: UUID
    community_id: str
    building_id: str | None
    unit_id: str | None
    place: str
    x: float
    y: float
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    replaced_by: UUID | None
    code: str | None


class PlaceCodePage(Page):
    items: list[PlaceCodeOut]


class UploadFields(BaseModel):
    """The form beside the file; all of it is a claim of the sender."""

    model_config = ConfigDict(extra="forbid")

    taken_at: datetime | None = None
    place: str = Field(default="", max_length=200)
    latitude: float | None = Field(default=None, ge=-90, le=90, allow_inf_nan=False)
    longitude: float | None = Field(default=None, ge=-180, le=180, allow_inf_nan=False)
    datum: Datum = Datum.WGS84
    x: Metres | None = None
    y: Metres | None = None
