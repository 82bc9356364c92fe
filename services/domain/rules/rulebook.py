"""The rules in force: the catalogue's defaults, what a community put in their place, what is set for one device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.domain.ids import RuleId
from services.domain.registered import DeviceRow
from services.domain.rules.rule import Mode, Rule

Overrides = Mapping[str, Mapping[RuleId, Mapping[str, Any]]]
"""`device:{public id}` or `person:{id}` → rule → parameters that differ for it (`{"limit": 55}`)."""


@dataclass(frozen=True, slots=True)
class Rulebook:
    """`defaults`: by device kind. `communities`: community → device kind → its own rules; one with the id of a default
    stands in its place, with Mode.OFF it removes it."""

    defaults: Mapping[str, tuple[Rule, ...]]
    communities: Mapping[str, Mapping[str, tuple[Rule, ...]]] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=dict)

    def of_kind(self, community_id: str, kind: str) -> tuple[Rule, ...]:
        """All rules of the community for this kind, those that are off left out."""
        own = self.communities.get(community_id, {}).get(kind, ())
        replaced = {rule.id for rule in own}
        kept = [rule for rule in self.defaults.get(kind, ()) if rule.id not in replaced]
        return tuple(rule for rule in (*kept, *own) if rule.mode is not Mode.OFF)

    def fitted(self, rule: Rule, device: DeviceRow) -> Rule:
        """With what is set for this device or for who wears it; the device's own setting wins."""
        for subject in (f"person:{device.person_id}", f"device:{device.id}"):
            changes = self.overrides.get(subject, {}).get(rule.id)
            if changes:
                rule = replace(rule, parameters=replace(rule.parameters, **changes))
        return rule


def applies(rule: Rule, device: DeviceRow) -> bool:
    """Whether the device lies in the rule's scope."""
    scope = rule.scope
    return (
        scope.device_tags <= device.tags
        and scope.person_tags <= device.person_tags
        and (not scope.buildings or device.building_id in scope.buildings)
        and (not scope.grids or device.grid_id in scope.grids)
        and (not scope.households or device.household_id in scope.households)
        and (not scope.devices or device.id in scope.devices)
        and device.id not in scope.except_devices
    )


def by_kind(rules: Iterable[tuple[str, Rule]]) -> dict[str, tuple[Rule, ...]]:
    """(device kind, rule) pairs, grouped."""
    grouped: dict[str, list[Rule]] = {}
    for kind, rule in rules:
        grouped.setdefault(kind, []).append(rule)
    return {kind: tuple(found) for kind, found in grouped.items()}
