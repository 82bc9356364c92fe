"""The data of city events, one model a family: the published contract, from which the schemas are made.

A field of a data class is left out where the class is not granted; everything else is always there. A payload is thin:
ids, states, times. Whoever wants more asks the API, which asks for their permission.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from services.domain.city.vocabulary import DataClass

T = TypeVar("T")


def _granted(needs: DataClass, description: str) -> Any:
    return Field(
        default=None,
        description=f"{description}; left out unless `{needs.value}` is granted",
        json_schema_extra={"x-data-class": needs.value},
    )


def _case() -> Any:
    return Field(
        default=None, description="what city management calls it (城管部件/事件); null: it is none of its cases"
    )


class Payload(BaseModel):
    """`extra="ignore"`: the outbox says more than is published."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    community_id: str

    @classmethod
    def gated(cls) -> dict[str, DataClass]:
        """Its fields that need a grant."""
        found = {}
        for name, one in cls.model_fields.items():
            if isinstance(one.json_schema_extra, dict):
                found[name] = DataClass(str(one.json_schema_extra["x-data-class"]))
        return found


class Words(BaseModel):
    model_config = ConfigDict(frozen=True)

    zh: str
    en: str


class MunicipalCase(BaseModel):
    """`state`: draft, checked or missing; nothing is to act by itself on a code that nobody has checked."""

    model_config = ConfigDict(frozen=True)

    standard: str
    sort: str = Field(description="component (部件) or event (事件)")
    major: str
    minor: str | None
    state: str
    name: Words


Text = Annotated[Words | None, _granted(DataClass.TEXT, "in Chinese and English")]
DeviceId = Annotated[str | None, _granted(DataClass.DEVICE, "the device")]
Place = Annotated[str | None, _granted(DataClass.LOCATION, "the place in words")]
BuildingId = Annotated[str | None, _granted(DataClass.LOCATION, "the building")]


class AlertPayload(Payload):
    alert_id: str
    kind: str = Field(description="kind of the device")
    severity: str
    state: str
    life_safety: bool
    team: str
    rule_id: str = Field(description="`health` for a rule about somebody's health that is not shown")
    onset_at: datetime
    fired_at: datetime
    last_at: datetime
    cleared_at: datetime | None = None
    occurrences: int
    case: MunicipalCase | None = _case()
    title: Text = None
    why: Text = None
    place: Place = None
    building_id: BuildingId = None
    device_id: DeviceId = None


class OrderPayload(Payload):
    order_id: str
    alert_id: str | None = None
    state: str
    version: int = Field(description="of the order; grows by one with each of its events")
    kind: str | None = Field(default=None, description="kind of the device, or of what was reported")
    severity: str | None = None
    team: str | None = None
    source: str | None = Field(default=None, description="alert, resident, patrol, platform or staff")
    case: MunicipalCase | None = _case()
    case_state: str | None = Field(
        default=None, description="of an order that a platform opened: what its state is called above"
    )


class CasePayload(Payload):
    order_id: str
    evidence_id: str = Field(description="a photo, for whoever opened the case")


class ReportPayload(Payload):
    report_id: str
    order_id: str
    joined: bool | None = Field(default=None, description="it joined an order that stood already")
    rating: int | None = None
    rework: bool | None = None
    category: Annotated[str | None, _granted(DataClass.TEXT, "what was reported")] = None


class PlanPayload(Payload):
    run_id: str
    plan_id: str
    version: int
    alert_id: str | None = None
    state: str | None = None
    step: str | None = None
    action: str | None = None
    title: Text = None
    place: Place = None


class CommandPayload(Payload):
    command_id: str
    name: str
    state: str
    dangerous: bool | None = None
    run_id: str | None = None
    expires_at: datetime | None = None
    device_id: DeviceId = None


class DevicePayload(Payload):
    """Its types are sent only where `device` is granted."""

    device_id: str
    kind: str | None = None
    online: bool
    at: datetime


class FigurePayload(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    unit: str
    value: float | None
    part: float | None = None
    whole: int | None = None


class KpiPayload(Payload):
    day: date = Field(description="of the community's own calendar, over when this was written")
    figures: list[FigurePayload]


class PublicPayload(Payload):
    """Of a community with open data, what anybody may read, as it is after a change of any of it; null: not known."""

    at: datetime
    parking_spaces: int | None = None
    parking_left: int | None = None
    noise_db: float | None = None
    temperature_c: float | None = None
    pm25: float | None = None
    pm10: float | None = None


class OpenDataPayload(Payload):
    open_data: bool


class TestPayload(Payload):
    """What a test sends; it stands in no outbox."""

    __test__ = False

    subscription_id: str
    said: str
