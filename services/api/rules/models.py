"""What the API answers about rules."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from services.api.answers.models import LabelOut, Model
from services.domain.vocabulary import Severity, Team

Mode = Literal["live", "shadow", "off"]


class RuleOut(Model):
    """One rule as it is in force in a community."""

    id: str
    kind: str
    """The device kind."""
    sort: str
    """The rule kind: threshold, event …"""
    title: LabelOut
    severity: Severity
    team: Team
    family: str
    life_safety: bool
    opens_order: bool
    mode: Mode
    origin: Literal["default", "own"]
    version: int = Field(description="of the text in force; alerts name it")
    newest: int = Field(description="the version to name in If-Match; differs only while a newer text cannot be read")
    changed_at: datetime | None
    changed_by: str | None
    change_note: str
    overrides: int = Field(description="devices and people for whom something else is set")
    problem: str | None = Field(description="why the newest text is not the one in force")


class EndedOut(Model):
    """Of a rule's orders that ended in the last 30 days, how many were false alarms."""

    ended: int
    false_alarms: int


class RuleList(Model):
    """`false_alarms`: by rule id, of those rules whose alerts had orders that ended; more at `…/statistics`."""

    items: list[RuleOut]
    false_alarms: dict[str, EndedOut] = Field(default_factory=dict)


class VersionOut(Model):
    version: int
    mode: Literal["live", "shadow", "off", "removed"]
    at: datetime
    by: str
    note: str


class OverrideOut(Model):
    """What is set for one device or person; `parameters` null: nothing (any more)."""

    subject: str
    rule_id: str
    version: int
    parameters: dict[str, Any] | None
    at: datetime | None
    by: str | None
    note: str


class RuleDetailOut(RuleOut):
    document: str = Field(description="YAML, as it was written")
    plain: dict[str, Any] = Field(description="the same as JSON values; PUT takes it back")
    default_document: str | None
    history: list[VersionOut]
    set_for: list[OverrideOut] = Field(description="left out for readers who may not see health data of the rule")


class InForceOut(Model):
    """When a change counts: engines load the rules again at its commit."""

    engine: bool = Field(description="whether an engine is watching this community now")
    words: LabelOut


class RuleChangedOut(Model):
    rule: RuleOut | None = Field(description="null: there is no rule of this id any more")
    in_force: InForceOut
    alerts_a_day: float | None = Field(description="how many alerts it would have raised a day; null: not worked out")


class OverrideChangedOut(Model):
    override: OverrideOut
    in_force: InForceOut


class FaultOut(Model):
    """`line` and `column` from 1, null where the document came as JSON."""

    line: int | None
    column: int | None
    where: str
    zh: str
    en: str


class CheckedOut(Model):
    """What a document would be, nothing of it stored."""

    ok: bool
    kind: str
    rules: list[str]
    faults: list[FaultOut]


class OverrideIn(Model):
    parameters: dict[str, Any] | None = Field(
        description='the parameters that differ, as in a document ({"limit": 55, "for": "2m"}); null: none any more'
    )
    note: str = Field(default="", max_length=500)
