"""What the API takes and answers about silences, maintenance windows, caps and answers from home."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from services.api.answers.models import LabelOut, Model
from services.domain.vocabulary import Severity

LONGEST = {"silence": timedelta(days=31), "maintenance": timedelta(days=400)}


class MatcherModel(Model):
    """Which alerts: all that is said must hold. Alerts of life safety (fire, gas, SOS, falls, water edge) are never
    matched."""

    rules: list[str] = Field(default=[], max_length=50, description="shell patterns over rule ids and families")
    kinds: list[str] = Field(default=[], max_length=50)
    devices: list[str] = Field(default=[], max_length=500)
    buildings: list[str] = Field(default=[], max_length=200)
    grids: list[str] = Field(default=[], max_length=50)
    households: list[str] = Field(default=[], max_length=500)
    severity: Severity | None = Field(default=None, description="at most this bad")

    @model_validator(mode="after")
    def _says_something(self) -> MatcherModel:
        if not (self.rules or self.kinds or self.devices or self.buildings or self.grids or self.households):
            raise ValueError(
                '请说明静默什么；全部请写 rules: ["*"] · say what is matched; for everything, rules: ["*"]'
            )
        return self


class RecursModel(Model):
    """Only in these hours, by the community's clock; `to` at or before `from` is on the next day."""

    weekdays: list[int] = Field(default=[], description="ISO: Monday is 1", max_length=7)
    dates: list[date] = Field(default=[], max_length=400)
    from_: time = Field(alias="from")
    to: time

    @model_validator(mode="after")
    def _some_day(self) -> RecursModel:
        if not (self.weekdays or self.dates):
            raise ValueError("请说明星期或日期 · name weekdays or dates")
        if any(not 1 <= day <= 7 for day in self.weekdays):
            raise ValueError("星期为 1 到 7 · weekdays are 1 (Monday) to 7")
        if any(moment.tzinfo is not None for moment in (self.from_, self.to)):
            raise ValueError("时间按社区当地时间 · hours are by the community's clock, without an offset")
        return self


class SilenceIn(Model):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sort": "maintenance",
                    "matcher": {"rules": ["*.offline"], "buildings": ["b1"]},
                    "place": "1号楼弱电井",
                    "starts_at": "2026-12-01T00:00:00+08:00",
                    "ends_at": "2026-12-31T00:00:00+08:00",
                    "recurs": {"weekdays": [3], "from": "09:00", "to": "11:00"},
                    "why": "网关例行检修",
                }
            ]
        }
    )

    sort: Literal["silence", "maintenance"] = "silence"
    matcher: MatcherModel
    place: str = Field(default="", max_length=200)
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    recurs: RecursModel | None = None
    why: str = Field(min_length=1, max_length=500)

    @model_validator(mode="after")
    def _bounded(self) -> SilenceIn:
        if self.ends_at <= self.starts_at:
            raise ValueError("结束须晚于开始 · it must end after it begins")
        if self.ends_at - self.starts_at > LONGEST[self.sort]:
            raise ValueError(f"最长 {LONGEST[self.sort].days} 天 · {LONGEST[self.sort].days} days at most")
        if self.sort == "maintenance" and not self.place:
            raise ValueError("检修须写明地点 · maintenance needs a place")
        return self


class SilenceOut(Model):
    id: UUID
    community_id: str
    sort: Literal["silence", "maintenance"]
    matcher: dict[str, Any]
    place: str
    starts_at: datetime
    ends_at: datetime
    recurs: dict[str, Any] | None
    why: str
    created_by: str
    created_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    active: bool = Field(description="holds at this moment")


class MatchedOut(Model):
    alert_id: UUID
    rule_id: str
    severity: Severity
    title: LabelOut
    place: str
    held: list[str]
    order_id: UUID | None


class PreviewOut(Model):
    """Open alerts it would match. One that has an order keeps it; what it would open anew is held back."""

    matched: int
    life_safety: int = Field(description="open alerts that would match, were they not of life safety")
    items: list[MatchedOut] = Field(description="the newest 200")


class CapsModel(Model):
    """Orders an hour that are not of life safety; None: the default, 6 a device, one for 20 devices (at least 30)."""

    device: int | None = Field(default=None, ge=0, le=10_000)
    community: int | None = Field(default=None, ge=0, le=100_000)


class CapsOut(CapsModel):
    in_force: dict[str, int]


class AnswerIn(Model):
    """Is all well at home?"""

    ok: bool
    note: str = Field(default="", max_length=500)


class AnswerOut(Model):
    alert_id: UUID
    ok: bool


class AwayIn(Model):
    """Until when nobody is at home; None: back home."""

    until: AwareDatetime | None


class AwayOut(Model):
    person_id: str
    away_until: datetime | None


class AlertCountsOut(Model):
    """Since midnight by the community's clock."""

    since: datetime
    raised: int
    life_safety: int
    occurrences: int
    orders: int
    open: int
    held: int = Field(description="open alerts held back now")
    held_by: dict[str, int] = Field(description="by reason; an alert may have several")
    released: int
    suppressed: int = Field(description="over before they sent anybody")
    suppressed_by: dict[str, int]
    answered_well: int
    shadow: int
