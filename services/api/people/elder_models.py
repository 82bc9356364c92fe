"""What the API answers about elders: by risk, with every reason, and as much of a person as the asker may see."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from services.api.answers.models import LabelOut, Model, Point
from services.domain.people.privacy import ConsentTo
from services.domain.vocabulary import Severity

Level = Literal["high", "medium", "low"]
SignOf = Literal["door", "water", "band", "button"]


class FactorOut(Model):
    """One reason and the points it adds; the score is their sum, 100 at most."""

    code: str
    weight: int
    words: LabelOut


class SignOut(Model):
    """The last sign of life that one device gave; `at` None: none yet."""

    of: SignOf
    at: datetime | None
    words: LabelOut


class ElderOut(Model):
    """One elder in the list. `name` is masked for all but their grid member; there is never a room here."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "gongyuan-p12",
                    "name": "王**",
                    "age": 83,
                    "building_id": "gongyuan-b3",
                    "building": "3号楼",
                    "grid_id": "gongyuan-grid1",
                    "lives_alone": True,
                    "away_until": None,
                    "score": 43,
                    "level": "medium",
                    "factors": [
                        {
                            "code": "no_sign",
                            "weight": 25,
                            "words": {"zh": "13 小时没有生活迹象", "en": "No sign of life for 13 h"},
                        },
                        {"code": "alone", "weight": 10, "words": {"zh": "独居", "en": "Lives alone"}},
                        {"code": "age", "weight": 8, "words": {"zh": "83 岁", "en": "83 years old"}},
                    ],
                    "last_sign_at": "2026-11-22T00:40:00Z",
                    "band": "on",
                    "open_alerts": 0,
                }
            ]
        }
    )

    id: str
    name: str
    age: int | None
    building_id: str | None
    building: str | None
    grid_id: str | None
    lives_alone: bool
    away_until: datetime | None
    score: int
    level: Level
    factors: list[FactorOut]
    last_sign_at: datetime | None
    band: Literal["on", "off", "offline", "none"]
    open_alerts: int


class ElderCountsOut(Model):
    all: int
    high: int
    medium: int
    low: int
    away: int
    masked: bool
    """Whether health data is left out of the risk, as for a screen on a wall."""


class EldersOut(Model):
    """The highest risk first; `counts` are of all of them, however many `items` were asked for."""

    at: datetime
    counts: ElderCountsOut
    items: list[ElderOut]


class VitalOut(Model):
    """One metric over 24 h, half-hour means, with what is usual for the person and where the default rules speak up."""

    metric: str
    unit: str
    label: LabelOut
    latest: float | None
    latest_at: datetime | None
    usual_low: float | None
    usual_high: float | None
    points: list[Point]


class MomentOut(Model):
    """One line of the timeline: a door, a band, an alert, an answer from home."""

    at: datetime
    of: Literal["door", "band", "button", "alert", "answer", "water"]
    words: LabelOut


class PersonContactOut(Model):
    id: UUID
    name: str
    relation: str
    phone: str | None
    position: int


class VisitOut(Model):
    """An order about this person: somebody went, or goes."""

    id: UUID
    number: int
    title: LabelOut
    severity: Severity
    state: str
    created_at: datetime
    arrived_at: datetime | None
    closed_at: datetime | None


class ConsentNowOut(Model):
    what: ConsentTo
    label: LabelOut
    valid: bool
    until: datetime | None


class ElderDetailOut(Model):
    """One elder, for those who look after them, the person themselves, and the family they share it with."""

    at: datetime
    elder: ElderOut
    room: str | None
    phone: str | None
    signs: list[SignOut]
    timeline: list[MomentOut]
    vitals: list[VitalOut]
    vitals_withheld: LabelOut | None = Field(description="为何不显示体征 · why vitals are not shown; null: they are")
    consents: list[ConsentNowOut]
    contacts: list[PersonContactOut]
    visits: list[VisitOut]
