"""What becomes of what a rule remembers, and of its open alert, when the rule is changed (docs/decisions/0017)."""

from __future__ import annotations

from services.domain.rules.rule import Mode, Rule

_WATCHES = (
    "metric",
    "event",
    "clear_event",
    "then",
    "rule",
    "within",
    "compare",
    "edge",
    "area",
    "radius_m",
    "aggregate",
    "expect",
    "direction",
)
"""Parameters that say what is watched. The others say from where on and for how long it counts: those are re-judged."""

NO_RULE = "rule_removed"
"""Why an alert ended: its rule is gone or off, or the device is no longer in its scope, or is retired."""
OTHER_WATCH = "rule_watches_something_else"
FAILED = "rule_failed"


def shape_of(rule: Rule) -> str:
    """Two versions of a rule with the same shape understand each other's memory.

    A rule on trial keeps a memory of its own: gone live, it has to speak up about what stands already.
    """
    parameters = rule.parameters
    told = [type(parameters).__name__]
    told += [f"{name}={value}" for name in _WATCHES if (value := getattr(parameters, name, None)) is not None]
    if getattr(parameters, "every_s", None) is not None:
        told.append("sliced")
    if rule.family is not None and rule.family != rule.id:
        # Its alert is the family's: in another one it has to speak up anew.
        told.append(f"family={rule.family}")
    if rule.mode is Mode.SHADOW:
        told.append("shadow")
    return "|".join(told)
