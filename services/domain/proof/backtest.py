"""What a rulebook would have said over a stretch of history, in figures for people, and two of these compared."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.domain.proof.tally import Alerted
from services.domain.rules.parameters import AbsenceParameters, OfflineParameters
from services.domain.rules.rule import Rule

DAY_MS = 86_400_000
LEAST_WARM_UP_MS = 3_600_000
_WEEK_S = 7 * 86_400
_MOVED_WITHIN_MS = DAY_MS
"""Alerts of one rule and subject further apart than this are two different ones."""


def warm_up_ms(rules: Iterable[Rule], longest_interval_ms: int) -> int:
    """How long before the first moment that counts the rules must watch, to know by then what they would know."""
    longest_s = 0.0
    for rule in rules:
        parameters = rule.parameters
        if isinstance(parameters, AbsenceParameters):
            longest_s = max(longest_s, 2 * 86_400)
        if isinstance(parameters, OfflineParameters):
            longest_s = max(longest_s, parameters.missed * longest_interval_ms / 1000)
        for field in dataclasses.fields(parameters):
            value = getattr(parameters, field.name)
            if field.name.endswith("_s") and isinstance(value, int | float):
                longest_s = max(longest_s, float(value))
            elif field.name == "min_weeks":
                longest_s = max(longest_s, (value + 1) * _WEEK_S)
    return LEAST_WARM_UP_MS + round(longest_s * 1000)


@dataclass(frozen=True, slots=True)
class Span:
    """What is counted: from (inclusive) to (exclusive), epoch ms, by the days of a time zone."""

    from_ms: int
    to_ms: int
    zone: str = "Asia/Shanghai"

    @property
    def days(self) -> float:
        return (self.to_ms - self.from_ms) / DAY_MS

    def counts(self, alert: Alerted) -> bool:
        return self.from_ms <= alert.fired_ms < self.to_ms

    def day(self, ms: int) -> str:
        return datetime.fromtimestamp(ms / 1000, ZoneInfo(self.zone)).date().isoformat()


def figures(alerts: Sequence[Alerted], span: Span, devices: int) -> dict[str, Any]:
    """Per rule and in all: alerts, orders (of live rules that were not held back), what was held back, the longest."""
    counted = [alert for alert in alerts if span.counts(alert)]
    by_rule: dict[str, list[Alerted]] = {}
    for alert in counted:
        by_rule.setdefault(alert.raised_by, []).append(alert)
    return {
        **_sums(counted, span),
        "standing_before": sum(
            alert.fired_ms < span.from_ms and (alert.cleared_ms is None or alert.cleared_ms >= span.from_ms)
            for alert in alerts
        ),
        "days": dict(sorted(Counter(span.day(alert.fired_ms) for alert in counted).items())),
        "devices": devices,
        "alerts_a_day_per_1000": _rate(len(counted) * 1000, span.days * devices),
        "orders_a_day_per_1000": _rate(sum(alert.orders for alert in counted) * 1000, span.days * devices),
        "life_safety": sum(alert.life_safety for alert in counted),
        "rules": {
            rule: {
                **_sums(found, span),
                "title": {"zh": found[0].title.zh, "en": found[0].title.en},
                "severities": dict(Counter(alert.severity.value for alert in found)),
                "subjects": len({alert.subject for alert in found}),
            }
            for rule, found in sorted(by_rule.items())
        },
    }


def _sums(alerts: Sequence[Alerted], span: Span) -> dict[str, Any]:
    return {
        "alerts": len(alerts),
        "occurrences": sum(alert.occurrences for alert in alerts),
        "orders": sum(alert.orders for alert in alerts),
        "orders_a_day": _rate(sum(alert.orders for alert in alerts), span.days),
        "suppressed": sum(alert.silent for alert in alerts),
        "shadow": sum(alert.shadow for alert in alerts),
        "open": sum(alert.cleared_ms is None for alert in alerts),
        "longest_s": round(max((alert.lasted_ms(span.to_ms) for alert in alerts), default=0) / 1000),
    }


def _rate(count: float, over: float) -> float:
    return round(count / over, 3) if over > 0 else 0.0


def told(alert: Alerted, private: bool = True) -> dict[str, Any]:
    """One alert as JSON, whole enough to be compared with a row of the database. Times are epoch ms.

    Not `private`: without what a person's body said.
    """
    hidden = not private and bool(alert.trigger.get("health"))
    return {
        "id": str(alert.id),
        "community": alert.community_id,
        "rule": alert.rule_id,
        "version": alert.rule_version,
        "raised_by": alert.raised_by,
        "family": alert.family,
        "subject": alert.subject,
        "name": alert.name,
        "kind": alert.kind,
        "severity": alert.severity.value,
        "severities": [[at_ms, severity.value] for at_ms, severity in alert.severities],
        "why": None if hidden else {"zh": alert.why.zh, "en": alert.why.en},
        "onset_ms": alert.onset_ms,
        "fired_ms": alert.fired_ms,
        "last_ms": alert.last_ms,
        "cleared_ms": alert.cleared_ms,
        "occurrences": alert.occurrences,
        "orders": alert.orders,
        "held": list(alert.held),
        "shadow": alert.shadow,
        "correlation": alert.correlation,
        "trigger": {"health": True} if hidden else dict(alert.trigger),
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """What B says otherwise than A. `moved` and `changed`: pairs of (A's alert, B's)."""

    same: int
    added: tuple[Alerted, ...]
    removed: tuple[Alerted, ...]
    moved: tuple[tuple[Alerted, Alerted], ...]
    """The same rule and subject at another time."""
    changed: tuple[tuple[Alerted, Alerted], ...]
    """The same alert with another severity, end, number of occurrences, or held back otherwise."""


def difference(
    a: Sequence[Alerted], b: Sequence[Alerted], span: Span, pairs: Mapping[str, str] | None = None
) -> Difference:
    """Alerts are the same where rule, subject and onset are. A rule on trial is compared by what it says.

    `pairs`: rules of B → the rule of A that they are compared with; of the others nothing is looked at then.
    """
    pairs = pairs or {}

    def key(alert: Alerted, named: Mapping[str, str]) -> _Key:
        return named.get(alert.raised_by, alert.raised_by), alert.subject, alert.onset_ms

    of_a = {key(one, {}): one for one in a if span.counts(one) and (not pairs or one.raised_by in pairs.values())}
    of_b = {key(one, pairs): one for one in b if span.counts(one) and (not pairs or one.raised_by in pairs)}
    both = of_a.keys() & of_b.keys()
    changed = tuple((of_a[one], of_b[one]) for one in of_a if one in both and not _same(of_a[one], of_b[one]))
    gone = [one for one in of_a if one not in both]
    came = [one for one in of_b if one not in both]
    moved: list[tuple[Alerted, Alerted]] = []
    by_place: dict[tuple[str, str], list[Alerted]] = {}
    for rule, subject, onset in came:
        by_place.setdefault((rule, subject), []).append(of_b[rule, subject, onset])
    removed: list[Alerted] = []
    for one in sorted(gone, key=lambda one: of_a[one].fired_ms):
        before = of_a[one]
        candidates = by_place.get(one[:2], [])
        nearest = min(candidates, key=lambda alert: abs(alert.fired_ms - before.fired_ms), default=None)
        if nearest is None or abs(nearest.fired_ms - before.fired_ms) > _MOVED_WITHIN_MS:
            removed.append(before)
        else:
            candidates.remove(nearest)
            moved.append((before, nearest))
    added = sorted((alert for left in by_place.values() for alert in left), key=lambda alert: alert.fired_ms)
    return Difference(len(both) - len(changed), tuple(added), tuple(removed), tuple(moved), changed)


_Key = tuple[str, str, int]
"""Rule, subject, onset."""


def _same(a: Alerted, b: Alerted) -> bool:
    """What it sends is compared only between two that may send: one on trial sends nobody by its nature."""
    return _said(a) == _said(b) and (a.shadow is not b.shadow or _sent(a) == _sent(b))


def _said(alert: Alerted) -> tuple[object, ...]:
    return tuple(severity for _, severity in alert.severities), alert.cleared_ms, alert.occurrences


def _sent(alert: Alerted) -> tuple[object, ...]:
    return alert.orders, alert.held
