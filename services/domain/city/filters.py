"""What a subscription asks for: types by pattern, communities, severities and kinds."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from services.domain.city.catalogue import CATALOGUE, CityEventType
from services.domain.city.vocabulary import DataClass

PATTERN = re.compile(r"^(\*|[a-z]+\.(\*|[a-z_]+))$")
"""Everything, a family, or one type: `*`, `order.*`, `alert.raised`."""


@dataclass(frozen=True, slots=True)
class Filter:
    """`severities` and `kinds`, where they are not empty, hold back events that have one which is not named; an event
    that has none (an order from before it was told, a report) passes.
    """

    types: tuple[str, ...] = ("*",)
    communities: tuple[str, ...] = ()
    """Empty: all that the account reaches."""
    severities: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def matched(self) -> list[CityEventType]:
        return [one for one in CATALOGUE if any(_matches(pattern, one) for pattern in self.types)]

    def types_for(self, granted: Collection[DataClass]) -> list[str]:
        """The outbox's names of what is asked for and may be sent at all."""
        return [one.type for one in self.matched() if one.requires <= set(granted)]

    def takes(self, data: Mapping[str, Any]) -> bool:
        """Whether a row of a type and community that are asked for is meant as well."""
        severity, kind = data.get("severity"), data.get("kind")
        if self.severities and isinstance(severity, str) and severity not in self.severities:
            return False
        return not (self.kinds and isinstance(kind, str) and kind not in self.kinds)


def _matches(pattern: str, one: CityEventType) -> bool:
    if pattern == "*":
        return True
    family, _, what = pattern.partition(".")
    return one.family == family if what == "*" else one.type == pattern


def unmatched(patterns: Collection[str]) -> list[str]:
    """Those that name nothing that is published."""
    return [one for one in patterns if not any(_matches(one, each) for each in CATALOGUE)]
