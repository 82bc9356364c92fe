"""What the API takes and answers about commands to devices."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from services.adapters.commands.asking import BATCH_MOST
from services.api.answers.models import LabelOut, Model
from services.domain.commands import CommandState

Params = dict[str, str | int | float]


class CommandIn(Model):
    """What one device is to do. A dangerous command waits for a second person; `emergency` sends a siren or a
    broadcast at once, and somebody else has to review it within a day."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"device_id": "gongyuan-gas-meter-001", "name": "valve_close", "why": "住户报告有燃气味"}]
        }
    )

    device_id: str = Field(max_length=64)
    name: str = Field(max_length=64, description="as the catalogue names it")
    params: Params = Field(default={}, max_length=8)
    why: str = Field(min_length=1, max_length=500)
    emergency: bool = Field(default=False, description="紧急越权：仅警报器与广播 · sirens and loudspeakers only")
    expires_in_s: float | None = Field(default=None, gt=0, le=3600, description="at most what its kind allows")


class NoteIn(Model):
    note: str = Field(default="", max_length=500)


class CommandWhyIn(Model):
    why: str = Field(min_length=1, max_length=500)


class ReviewIn(Model):
    verdict: Literal["justified", "unjustified"]
    note: str = Field(min_length=1, max_length=500)


class CommandLineOut(Model):
    """One line of a command's history."""

    version: int
    move: str
    from_state: str | None
    to_state: str
    at: datetime
    by: str
    by_name: str
    why: str


class LedgerCommandOut(Model):
    """A command as it stands. `state` ends as exactly one of confirmed, done, failed, expired, unconfirmed, cancelled,
    refused. Names are of accounts; where there is none (any more), the id."""

    id: UUID
    device_id: str
    device_name: str
    place: str
    kind: str
    name: str
    params: dict[str, Any]
    source: str
    batch_id: UUID | None
    run_id: UUID | None
    dangerous: bool
    emergency: bool
    why: str
    state: CommandState
    label: LabelOut
    version: int
    requested_by: str
    requested_name: str
    requested_at: datetime
    approved_by: str | None
    approved_name: str | None
    approved_at: datetime | None
    expires_at: datetime
    sent_at: datetime | None
    sends: int
    ended_at: datetime | None
    confirm_by: datetime | None
    detail: str
    moved_why: str
    reviewed_by: str | None
    reviewed_name: str | None
    reviewed_at: datetime | None
    verdict: str | None
    review_note: str


class StrayOut(Model):
    """A reply that moved no command. unknown: of none there is; foreign: of another device's; unsent: before it was
    sent; late: after its end, or against what the device said before."""

    id: int
    device_id: str
    named: str
    command_id: UUID | None
    reason: str
    ok: bool
    detail: str
    first_at: datetime
    last_at: datetime
    times: int


class CommandDetailOut(LedgerCommandOut):
    history: list[CommandLineOut]
    strays: list[StrayOut]


class CommandPage(Model):
    items: list[LedgerCommandOut]
    next: str | None = None


class StrayPage(Model):
    items: list[StrayOut]
    next: str | None = None


class CommandBatchIn(Model):
    """One thing told to many: the devices named, or those of a kind in these places with all of these tags. A broadcast
    (播报) to a zone is `speak` to the loudspeakers of a building or a 网格."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "loudspeaker",
                    "name": "speak",
                    "params": {"text": "今晚九点停水检修"},
                    "grids": ["gongyuan-grid-1"],
                    "why": "停水通知",
                }
            ]
        }
    )

    kind: str = Field(max_length=64)
    name: str = Field(max_length=64)
    params: Params = Field(default={}, max_length=8)
    devices: list[str] | None = Field(default=None, max_length=BATCH_MOST)
    buildings: list[str] = Field(default=[], max_length=200)
    grids: list[str] = Field(default=[], max_length=50)
    tags: list[str] = Field(default=[], max_length=20)
    everywhere: bool = Field(default=False, description="整个社区 · the whole community, said on purpose")
    why: str = Field(min_length=1, max_length=500)
    emergency: bool = False
    per_second: float = Field(default=5.0, gt=0, le=50, description="how fast they go out")
    expires_in_s: float | None = Field(default=None, gt=0, le=3600)

    @model_validator(mode="after")
    def _says_where(self) -> CommandBatchIn:
        if not (self.devices or self.buildings or self.grids or self.tags or self.everywhere):
            raise ValueError("请说明范围，全社区请写 everywhere · say where; for the whole community, everywhere")
        return self


class CommandBatchOut(Model):
    """`counts`: how many commands are in each state; `open`: how many have no end yet; `expires_at`: when the last of
    those runs out."""

    id: UUID
    kind: str
    name: str
    params: dict[str, Any]
    dangerous: bool
    emergency: bool
    why: str
    targets: str
    total: int
    per_second: float
    requested_by: str
    requested_name: str
    requested_at: datetime
    expires_at: datetime | None
    approved_by: str | None
    approved_name: str | None
    stopped_by: str | None
    stopped_name: str | None
    stopped_at: datetime | None
    stop_why: str
    to_review: bool
    counts: dict[str, int]
    open: int


class CommandBatchPage(Model):
    items: list[CommandBatchOut]
    next: str | None = None


class DimModel(Model):
    at: time = Field(description="社区当地时间 · by the community's clock")
    brightness: int = Field(ge=0, le=100)


class LampScheduleIn(Model):
    """Lamps with all these tags, in these grids (without either: all). They go on when the sun's centre sinks below
    `on_deg` and off when it rises above `off_deg`; -0.833 is sunset and sunrise, -6 civil twilight."""

    title: LabelOut
    tags: list[str] = Field(default=[], max_length=20)
    grids: list[str] = Field(default=[], max_length=50)
    on_deg: float = -0.833
    off_deg: float = -0.833
    dims: list[DimModel] = Field(default=[], max_length=12)
    enabled: bool = True


class LampScheduleOut(LampScheduleIn):
    """`light`: what it wants now, 0 to 100; `next_at`: when that changes, to `next_light`."""

    id: str
    version: int
    changed_by: str
    changed_name: str
    changed_at: datetime
    light: int
    next_at: datetime | None
    next_light: int | None
