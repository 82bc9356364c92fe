"""Which plans are in force in a community."""

from __future__ import annotations

from typing import Any

import asyncpg
import structlog

from services.adapters.plans.around import Q
from services.adapters.plans.files import PlanFileError, parsed
from services.adapters.plans.runs import Live

log = structlog.get_logger(__name__)


async def live_plans(connection: asyncpg.Connection[Any], community_id: str) -> list[Live]:
    """The newest approved version of each, those that are off or removed left out.

    A version that was written by another release and cannot be read any more is said and left out: one broken plan
    must not keep the others from an alert.
    """
    found: list[Live] = []
    for row in await connection.fetch(Q["live_plans"], community_id):
        if row["mode"] != "live":
            continue
        try:
            found.append(Live(parsed(row["document"]), row["version"], row["approved_by"]))
        except PlanFileError as error:
            log.error("plan_unreadable", community=community_id, plan=row["plan_id"], why=str(error))
    return found
