"""Which metrics and rules are about somebody's health, read from the catalogue."""

from __future__ import annotations

from services.domain.devices import BY_NAME, CATALOGUE

HEALTH_METRICS: dict[str, frozenset[str]] = {
    kind.name: frozenset(metric.name for metric in kind.metrics if metric.health)
    for kind in CATALOGUE
    if any(metric.health for metric in kind.metrics)
}
"""By kind; kinds without any are not in it."""

HEALTH_RULES: frozenset[str] = frozenset(
    rule.id
    for kind in CATALOGUE
    for rule in kind.rules
    if getattr(rule.parameters, "metric", None) in HEALTH_METRICS.get(kind.name, frozenset())
)
"""Rules that watch such a metric; what they say and the numbers they fired on are health data too."""

METRIC_NAMES: dict[str, tuple[tuple[int, str, bool], ...]] = {
    name: tuple((index, metric.name, metric.health) for index, metric in enumerate(kind.metrics))
    for name, kind in BY_NAME.items()
}
"""By kind: position in the stored array, name, and whether it is health data."""
