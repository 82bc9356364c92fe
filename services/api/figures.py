"""The key figures of a community as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime

from services.api.database import Connection
from services.api.models import KpiOut, KpisOut
from services.api.shapes import label
from services.api.store import work
from services.domain import kpis as domain


async def kpis(connection: Connection, community_id: str) -> KpisOut:
    now = datetime.now(UTC)
    counts = await work.counts(connection, community_id, now)
    return KpisOut(
        at=now,
        items=[
            KpiOut(
                name=kpi.name,
                label=label(kpi.label),
                value=kpi.value,
                unit=kpi.unit,
                formula=label(kpi.formula),
                numerator=kpi.numerator,
                denominator=kpi.denominator,
            )
            for kpi in domain.kpis(counts)
        ],
    )
