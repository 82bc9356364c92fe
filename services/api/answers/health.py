"""Which values are about somebody's health, by their place in what is stored."""

from __future__ import annotations

from services.adapters.rules.privacy import HEALTH_METRICS, HEALTH_RULES, about_health
from services.domain.devices import BY_NAME
from services.domain.devices.kind import Metric
from services.domain.people.privacy import Shown

__all__ = ["HEALTH_METRICS", "HEALTH_RULES", "METRIC_NAMES", "POSITION", "about_health", "asks_for"]

POSITION = frozenset({"latitude", "longitude"})


def asks_for(metric: Metric) -> Shown:
    """What must be shown to somebody for them to see the metric."""
    if not metric.health:
        return Shown.NONE
    return Shown.LOCATION if metric.name in POSITION else Shown.VITALS


METRIC_NAMES: dict[str, tuple[tuple[int, str, Shown], ...]] = {
    name: tuple((index, metric.name, asks_for(metric)) for index, metric in enumerate(kind.metrics))
    for name, kind in BY_NAME.items()
}
"""By kind: position in the stored array, name, and what of health data it is."""
