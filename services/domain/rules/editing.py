"""What a community may put in place of a rule, and how its versions are counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.domain.devices.kind import DeviceKind
from services.domain.rules.parameters import GeofenceParameters
from services.domain.rules.reasons import is_health
from services.domain.rules.rule import Mode, Rule
from services.domain.vocabulary import Label


class Origin(StrEnum):
    """Whose text is in force."""

    DEFAULT = "default"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Standing:
    """One rule as it is in force in one community."""

    kind: str
    rule: Rule
    """With the version that names its text in this community."""
    origin: Origin
    newest: int
    """What an edit has to name: the newest version, in force or not."""
    default: Rule | None
    why_not: str = ""
    """Why the newest version is not the one in force; empty: it is."""

    @property
    def life_safety(self) -> bool:
        return self.rule.life_safety or (self.default is not None and self.default.life_safety)


def default_again(default: Rule, newest: int, default_version: int) -> int:
    """The version of a default that is back in force since `newest`, when the default's own was `default_version`.

    It goes on growing with the default's, so that no number ever names two texts in one community.
    """
    return newest + max(0, default.version - default_version)


def about_health(kind: DeviceKind, rule: Rule) -> bool:
    """Whether its alerts tell something of a person's health or whereabouts."""
    private = [metric.name for metric in kind.metrics if metric.health]
    if isinstance(rule.parameters, GeofenceParameters):
        return bool({"latitude", "longitude"}.intersection(private))
    guarded = rule.guard is not None and any(name in rule.guard for name in private)
    return guarded or is_health(kind, rule.parameters)


def refused(kind: DeviceKind, default: Rule | None, after: Rule) -> Label | None:
    """Why this rule cannot take that one's place, whoever asks; None: it can."""
    if default is None or about_health(kind, default) or not about_health(kind, after):
        return None
    return Label(
        f"{after.id} 不是健康类规则，不能改看健康数据；请另起编号",
        f"{after.id} is not about health and cannot be made so: its alerts are shown to people who may not know; "
        "give the new rule an id of its own",
    )


def weakens(before: Standing | None, after: Rule | None) -> Label | None:
    """What a change takes away from people's safety; such a change needs force and a reason. `after` None: removed."""
    if before is None or not before.life_safety:
        return None
    if after is None:
        after = before.default
    if after is None:
        return Label("将取消一条生命安全规则", "this removes a life-safety rule")
    if after.mode is Mode.OFF:
        return Label("将关闭一条生命安全规则", "this switches a life-safety rule off")
    if not after.life_safety:
        return Label("该规则将不再属于生命安全", "this rule would be about life safety no longer")
    return None
