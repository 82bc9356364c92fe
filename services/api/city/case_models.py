"""The shapes of cases: what a city platform opens here, how it goes, what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from services.api.answers.models import LabelOut, Model, Page
from services.domain.city.cases import Act, CaseState, System
from services.domain.evidence import Datum, EvidenceSort
from services.domain.vocabulary import Severity

_NO_CONTROLS = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
ExternalId = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120, pattern=_NO_CONTROLS)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=_NO_CONTROLS)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000, pattern=_NO_CONTROLS)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=_NO_CONTROLS)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]


class CaseIn(Model):
    """What a platform wants done. `external_id`: its own id, which makes the request safe to repeat. `category`: one of
    those that residents report by. `due_at`: its time limit. Names and numbers of callers are not asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "community_id": "yunling",
                    "external_id": "JJ20261122004711",
                    "system": "hotline",
                    "title": "3号楼楼道灯不亮",
                    "text": "市民反映晚上楼道无照明，请尽快处理",
                    "category": "street_lamp",
                    "severity": "minor",
                    "place": "3号楼2单元",
                    "latitude": 29.6998,
                    "longitude": 116.0003,
                    "datum": "gcj02",
                    "due_at": "2026-11-25T18:00:00+08:00",
                }
            ]
        }
    )

    community_id: Id
    external_id: ExternalId
    system: System
    title: Title
    title_en: Title | None = None
    text: Words | None = None
    category: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")] | None = None
    severity: Severity = Severity.MINOR
    place: Line = ""
    building_id: Id | None = None
    latitude: float | None = Field(default=None, ge=-90, le=90, allow_inf_nan=False)
    longitude: float | None = Field(default=None, ge=-180, le=180, allow_inf_nan=False)
    datum: Datum = Datum.WGS84
    due_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _whole(self) -> CaseIn:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("经纬度须同时给出 · latitude and longitude come together")
        if not self.place and self.building_id is None and self.latitude is None:
            raise ValueError("请给出地点 · say where: a place in words, a building, or a position")
        return self


class CaseOut(Model):
    """A case, whose id is that of its own order. `order_id`: of the order it is worked on in, whose events tell how it
    goes; another one where it `joined` that. `words`: the state as the platform's own system says it."""

    id: UUID
    order_id: UUID
    external_id: str
    system: System
    community_id: str
    number: int
    state: CaseState
    words: LabelOut
    over: bool
    joined: bool
    opened_at: datetime
    due_at: datetime | None
    late: bool
    withdrawn_at: datetime | None


class CasePage(Page):
    items: list[CaseOut]


class CaseStepOut(Model):
    state: CaseState
    words: LabelOut
    at: datetime
    reason: str | None


class ResultOut(Model):
    """`rating`: from 1 to 5, by whoever it was done for; `call_back`: what they said when they were asked."""

    note: str | None
    resolved_at: datetime
    rating: int | None
    call_back: str | None


class PhotoOut(Model):
    id: UUID
    taken_at: datetime | None
    uploaded_at: datetime
    granted_at: datetime
    url: str
    thumbnail: str | None


class ActOut(Model):
    name: Act
    label: LabelOut


class CaseDetailOut(CaseOut):
    """`located`: the position lies within the community, so that its plan shows it. `result`: of its own order alone;
    of an order that it joined only states are told, and photos that were given to it."""

    title: LabelOut
    place: str
    located: bool
    severity: Severity
    urges: int
    steps: list[CaseStepOut]
    result: ResultOut | None
    photos: list[PhotoOut]
    may: list[ActOut]


class CaseUrgeIn(Model):
    """`until`: by when it is wanted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "市民再次来电", "until": "2026-11-23T12:00:00+08:00"}]}
    )

    reason: Reason
    until: AwareDatetime | None = None


class CaseNoteIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "市民补充：二楼、三楼都不亮"}]})

    text: Words


class CaseWithdrawIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "市民来电撤诉"}]})

    reason: Reason


class HandedOut(Model):
    """What was kept of a file that was handed over; `original_sha256`: of the file as it was sent."""

    id: UUID
    sort: EvidenceSort
    bytes: int
    sha256: str
    original_sha256: str
    uploaded_at: datetime


class CasePhotoIn(Model):
    evidence_id: UUID


class DeskCaseOut(CaseOut):
    """A case as the community sees it: who opened it, in which words, how often they pressed for it, and which photos
    it was given."""

    account_id: str
    account: str
    title: LabelOut
    place: str
    severity: Severity
    urges: int
    photos: list[UUID]


class DeskCases(Model):
    items: list[DeskCaseOut]


class DeskCasePage(Page):
    items: list[DeskCaseOut]
