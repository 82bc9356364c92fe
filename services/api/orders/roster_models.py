"""What the API takes and answers about rosters: rotas, shifts, stand-ins, swaps, hand-overs, positions and gaps."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from services.api.answers.models import LabelOut, Model
from services.domain.dispatch import SKILLS
from services.domain.rosters import Cover, Pattern, Post, Turn
from services.domain.vocabulary import Role, Team

LONGEST_STAND_IN = timedelta(days=60)
PersonId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Why = Annotated[str, Field(default="", max_length=500)]


class ShiftTimeModel(Model):
    """By the community's clock; `to` at or before `from` is on the next day, equal: 24 hours."""

    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(min_length=1, max_length=40)
    from_: time = Field(alias="from")
    to: time


class RotaIn(Model):
    """`people` are crews; with `turn: rotate` each crew goes on to the next shift after `step_days` of the rota's days,
    and rests after the last as long as there are more crews than shifts."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "team": "patrol",
                    "name": "巡查四班三倒",
                    "shifts": [
                        {"name": "早班", "from": "08:00", "to": "16:00"},
                        {"name": "中班", "from": "16:00", "to": "00:00"},
                        {"name": "晚班", "from": "00:00", "to": "08:00"},
                    ],
                    "people": [["user-patrol1"], ["user-patrol2"], ["user-patrol3"], ["user-patrol4"]],
                    "leaders": ["user-patrol1"],
                    "from": "2026-12-01",
                }
            ]
        },
    )

    team: Team
    name: str = Field(default="", max_length=100)
    shifts: list[ShiftTimeModel] = Field(min_length=1, max_length=12)
    days: str = Field(default="all", max_length=100, description="all, workday, restday, weekday, weekend or mon,tue…")
    people: list[list[PersonId]] = Field(min_length=1, max_length=60)
    leaders: list[PersonId] = Field(default=[], max_length=200)
    turn: Turn = Turn.ROTATE
    step_days: int = Field(default=1, ge=1, le=60)
    from_day: date = Field(alias="from")
    until_day: date | None = Field(default=None, alias="until")
    cover: Cover | None = Field(default=None, description="null: always for patrol, grid and desk, else hours")

    def pattern(self) -> Pattern:
        """Raises PatternError."""
        return Pattern.parse(self.model_dump(mode="json", by_alias=True, exclude_none=True))


class RotaOut(Model):
    """`rota` null: it was withdrawn. `made_until`: so far ahead its shifts stand; they are made on by themselves."""

    id: str
    version: int
    team: Team
    rota: RotaIn | None
    cover: Cover | None
    author: str
    at: datetime
    made_until: datetime | None


class RotaSaved(RotaOut):
    shifts_added: int
    shifts_cancelled: int


class MakeIn(Model):
    days: int = Field(default=14, ge=1, le=92, description="how many days ahead from now")


class MadeOut(Model):
    added: int
    cancelled: int
    until: datetime | None


class ShiftOut(Model):
    """`stands_in_for`: whose shift it was."""

    id: UUID
    community_id: str
    team: Team
    user_id: str
    display_name: str | None
    starts_at: datetime
    ends_at: datetime
    post: Post
    name: str
    rota: str | None
    stands_in_for: str | None
    why: str
    cancelled_at: datetime | None


class ShiftPage(Model):
    items: list[ShiftOut]
    next: str | None


class ShiftIn(Model):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "team": "patrol",
                    "user_id": "user-patrol1",
                    "starts_at": "2026-12-31T20:00:00+08:00",
                    "ends_at": "2027-01-01T04:00:00+08:00",
                    "name": "跨年加班",
                }
            ]
        }
    )

    team: Team
    user_id: PersonId
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    post: Post = Post.MEMBER
    name: str = Field(default="", max_length=40)
    why: Why

    @model_validator(mode="after")
    def _a_day_at_most(self) -> ShiftIn:
        if not timedelta(0) < self.ends_at - self.starts_at <= timedelta(hours=24):
            raise ValueError("班次须在 24 小时以内 · a shift lasts up to 24 hours")
        return self


class StandInIn(Model):
    """`user_id` stands for `absent` from `starts_at` to `ends_at`, in `team` or in all their teams."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "absent": "user-patrol1",
                    "user_id": "user-patrol2",
                    "starts_at": "2026-12-01T08:00:00+08:00",
                    "ends_at": "2026-12-03T08:00:00+08:00",
                    "why": "事假",
                }
            ]
        }
    )

    absent: PersonId
    user_id: PersonId
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    team: Team | None = None
    why: Why

    @model_validator(mode="after")
    def _sound(self) -> StandInIn:
        if not timedelta(0) < self.ends_at - self.starts_at <= LONGEST_STAND_IN:
            raise ValueError("替班须在 60 天以内 · a stand-in lasts up to 60 days")
        if self.absent == self.user_id:
            raise ValueError("不能替自己的班 · nobody stands in for themselves")
        return self


class ChangedOut(Model):
    """How many shifts fell away, and how many stand instead."""

    cancelled: int
    added: int


class CancelShiftIn(Model):
    why: str = Field(min_length=1, max_length=500)


class SwapIn(Model):
    """My shift for theirs; it takes place when they agree."""

    for_shift_id: UUID
    why: Why


class SwapAnswerIn(Model):
    agree: bool


class SwapOut(Model):
    id: UUID
    community_id: str
    shift_id: UUID
    for_shift_id: UUID
    asked_by: str
    asked_at: datetime
    why: str
    agreed: bool | None
    answered_by: str | None
    answered_at: datetime | None


class PersonOnDuty(Model):
    """`until`, `shift`: of the shift they stand; null where the team keeps no roster."""

    user_id: str
    display_name: str
    leads: bool
    grid_id: str | None
    shift: str | None
    until: datetime | None
    stands_in_for: str | None


class TeamOnDuty(Model):
    """`rostered` false: the team keeps no roster, so all its enabled accounts count as on duty."""

    team: Team
    rostered: bool
    people: list[PersonOnDuty]


class OnDutyOut(Model):
    at: datetime
    people: int
    teams: list[TeamOnDuty]


class GapOut(Model):
    team: Team
    starts_at: datetime
    ends_at: datetime


class GapsOut(Model):
    """Where somebody of a team has to be on duty and nobody is, as the roster stands now."""

    from_: datetime = Field(serialization_alias="from")
    to: datetime
    items: list[GapOut]


class HandoverIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"team": "patrol", "note": "3号楼烟感已复位，配电房钥匙在值班室"}]}
    )

    team: Team
    note: str = Field(min_length=1, max_length=2000)


class HandedOrder(Model):
    id: UUID
    number: int
    state: str
    severity: str
    title_zh: str
    place: str


class HandoverOut(Model):
    """With the orders of the team that were open then."""

    id: UUID
    community_id: str
    team: Team
    from_shift: UUID | None
    to_shift: UUID | None
    note: str
    open_orders: list[HandedOrder]
    at: datetime
    by: str
    confirmed_at: datetime | None
    confirmed_by: str | None


class HandoverPage(Model):
    items: list[HandoverOut]
    next: str | None


class PositionIn(Model):
    """Where I am: metres on the plan, or degrees (WGS 84). Voluntary, and only while on duty."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"x": 120.5, "y": 80, "accuracy_m": 12}, {"latitude": 29.7, "longitude": 116}]}
    )

    x: float | None = Field(default=None, ge=-10_000, le=20_000)
    y: float | None = Field(default=None, ge=-10_000, le=20_000)
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    accuracy_m: float = Field(default=10.0, ge=0, le=10_000)

    @model_validator(mode="after")
    def _one_of_both(self) -> PositionIn:
        plan, globe = (self.x, self.y), (self.latitude, self.longitude)
        if (
            (None in plan) == (None in globe)
            or (None in plan and plan != (None, None))
            or (None in globe and globe != (None, None))
        ):
            raise ValueError("请给出 x 和 y，或经纬度 · send x and y, or latitude and longitude")
        return self


class PositionOut(Model):
    """`shared` false: nothing is known of where you are."""

    shared: bool
    x: float | None = None
    y: float | None = None
    forgotten_at: datetime | None = None


class StaffIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"leads": True, "skills": ["gas", "electric"], "grid_id": None}]}
    )

    leads: bool = False
    skills: list[str] = Field(default=[], max_length=20)
    grid_id: str | None = Field(default=None, max_length=128)

    @model_validator(mode="after")
    def _known_skills(self) -> StaffIn:
        unknown = sorted(set(self.skills) - set(SKILLS))
        if unknown:
            raise ValueError(f"没有这种技能 · no such skill: {', '.join(unknown)}; there are {', '.join(SKILLS)}")
        return self


class StaffOut(Model):
    """`duty_team`: whose duty they can stand."""

    user_id: str
    username: str
    display_name: str
    role: Role
    duty_team: Team
    leads: bool
    skills: list[str]
    grid_id: str | None
    disabled: bool


class StaffList(Model):
    items: list[StaffOut]
    skills: dict[str, LabelOut]
    """Every skill there is, in Chinese and English."""
