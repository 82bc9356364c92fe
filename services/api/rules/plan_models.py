"""What the API says of linkage plans: versions, runs and rehearsals."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field, model_validator

from services.api.answers.models import LabelOut, Model
from services.domain.vocabulary import Severity


class PlanOut(Model):
    """`live_version` null: nothing of it is in force. `version` 0: a default that the community has not taken over."""

    id: str
    title: LabelOut
    version: int
    mode: str
    written_by: str | None
    written_at: datetime | None
    approved_by: str | None
    live_version: int | None
    live_approved_by: str | None
    alerts: list[str]
    dangerous: list[str]
    """Dangerous commands that an approval of this version answers for: `kind.command`."""
    steps: list[str]
    is_default: bool


class PlanList(Model):
    items: list[PlanOut]


class PlanDetailOut(PlanOut):
    document: str
    live_document: str | None


class PlanChangedOut(Model):
    id: str
    version: int
    live: bool
    needs_approval: bool


class ApproveIn(Model):
    version: int = Field(ge=1)
    note: str = Field(default="", max_length=500)


class RunOut(Model):
    id: UUID
    plan_id: str
    version: int
    alert_id: UUID
    state: str
    title: LabelOut
    place: str
    approved_by: str
    started_at: datetime
    next_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    why: str


class RunPage(Model):
    items: list[RunOut]
    next: str | None


class StepOut(Model):
    step: str
    action: str
    state: str
    due_at: datetime | None
    requested_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    result: dict[str, Any]


class CommandOut(Model):
    id: UUID
    step: str
    device_id: str
    name: str
    params: dict[str, Any]
    dangerous: bool
    state: str
    requested_at: datetime
    expires_at: datetime
    sent_at: datetime | None
    ended_at: datetime | None
    sends: int
    detail: str


class RunDetailOut(RunOut):
    steps: list[StepOut]
    commands: list[CommandOut]


class CancelIn(Model):
    why: str = Field(min_length=1, max_length=500)


class MadeUpIn(Model):
    """An alert that never was: which rule, about which device."""

    rule_id: str = Field(max_length=100)
    device_id: str = Field(max_length=64)
    severity: Severity = Severity.CRITICAL


class DryRunIn(Model):
    """A real alert or a made-up one; `document`: this text instead of the stored plan, nothing of it is kept."""

    alert_id: UUID | None = None
    made_up: MadeUpIn | None = None
    document: str | None = Field(default=None, max_length=65536)

    @model_validator(mode="after")
    def _one(self) -> DryRunIn:
        if (self.alert_id is None) == (self.made_up is None):
            raise ValueError("alert_id 与 made_up 二选一 · give either alert_id or made_up")
        return self


class HappeningOut(Model):
    after_s: float
    step: str
    what: dict[str, Any]


class TroubleOut(Model):
    step: str
    why: str


class StepEndOut(Model):
    step: str
    state: str
    after_s: float | None


class DryRunOut(Model):
    """What would happen if devices that are there answer within a second and the others never. Nothing is written."""

    starts: bool
    why_not: str
    happenings: list[HappeningOut]
    troubles: list[TroubleOut]
    steps: list[StepEndOut]
