"""Which rules have been shown to fire, to stay silent where they must, and to clear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.domain.proof.run import Ran
from services.domain.rules.document import BY_WORD
from services.domain.rules.rule import Rule

FIRES, SILENT, CLEARS = "fires", "stays silent", "clears"


@dataclass(frozen=True, slots=True)
class Coverage:
    """`missing`: rule → what no case shows of it. `kinds`: the rule kinds of which a case shows a rule that fires and
    one a rule that stays silent; `all_kinds`: all that there are, whether a default rule is of them or not."""

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
    kinds_fire: set[str] = set()
    kinds_silent: set[str] = set()
    for case in cases:
        if not case.passed:
            continue
        (kinds_fire if set(case.about) <= case.fired else kinds_silent).update(case.kinds)
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
    return Coverage(len(rules), missing, frozenset(kinds_fire & kinds_silent), frozenset(BY_WORD))
