"""Which class an order is of in its community, and so its terms."""

from __future__ import annotations

from typing import Any

import asyncpg

from services.domain.orders.order import Draft
from services.domain.orders.terms import Terms, plain_terms


async def terms_for(connection: asyncpg.Connection[Any], draft: Draft) -> Terms:
    """The terms of the class that the draft falls into."""
    return plain_terms(draft.severity)
