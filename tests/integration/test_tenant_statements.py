"""Every named statement of the API may be run by the tenants' role, but for those of the services' own work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import asyncpg

from services.adapters.queries import Queries
from services.adapters.tenants import TENANT_ROLE

FILES = [path for path in sorted(Path("services/api").rglob("*.sql")) if "node_modules" not in path.parts]
SERVICES: Mapping[str, frozenset[str]] = {
    # Whoever comes is not known yet, or is being let in.
    "services/api/identity/queries.sql": frozenset(
        [
            "sessions_by_ids",
            "session_locked",
            "session_insert",
            "sessions_forget",
            "session_remark",
            "password_rehashed",
            "failures_locked",
            "failures_begin",
            "failures_count",
            "failures_clear",
            "failures_uncount",
            "failures_forget",
        ]
    ),
    "services/api/store/access.sql": frozenset(
        ["key_with_account", "display_with_account", "pairing_forget", "pairing_insert", "pairing"]
    ),
    "services/api/store/queries.sql": frozenset(["user_by_username", "users_by_ids", "device_changes"]),
    # Worked out for whole communities, beside the requests.
    "services/api/data/queries.sql": frozenset(
        [
            "closed_to",
            "put_quarters",
            "put_hours",
            "drop_quarters",
            "drop_hours",
            "drop_stale",
            "forecast_claim",
            "put_forecast",
            "drop_forecasts",
        ]
    ),
    "services/api/store/privacy.sql": frozenset(["put_baselines", "drop_baselines"]),
}
"""By file: what runs in the services' login, because there is no scope yet or none that would do."""


async def test_every_statement_of_the_api_may_be_run_by_the_tenants_role(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"SET ROLE {TENANT_ROLE}")
    refused: dict[str, frozenset[str]] = {}
    asked = 0
    for path in FILES:
        names = set()
        for name, statement in Queries(path).items():
            asked += 1
            try:
                await connection.execute(f"EXPLAIN (GENERIC_PLAN) {statement.rstrip().rstrip(';')}")
            except asyncpg.InsufficientPrivilegeError:
                names.add(name)
        if names:
            refused[path.as_posix()] = frozenset(names)
    await connection.close()
    assert asked > 200
    assert refused == SERVICES, "ask a guarded function, or say in SERVICES why the services' login runs it"
