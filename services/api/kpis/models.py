"""Shapes of the key figures in groups and of the orders behind them."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import ConfigDict, Field, JsonValue

from services.api.answers.models import KpiOut, KpisOut, LabelOut, Model, OrderOut, Page

_CLOSING: dict[str, JsonValue] = {
    "name": "closing",
    "label": {"zh": "结案率", "en": "Closing rate"},
    "value": 93.72,
    "unit": "%",
    "formula": {"zh": "结案 ÷ 应结案", "en": "closed ÷ due to be closed"},
    "numerator": 911,
    "denominator": 972,
}


class KpiGroupOut(Model):
    """The figures over the orders of one value of the dimension; `key` empty: those that have none."""

    key: str
    label: LabelOut
    items: list[KpiOut]


class KpiReportOut(KpisOut):
    """`at`: as of when; hand it to the rows of a figure, so that both speak of one moment."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "at": "2026-11-22T02:00:00Z",
                    "first": "2026-10-01",
                    "last": "2026-10-31",
                    "timezone": "Asia/Shanghai",
                    "by": "team",
                    "items": [_CLOSING],
                    "groups": [
                        {"key": "patrol", "label": {"zh": "防控巡查队", "en": "Safety patrol"}, "items": [_CLOSING]}
                    ],
                }
            ]
        }
    )

    first: date
    last: date
    timezone: str
    by: str | None = None
    groups: list[KpiGroupOut] = Field(default_factory=list)


class KpiRowOut(Model):
    """One order behind a figure. The values of all rows add up to the figure's numerator (or denominator)."""

    order: OrderOut
    value: float


class KpiRowsOut(Page):
    at: datetime
    kpi: KpiOut
    total: float
    """What the values of all pages add up to."""
    items: list[KpiRowOut]


class CommunityKpisOut(Model):
    community_id: str
    name: str
    street_id: str
    items: list[KpiOut]


class StreetKpisOut(Model):
    """Communities side by side, each over its own local days."""

    at: datetime
    first: date
    last: date
    communities: list[CommunityKpisOut]
