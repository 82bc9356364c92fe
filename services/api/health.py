"""Which values are about somebody's health, by their place in what is stored."""

from __future__ import annotations

from services.adapters.rules.privacy import HEALTH_METRICS, HEALTH_RULES, about_health
from services.domain.devices import BY_NAME

__all__ = ["HEALTH_METRICS", "HEALTH_RULES", "METRIC_NAMES", "about_health"]

METRIC_NAMES: dict[str, tuple[tuple[int, str, bool], ...]] = {
    name: tuple((index, metric.name, metric.health) for index, metric in enumerate(kind.metrics))
    for name, kind in BY_NAME.items()
}
"""By kind: position in the stored array, name, and whether it is health data."""
