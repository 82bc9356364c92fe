"""What the API takes and answers about notices, channels, gateways and emergency contacts."""

from __future__ import annotations

from datetime import datetime, time
from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from services.api.answers.models import LabelOut, Model
from services.domain.notices import ChannelSort
from services.domain.vocabulary import Severity

NoticeState = Literal["queued", "sending", "sent", "acknowledged", "failed", "expired", "cancelled"]
Language = Literal["zh", "en"]


class AttemptOut(Model):
    """One message put to one channel."""

    sort: ChannelSort
    at: datetime
    ok: bool
    error: str | None
    ms: int


class NoticeOut(Model):
    """`via`: `channel`, or `app` where the recipient has no channel and finds it under /me/notices."""

    id: UUID
    community_id: str
    order_id: UUID | None
    number: int | None
    alert_id: UUID | None
    recipient: str = Field(description="显示名 display name")
    template: str
    severity: Severity
    title: LabelOut
    body: LabelOut
    state: NoticeState
    via: Literal["channel", "app"] | None
    turn: int
    attempts: int
    last_error: str | None
    escalated: bool
    digest_of: UUID | None
    created_at: datetime
    not_before: datetime
    expires_at: datetime
    sent_at: datetime | None
    acknowledged_at: datetime | None
    tried: list[AttemptOut] | None = None


class NoticePage(Model):
    items: list[NoticeOut]
    next: str | None


class ChannelSettings(Model):
    """Quiet hours are by the community's clock and may run over midnight; critical notices know none."""

    position: int = Field(default=1, ge=1, le=100, description="先用小的 the smallest is tried first")
    min_severity: Severity = Severity.INFO
    quiet_from: time | None = None
    quiet_to: time | None = None
    language: Language = "zh"

    @model_validator(mode="after")
    def _both_or_none(self) -> ChannelSettings:
        if (self.quiet_from is None) != (self.quiet_to is None):
            raise ValueError("免打扰时段须有起止 · quiet hours need a beginning and an end")
        if any(one is not None and one.tzinfo is not None for one in (self.quiet_from, self.quiet_to)):
            raise ValueError("免打扰时段按社区时间 · quiet hours are by the community's clock, without an offset")
        return self


class ChannelIn(ChannelSettings):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"sort": "sms", "address": "13800138000", "quiet_from": "22:00", "quiet_to": "07:00"}]
        }
    )

    sort: ChannelSort
    address: str = Field(min_length=3, max_length=1024, description="不会再显示 never shown again")


class ChannelOut(ChannelSettings):
    id: UUID
    sort: ChannelSort
    shown: str = Field(description="掩码 masked")
    created_at: datetime
    verified_at: datetime | None
    failing_since: datetime | None


class CodeIn(Model):
    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "123456"}]})

    code: str = Field(pattern=r"^[0-9]{6}$")


class GatewayIn(Model):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"template": "jsons://user:key@sms.example.com/send?:to={to}"}]}
    )

    template: str = Field(min_length=8, max_length=1024, description="含 {to} with {to}; 不会再显示 never shown again")


class GatewayOut(Model):
    sort: ChannelSort
    shown: str
    changed_at: datetime
    changed_by: str


class AcknowledgedOut(Model):
    id: UUID
    acknowledged: bool
