"""What the API takes and answers about one order: opening it, moving it, and all that is known of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, model_validator

from services.api.answers.models import HistoryOut, LabelOut, Model, NamedOut, OrderOut, Problem
from services.api.orders.evidence_models import ArrivalPositionIn, Metres
from services.domain.city.cases import System
from services.domain.orders import Clock, Move, Need, OrderState, Rung
from services.domain.vocabulary import Severity, Team

MOST_AT_ONCE = 200


class OrderIn(Model):
    """What somebody saw, on a patrol or at work. Without a team it goes to the desk, who sends it on."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "patrol",
                    "title": "2号楼消防通道堆物",
                    "severity": "major",
                    "team": "patrol",
                    "building_id": "yunling-b2",
                    "note": "三辆电动车，已拍照",
                },
                {
                    "source": "staff",
                    "title": "路灯不亮",
                    "severity": "minor",
                    "category": "street_lamp",
                    "x": 41.5,
                    "y": 12,
                },
            ]
        }
    )

    source: Literal["staff", "patrol"]
    title: str = Field(min_length=1, max_length=120)
    title_en: str | None = Field(default=None, min_length=1, max_length=120)
    note: str | None = Field(default=None, max_length=2000)
    severity: Severity
    team: Team | None = None
    category: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,63}$")
    place: str = Field(default="", max_length=200)
    building_id: str | None = None
    device_id: str | None = None
    x: Metres | None = None
    y: Metres | None = None
    dispatch: bool = True
    """False: it waits until the desk files it (立案)."""

    @model_validator(mode="after")
    def _whole(self) -> OrderIn:
        if (self.x is None) != (self.y is None):
            raise ValueError("x 与 y 须同时给出 · x and y come together")
        if self.team is None and self.category is None:
            raise ValueError("请给出队伍或类别 · a team or a category is needed")
        if self.severity is Severity.CRITICAL and not self.dispatch:
            raise ValueError("紧急工单须立即派单 · a critical order is dispatched at once; it cannot wait for the desk")
        return self


class MoveIn(Model):
    """One move of an order. `version` is the one the caller saw; another answers 409 with the order as it stands."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"move": "accept", "version": 2},
                {"move": "resolve", "version": 4, "place": "3号楼2单元", "note": "阀门已关，通风完毕"},
                {
                    "move": "pause",
                    "version": 3,
                    "pause_reason": "waiting_parts",
                    "pause_until": "2026-11-23T09:00:00+08:00",
                },
                {
                    "move": "arrive",
                    "version": 3,
                    "position": {"latitude": 29.6998, "longitude": 116.0003, "accuracy_m": 12},
                },
                {"move": "merge", "version": 2, "merge_into": "0b8f6a2e-5d0c-4d5e-9c55-7b1f2a9a1c10"},
                {"move": "call_back", "version": 6, "outcome": "satisfied", "note": "住户确认已无异味"},
                {"move": "false_alarm", "version": 4, "reason": "油烟误报"},
            ]
        }
    )

    move: Move
    version: int = Field(ge=1)
    reason: str | None = Field(default=None, max_length=500)
    note: str | None = Field(default=None, max_length=2000)
    place: str | None = Field(default=None, max_length=200)
    team: Team | None = None
    assignee_id: str | None = Field(default=None, max_length=128)
    merge_into: UUID | None = None
    rung: Rung | None = None
    """Of `escalate`: up to which rung; without it, one step up."""
    pause_reason: str | None = Field(default=None, max_length=64)
    pause_until: AwareDatetime | None = None
    outcome: Literal["satisfied", "unsatisfied", "unreached"] | None = None
    """Of `call_back`."""
    position: ArrivalPositionIn | None = None
    """Of `arrive`: where the phone believes to be."""
    code: str | None = Field(default=None, max_length=128)
    """Of `arrive`: what the code at the place says."""
    acted_at: AwareDatetime | None = None
    """When it was done by the phone's own clock, where it was sent later. Kept in the history as a claim, left out
    where it cannot be (before the order, or in the future); deadlines count when the server heard of it."""


class BatchMoveIn(MoveIn):
    order_id: UUID


class BatchIn(Model):
    """Moves of up to 200 orders, each order once; one that is refused does not stop the others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "moves": [
                        {
                            "order_id": "0b8f6a2e-5d0c-4d5e-9c55-7b1f2a9a1c10",
                            "move": "assign",
                            "version": 2,
                            "assignee_id": "user-patrol1",
                        }
                    ]
                }
            ]
        }
    )

    moves: list[BatchMoveIn] = Field(min_length=1, max_length=MOST_AT_ONCE)

    @model_validator(mode="after")
    def _each_once(self) -> BatchIn:
        if len({one.order_id for one in self.moves}) < len(self.moves):
            raise ValueError("同一工单只能出现一次 · each order may be named once")
        return self


class MovedOut(Model):
    """What came of one move of a batch: the order, or the problem that it would have been answered with alone."""

    order_id: UUID
    status: int
    order: OrderOut | None = None
    problem: Problem | None = None


class BatchOut(Model):
    items: list[MovedOut]


class ClockOut(Model):
    """One clock of the running dispatch. `left_s`: seconds until it is due, below 0 once it is over; while the order is
    paused, what was left when it was. `warn_at`: when it turns amber; None where it does not run now or never warns."""

    name: Clock
    label: LabelOut
    due: datetime
    warn_at: datetime | None
    done_at: datetime | None
    left_s: float | None
    late: bool


class WorkerOut(Model):
    id: str
    name: str
    team: Team | None


class PauseOut(Model):
    """`until`: when it was to end by itself; `ended_at` None: it lasts."""

    at: datetime
    reason: NamedOut | None
    until: datetime | None
    ended_at: datetime | None
    by: str


class LinkOut(Model):
    """Another order. The counts are of evidence that it holds."""

    id: UUID
    number: int
    state: OrderState
    photos_before: int
    photos_after: int
    signatures: int


class AlertLinkOut(Model):
    id: UUID
    state: Literal["firing", "recovering", "cleared"]
    severity: Severity
    fired_at: datetime


class LinksOut(Model):
    """`parent`: the order before it, of the same trouble; `children` those after it; `merged`: what was merged into
    it; `alerts`: all that are worked on in it."""

    parent: LinkOut | None
    children: list[LinkOut]
    merged_into: LinkOut | None
    merged: list[LinkOut]
    alerts: list[AlertLinkOut]


class ClassOut(Model):
    """The class it was opened in, and what that allows."""

    id: str
    version: int
    pause_reasons: list[NamedOut]
    pause_longest_s: int
    needs: dict[Move, list[Need]]
    """What it asks of moves that come later, so that a phone without a network can ask for it in time."""


class CaseAboveOut(Model):
    """A case of a city platform that is worked on here. `joined`: it came to an order that there was; of others whoever
    opened it reads the words of `resolve`, `cancel`, `false_alarm` and `pause`."""

    system: System
    external_id: str
    account: str
    due_at: datetime | None
    joined: bool


class OrderDetailOut(OrderOut):
    order_class: ClassOut | None
    clocks: list[ClockOut]
    offered: list[WorkerOut]
    """Whom it was offered to; nobody named: its whole team."""
    workers: list[WorkerOut]
    """Who accepted it, arrived or resolved it: somebody else verifies."""
    pauses: list[PauseOut]
    links: LinksOut
    cases: list[CaseAboveOut]
    """For those who may move it; the oldest twenty."""
    history: list[HistoryOut]
