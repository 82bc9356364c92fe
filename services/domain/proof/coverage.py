"""Which rules have been shown to fire, to stay silent where they must, and to clear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.domain.proof.run import Ran
from services.domain.rules.rule import Rule

FIRES, SILENT, CLEARS = "fires", "stays silent", "clears"


@dataclass(frozen=True, slots=True)
class Coverage:
    """`missing`: rule → what no case shows of it. `kinds`: rule kinds (by their parameters) that some case is about."""

    rules: int
    missing: Mapping[str, tuple[str, ...]]
    kinds: frozenset[str]
    all_kinds: frozenset[str]

    @property
    def covered(self) -> int:
        return self.rules - len(self.missing)


def cover(rules: Iterable[Rule], cases: Iterable[Ran]) -> Coverage:
    """Only what a case is about counts, and only where it went as expected."""
    fires: set[str] = set()
    silent: set[str] = set()
    clears: set[str] = set()
    for case in cases:
        if not case.passed:
            continue
        for rule in case.about:
            (fires if rule in case.fired else silent).add(rule)
            if rule in case.cleared:
                clears.add(rule)
    rules = list(rules)
    missing: dict[str, tuple[str, ...]] = {}
    for one in rules:
        shown = {FIRES: one.id in fires, SILENT: one.id in silent, CLEARS: one.id in clears}
        lacking = tuple(what for what, there in shown.items() if not there)
        if lacking:
            missing[one.id] = lacking
    return Coverage(
        len(rules),
        missing,
        frozenset(type(one.parameters).__name__ for one in rules if one.id in fires | silent),
        frozenset(type(one.parameters).__name__ for one in rules),
    )
