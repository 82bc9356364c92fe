"""Which metrics and rules are about somebody's health, read from the catalogue and the default rules."""

from __future__ import annotations

from services.adapters.rules.files import KINDS, load_defaults
from services.domain.devices import CATALOGUE
from services.domain.rules.editing import about_health as rule_about_health

HEALTH_METRICS: dict[str, frozenset[str]] = {
    kind.name: frozenset(metric.name for metric in kind.metrics if metric.health)
    for kind in CATALOGUE
    if any(metric.health for metric in kind.metrics)
}
"""By kind; kinds without any are not in it."""

HEALTH_RULES: frozenset[str] = frozenset(
    rule.id for kind, rules in load_defaults().items() for rule in rules if rule_about_health(KINDS[kind], rule)
)
"""Default rules that watch such a metric; what they say and the numbers they fired on are health data too."""

_DEFAULTS: frozenset[str] = frozenset(rule.id for rules in load_defaults().values() for rule in rules)


def about_health(rule_id: str) -> bool:
    """Whether what the rule says is health data. A community's own rule for devices that know such data counts as if
    it were: a default keeps its id, and one that is not about health may not be rewritten into one that is.
    """
    if rule_id in _DEFAULTS:
        return rule_id in HEALTH_RULES
    return rule_id.partition(".")[0] in HEALTH_METRICS
