"""What the API says about the hours to come, and how far off it was."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from services.api.answers.models import LabelOut, Model, Point

Forecast = Literal["power", "water", "gas", "pv", "parking", "visits"]


class BandPoint(Model):
    """One hour. Four of five hours should fall between `p10` and `p90`; `p50` is as often too high as too low."""

    ts_ms: int
    p10: float
    p50: float
    p90: float


class ErrorOut(Model):
    """How far off yesterday was, by what was foretold for it before it began.

    WAPE: sum of |actual - p50| ÷ sum of |actual|. MAPE: mean of |actual - p50| ÷ |actual| over hours whose actual is at
    least a tenth of the day's mean (an error over next to nothing says nothing). Coverage: hours within p10 to p90.
    """

    day: date
    hours: int = Field(le=25, examples=[24])
    wape: float | None = Field(examples=[0.061])
    mape: float | None
    coverage: float | None = Field(ge=0, le=1, examples=[0.83])
    naive_wape: float | None
    """Of "the same hour a week before", for comparison."""


class ForecastOut(Model):
    """`points`: from yesterday's midnight (what was foretold before each day began) to 48 h ahead.

    `actual`: by hour, None where nothing was observed; the running hour is left out.
    """

    name: Forecast
    unit: str = Field(examples=["kWh"])
    label: LabelOut
    status: Literal["ready", "not_enough_history", "not_made_yet"]
    detail: LabelOut
    """What the status means to a reader, with what is missing."""
    history_days: int
    needed_days: int
    made_at: datetime | None
    bucket_s: Literal[3600] = 3600
    points: list[BandPoint]
    actual: list[Point]
    yesterday: ErrorOut | None


class ForecastsOut(Model):
    """All forecasts of a community, without their points."""

    at: datetime
    items: list[ForecastOut]
