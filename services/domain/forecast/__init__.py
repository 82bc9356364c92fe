"""Forecasts of a community's hours, with bands: pure functions of the hours behind ([data](docs/data.md))."""

from services.domain.forecast.bands import Band, Hours, Score, score
from services.domain.forecast.seasonal import NEEDED_DAYS, seasonal
from services.domain.forecast.solar import solar

__all__ = ["NEEDED_DAYS", "Band", "Hours", "Score", "score", "seasonal", "solar"]
