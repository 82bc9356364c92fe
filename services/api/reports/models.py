"""What is said about reports over the API: by whoever reports, and by the desk."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from services.api.answers.models import LabelOut, Model, Page
from services.domain.orders import OrderState
from services.domain.reports import CategorySort, Photo, Step
from services.domain.vocabulary import Severity, Team

MOST_PHOTOS = 6
Outcome = Literal["satisfied", "unsatisfied", "unreached"]
_NO_CONTROLS = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"


def _empty_is_none(given: object) -> object:
    """A form sends an empty field where nothing was filled in."""
    return None if isinstance(given, str) and not given.strip() else given


Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000, pattern=_NO_CONTROLS)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=_NO_CONTROLS)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=_NO_CONTROLS)]
Id = Annotated[str | None, BeforeValidator(_empty_is_none), Field(max_length=64)]
Metres = Annotated[float | None, BeforeValidator(_empty_is_none), Field(ge=-10_000, le=100_000, allow_inf_nan=False)]
Phone = Annotated[
    str | None, BeforeValidator(_empty_is_none), Field(max_length=32, pattern=r"^\+?[0-9][0-9 \-]{4,30}$")
]


class ReportIn(Model):
    """What somebody reports. A place is needed: words, a building, or a pin in metres on the community's plan."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"category": "rubbish", "text": "垃圾桶满了，味道很大", "place": "3号楼东侧"},
                {"category": "gas_smell", "building_id": "mudan-b3", "place": "3号楼2单元楼道"},
            ]
        }
    )

    category: str = Field(max_length=64)
    text: Words = ""
    place: Line = ""
    building_id: Id = None
    unit_id: Id = None
    household_id: Id = None
    """A resident's own home only; left out with a building of their own, it is not filled in."""
    at_home: bool = False
    """At the home of whoever is logged in: building, unit and household are filled in."""
    x: Metres = None
    y: Metres = None
    contact_name: Annotated[Line | None, BeforeValidator(_empty_is_none)] = None
    contact_phone: Phone = None
    """Shown to those who handle it alone, and forgotten some time after it was closed."""
    language: Literal["zh", "en"] = "zh"
    evidence_ids: list[UUID] = Field(default_factory=list, max_length=MOST_PHOTOS)
    """Sent before through `/communities/{id}/evidence` by the same account; or send photos along, as a form."""
    anonymous: bool = False
    """Not to be kept with the account although logged in; it is followed with the token then."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.x is None) != (self.y is None):
            raise ValueError("x and y belong together")
        if not (self.place or self.building_id or self.x is not None or self.at_home):
            raise ValueError("地点：请填写地点、楼栋或地图位置 · say where: in words, a building, or a pin")
        return self


class CategoryOut(Model):
    id: str
    sort: CategorySort
    title: LabelOut
    severity: Severity
    photo: Photo
    waits_for_desk: bool
    safety: LabelOut | None


class CategoriesOut(Model):
    items: list[CategoryOut]


class OpenedOut(Model):
    """`token`: told to whoever reports without an account, and never again; without it nobody can follow the report."""

    id: UUID
    number: int
    token: str | None
    joined: bool
    stage: Step
    words: LabelOut
    next: LabelOut
    safety: LabelOut | None
    photos: int
    photos_lost: int
    """Photos that could not be kept. The report stands without them."""
    photos_lost_why: list[str] = Field(default_factory=list)
    """Why, each reason once: the store is full or away; and of what is grave, what was wrong with them."""


class ReportStepOut(Model):
    step: Step
    at: datetime
    words: LabelOut
    reason: str | None = None


class MineOut(Model):
    id: UUID
    number: int
    category: str
    title: LabelOut
    text: str
    place: str
    created_at: datetime
    stage: Step
    words: LabelOut
    rating: int | None
    to_rate: bool


class MinePage(Page):
    items: list[MineOut]


class ReportOut(MineOut):
    """One's own report. `after_photos`, `own_photos`: ids for `/reports/{id}/photos/{photo_id}`."""

    building_id: str | None
    x: float | None
    y: float | None
    joined: bool
    withdrawn_at: datetime | None
    steps: list[ReportStepOut]
    notes: list[str]
    satisfied: bool | None
    rating_comment: str | None
    contact_name: str | None
    contact_phone: str | None
    own_photos: list[UUID]
    after_photos: list[UUID]
    may: list[Literal["rate", "urge", "withdraw", "add"]]


class RatingIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rating": 5, "comment": "很快，谢谢"}, {"rating": 1, "satisfied": False}]}
    )

    rating: int = Field(ge=1, le=5)
    comment: Annotated[Words | None, BeforeValidator(_empty_is_none)] = None
    satisfied: bool | None = None
    """Left out: a rating of 1 or 2 says no."""


class RatedOut(Model):
    rework: bool
    words: LabelOut


class InformationIn(Model):
    text: Annotated[Words, Field(min_length=1)]


class DoneOut(Model):
    words: LabelOut


class DeskReportOut(Model):
    """A report as those see it who work on it. Telephone numbers are masked for whoever does not handle it."""

    id: UUID
    number: int
    community_id: str
    category: str
    title: LabelOut
    text: str
    place: str
    building_id: str | None
    unit_id: str | None
    household_id: str | None
    x: float | None
    y: float | None
    anonymous: bool
    contact_name: str | None
    contact_phone: str | None
    language: str
    created_at: datetime
    joined: bool
    withdrawn_at: datetime | None
    urged_at: datetime | None
    rating: int | None
    satisfied: bool | None
    rating_comment: str | None
    rated_at: datetime | None
    call_back: Outcome | None
    call_back_note: str | None
    called_back_at: datetime | None
    notes: list[str]
    photos: list[UUID]
    order_id: UUID
    order_number: int
    order_state: OrderState
    order_version: int
    order_team: Team
    order_severity: Severity
    file_due: datetime | None


class DeskReportPage(Page):
    items: list[DeskReportOut]


class NearOut(Model):
    """An open order that may be about the same: of the same sort of trouble, near by, lately."""

    order_id: UUID
    number: int
    title: LabelOut
    place: str
    state: OrderState
    severity: Severity
    reported_at: datetime
    apart_m: float | None
    same: bool
    """It would have been joined by itself, were its state and gravity not against it."""


class NearbyOut(Model):
    items: list[NearOut]


class FileIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1, "team": "maintenance"}]})

    version: int = Field(ge=1)
    category: str | None = Field(default=None, max_length=64)
    severity: Severity | None = None
    team: Team | None = None


class RefuseIn(Model):
    """The reason is read by whoever reported it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"version": 1, "reason": "属市政道路，已转12345，请留意短信"}]}
    )

    version: int = Field(ge=1)
    reason: Reason


class JoinIn(Model):
    order_id: UUID


class UrgeIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"version": 4, "reason": "居民多次反映", "until": "2026-11-22T18:00:00+08:00"}]}
    )

    version: int = Field(ge=1)
    reason: Reason
    until: datetime | None = None


class CallBackIn(Model):
    """`report_ids`: who was asked; none: all whose reports are worked on in the order."""

    version: int = Field(ge=1)
    outcome: Outcome
    note: Annotated[Words | None, BeforeValidator(_empty_is_none)] = None
    report_ids: list[UUID] = Field(default_factory=list, max_length=100)


class AwaitingOut(Model):
    order_id: UUID
    number: int
    title: LabelOut
    place: str
    state: OrderState
    version: int
    severity: Severity
    resolved_at: datetime
    closed_at: datetime | None
    rating: int | None
    call_back: Outcome | None
    reworks: int
    reports: int
    complained: bool


class AwaitingPage(Page):
    items: list[AwaitingOut]


class FalseAlarmsOut(Model):
    """`share`: false alarms in orders that ended, either way; none where none has ended."""

    device_id: str | None
    alerts: int
    orders: int
    ended: int
    false_alarms: int
    share: float | None


class RuleStatisticsOut(Model):
    rule_id: str
    days: int
    whole: FalseAlarmsOut
    devices: list[FalseAlarmsOut]
