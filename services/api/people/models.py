"""What the API takes and answers about people: rows of the registry, consents, emergency access, erasing, retention."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, field_validator

from services.api.answers.models import LabelOut, Model, Page
from services.domain.people.privacy import ConsentTo, Purpose
from services.domain.people.tags import BY_NAME

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Phone = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^\+?[0-9][0-9 -]{4,30}$")]
PersonKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Place = Annotated[str, StringConstraints(max_length=128)]
Why = Annotated[str, StringConstraints(strip_whitespace=True, min_length=4, max_length=500)]
AgeBand = Literal["0-5", "6-17", "18-59", "60-69", "70-79", "80-89", "90+"]


class TagOut(Model):
    name: str
    label: LabelOut
    group: str
    group_label: LabelOut
    sensitive: bool
    people: int
    """How many in the community."""


class PersonOut(Model):
    """One person. Masked unless `revealed`: name 王**, telephone 138****1234, the building without the room, no tags
    that say something of health or hardship."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "gongyuan-p12",
                    "community_id": "gongyuan",
                    "version": 3,
                    "revealed": False,
                    "name": "王**",
                    "phone": "138****1234",
                    "birth_year": 1941,
                    "tags": ["elder", "elder_living_alone"],
                    "household_id": None,
                    "building_id": "gongyuan-b3",
                    "building": "3号楼",
                    "unit": None,
                    "room": None,
                    "grid_id": "gongyuan-grid1",
                    "away_until": None,
                    "moved_out_at": None,
                    "account": False,
                    "guardian": False,
                    "account_id": None,
                    "guardian_id": None,
                }
            ]
        }
    )

    id: str
    community_id: str
    version: int
    revealed: bool
    name: str
    phone: str | None
    birth_year: int | None
    tags: list[str]
    household_id: str | None
    building_id: str | None
    building: str | None
    unit: str | None
    room: str | None
    grid_id: str | None
    away_until: datetime | None
    moved_out_at: datetime | None
    account: bool
    guardian: bool
    account_id: str | None
    """Whose account the person is, and `guardian_id` their guardian's: where tags are whole, for a change says all."""
    guardian_id: str | None
    account_name: str | None = None
    """Their names as accounts, `guardian_name` as well: of one person alone, and where the ids are."""
    guardian_name: str | None = None


class PersonPage(Page):
    items: list[PersonOut]


class PeopleSearchIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"words": "王秀英", "limit": 100}]})

    words: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)] | None = Field(
        default=None, description="姓名（部分即可）、编号或完整手机号 · part of the name, the id, or the whole number"
    )
    tags: list[str] = Field(default=[], max_length=20, description="须全部具备 · all of these")
    building_id: Place | None = None
    grid_id: Place | None = None
    household_id: Place | None = None
    age: AgeBand | None = Field(default=None, description="年龄段 · by year of birth")
    alone: bool = Field(default=False, description="只看独居 · only who lives alone")
    moved_out: bool = Field(default=False, description="已迁出 · who has moved out, instead")
    cursor: str | None = Field(default=None, max_length=512, description="`next` of the page before")
    limit: int = Field(default=100, ge=1, le=500)


class PersonIn(Model):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "王秀英",
                    "phone": "13800001234",
                    "birth_year": 1941,
                    "household_id": "gongyuan-h17",
                    "tags": ["elder", "elder_living_alone"],
                }
            ]
        }
    )

    name: Name
    phone: Phone | None = None
    birth_year: int | None = Field(default=None, ge=1880, le=2200)
    household_id: Place | None = Field(default=None, description="null：无住所 · none")
    tags: list[str] = Field(default=[], max_length=len(BY_NAME), description="标签目录中的 · of the catalogue")
    account_id: Place | None = Field(default=None, description="本人账号 · whose account the person is")
    guardian_id: Place | None = Field(default=None, description="监护人账号 · the account of their guardian")

    @field_validator("tags")
    @classmethod
    def _known(cls, tags: list[str]) -> list[str]:
        if unknown := sorted(set(tags) - set(BY_NAME)):
            raise ValueError(f"目录中没有标签 {unknown[0]} · there is no tag {unknown[0]}")
        return sorted(set(tags))


class NewPersonIn(PersonIn):
    id: PersonKey | None = Field(default=None, description="不给则生成 · made where it is not given")


class RevealIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"purpose": "visit"}]})

    purpose: Purpose


class MoveOutIn(Model):
    """A reason of a list: the audit keeps it for ever, so it holds no words about anybody."""

    reason: Literal["moved", "deceased", "care_home", "other"] = "moved"


class FaultLineOut(Model):
    line: int
    column: str | None
    words: LabelOut


class PeopleImportOut(Model):
    """`dry_run`: nothing was written. Where there are faults, nothing is ever written."""

    dry_run: bool
    encoding: str
    lines: int
    added: int
    changed: int
    unchanged: int
    faults: list[FaultLineOut]
    more_faults: int


class ConsentIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"what": "vitals", "given_by": "self", "how": "paper", "until": None}]}
    )

    what: ConsentTo
    given_by: Literal["self", "guardian"] = "self"
    giver: str = Field(default="", max_length=64, description="监护人姓名 · the guardian's name")
    how: Literal["paper", "app"]
    from_: AwareDatetime | None = Field(default=None, alias="from", description="默认现在 · now by default")
    until: AwareDatetime | None = None
    note: str = Field(default="", max_length=200)


class ConsentOut(Model):
    id: UUID
    person_id: str
    what: ConsentTo
    label: LabelOut
    given_by: Literal["self", "guardian"]
    giver: str
    how: Literal["paper", "app"]
    starts_at: datetime
    ends_at: datetime | None
    note: str
    recorded_by: str
    recorded_name: str
    recorded_at: datetime
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawn_name: str | None
    valid: bool


class EmergencyIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"reason": "跌倒告警后无人应答，需查看心率", "minutes": 30}]}
    )

    reason: Why
    minutes: int = Field(default=60, ge=5, le=240)


class EmergencyOut(Model):
    id: UUID
    person_id: str
    account_id: str
    account: str
    account_role: str
    reason: str
    at: datetime
    until: datetime


class EmergencyPage(Page):
    items: list[EmergencyOut]


class HealthReadOut(Model):
    """Somebody looked at this person's health data."""

    at: datetime
    by: str
    role: str
    purpose: str
    label: LabelOut
    what: str


class HealthReadPage(Page):
    items: list[HealthReadOut]
    watched_by: list[str]
    """Who has had the whole community's live picture open in the past 30 days, this person's values among it."""


class ErasureIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "request", "dry_run": True}]})

    reason: Literal["request", "moved_out", "deceased", "mistake"] = "request"
    dry_run: bool = True


class ErasureOut(Model):
    """What erasing takes away (rows by what they are) and where it stands."""

    id: UUID | None
    person_id: str
    community_id: str
    reason: str
    state: Literal["dry_run", "waiting", "approved", "done"]
    requested_by: str
    requested_name: str
    requested_at: datetime
    approved_by: str | None
    approved_name: str | None
    approved_at: datetime | None
    done_at: datetime | None
    counts: dict[str, int]


class RetentionOut(Model):
    """How long one class of data is kept in this community, and why."""

    name: str
    label: LabelOut
    days: int
    default_days: int
    editable: bool
    basis: LabelOut


class RetentionIn(Model):
    days: int = Field(ge=1, le=3660)
