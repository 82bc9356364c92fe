"""Dry runs against the registry as it is: for the API and the command line; nothing is written."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.plans.around import Concern, concern_of, facts_of, load_world
from services.adapters.rules import load_defaults
from services.domain.plans.plan import Plan
from services.domain.plans.rehearsal import Rehearsal, rehearse
from services.domain.vocabulary import Severity

MADE_UP = "00000000-0000-0000-0000-000000000000"


class NoSuchAlert(Exception):
    """There is no such alert, or no such device, in that community."""


async def dry_run(
    connection: asyncpg.Connection[Any], community_id: str, plan: Plan, version: int, alert_id: UUID
) -> Rehearsal:
    """Against an alert that was raised. Raises NoSuchAlert."""
    found = await concern_of(connection, alert_id)
    if found is None or found[0].community_id != community_id:
        raise NoSuchAlert(str(alert_id))
    return await _rehearse(connection, plan, version, found[0], found[1])


async def dry_run_made_up(
    connection: asyncpg.Connection[Any],
    community_id: str,
    plan: Plan,
    version: int,
    rule_id: str,
    device_id: str,
    severity: Severity,
) -> Rehearsal:
    """Against an alert that never was. Raises NoSuchAlert where the device is not there."""
    row = await connection.fetchrow(
        "SELECT device_no, kind, place FROM device WHERE id = $1 AND community_id = $2 AND retired_at IS NULL",
        device_id,
        community_id,
    )
    if row is None:
        raise NoSuchAlert(device_id)
    rule = next((one for rules in load_defaults().values() for one in rules if one.id == rule_id), None)
    now_ms = time.time_ns() // 1_000_000
    concern = Concern(
        alert_id=MADE_UP,
        community_id=community_id,
        rule_id=rule_id,
        family=(rule.family or rule.id) if rule is not None else rule_id,
        kind=row["kind"],
        severity=severity.value,
        life_safety=rule.life_safety if rule is not None else False,
        title=rule.title if rule is not None else plan.title,
        place=row["place"],
        onset_ms=now_ms,
        correlation=f"{device_id}@{now_ms}",
        device_no=row["device_no"],
        device_id=device_id,
    )
    return await _rehearse(connection, plan, version, concern, True)


async def _rehearse(
    connection: asyncpg.Connection[Any], plan: Plan, version: int, concern: Concern, standing: bool
) -> Rehearsal:
    found = await facts_of(connection, concern)
    if found is None:
        raise NoSuchAlert(concern.alert_id)
    facts, _ = found
    world = await load_world(connection, plan, facts, standing)
    return rehearse(plan, version, facts, world, time.time_ns() // 1_000_000)
