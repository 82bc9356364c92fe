"""How many alerts a rule would raise a day: asked before a rule is taken, so that a flood is refused on paper."""

from __future__ import annotations

from typing import Protocol

from services.api.store.database import Database
from services.domain.rules.rule import Rule


class Estimate(Protocol):
    """Runs a rule over what the community stored."""

    async def __call__(self, database: Database, community_id: str, kind: str, rule: Rule) -> float | None:
        """Alerts a day, of all devices together; None: that cannot be told (nothing stored yet)."""


async def nothing_known(database: Database, community_id: str, kind: str, rule: Rule) -> float | None:
    """Where no history is looked at."""
    return None
