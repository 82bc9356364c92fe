"""Builds the engine of one partition from the database: registry, what was seen, states, open alerts, checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.adapters.log_rows import EMPTY, device_numbers, unpack
from services.adapters.queries import Queries
from services.adapters.registry import load_communities, load_devices
from services.adapters.rules import load_rules
from services.alerts import metrics
from services.alerts.holding import load_holding
from services.domain.devices.kind import DeviceKind
from services.domain.engine.core import Engine, OnFault
from services.domain.engine.decisions import OpenAlert, StateChange
from services.domain.engine.entries import LogRow
from services.domain.engine.subjects import BuildingRow, Roster, Seen, build_roster
from services.domain.ids import AlertId, DeviceNo, RuleId
from services.domain.rules.evaluation import Line
from services.domain.vocabulary import Severity

Q = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Loaded:
    engine: Engine
    checkpoints: dict[int, int]
    """Lane → the last seq whose consequences are committed."""
    away: bool
    """Whether this partition was evaluated before, or has entries older than `settling_s` that nobody has looked at."""


async def load_roster(
    connection: asyncpg.Connection[Any], partition: int, catalogue: Mapping[str, DeviceKind]
) -> Roster:
    """The registry as the rules see it."""
    rules = await load_rules(connection, [partition])
    metrics.UNREADABLE_RULES.labels(str(partition)).set(len(rules.unreadable))
    communities = await load_communities(connection, [partition])
    devices = await load_devices(connection, [partition])
    buildings = [BuildingRow(**row) for row in await connection.fetch(Q["load_buildings"], partition)]
    away = {row["household_id"]: row["away_until_ms"] for row in await connection.fetch(Q["load_away"], partition)}
    roster = build_roster(catalogue, rules.rulebook, communities, devices, buildings, away, Line())
    roster.holding = await load_holding(connection, partition, communities)
    return roster


async def load_engine(
    connection: asyncpg.Connection[Any],
    consumer: str,
    partition: int,
    catalogue: Mapping[str, DeviceKind],
    on_fault: OnFault,
    settling_s: float = 0.0,
) -> Loaded:
    """One snapshot, so that what was seen fits to what is still to be read."""
    first = bool(await connection.fetch(Q["start_checkpoints"], consumer, partition))
    away = not first or await connection.fetchval(Q["log_began_before"], partition, settling_s)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch(Q["load_checkpoints"], consumer, partition)
        checkpoints = {row["lane"]: row["seq"] for row in rows}
        roster = await load_roster(connection, partition, catalogue)
        ahead = await _ahead(connection, partition, checkpoints)
        seen = {
            DeviceNo(row["device_no"]): Seen(
                row["seen_ms"],
                row["online"],
                row["online_since_ms"] or 0,
                row["session"],
                row["newest_ms"] or 0,
            )
            for row in await connection.fetch(Q["load_seen"], partition, ahead)
        }
        states = [
            StateChange(RuleId(row["rule_id"]), row["subject"], _value(row["state"]), row["shape"])
            for row in await connection.fetch(Q["load_states"], partition)
        ]
        opened = [
            OpenAlert(
                AlertId(row["id"]),
                row["family"],
                row["subject"],
                Severity(row["severity"]),
                row["state"],
                [RuleId(rule_id) for rule_id in row["active_rules"]],
                row["correlation"],
                row["onset_ms"],
                row["life_safety"],
                row["shadow"],
            )
            for row in await connection.fetch(Q["load_open_alerts"], partition)
        ]
    engine = Engine(roster, opened, on_fault)
    engine.restore(states, seen)
    return Loaded(engine, checkpoints, away)


def _value(stored: Any) -> Any:
    return json.loads(stored) if isinstance(stored, str) else stored


async def read_log(
    connection: asyncpg.Connection[Any], partition: int, lane: int, after: int, limit: int
) -> list[LogRow]:
    """The next rows of one lane, in order."""
    rows = await connection.fetch(Q["read_log"], partition, lane, after, limit)
    return [_log_row(row) for row in rows]


def _log_row(row: asyncpg.Record) -> LogRow:
    why = ""
    try:
        readings = unpack(row["readings"], row["packed"])
    except ValueError as error:
        readings, why = EMPTY, str(error)
    return LogRow(row["lane"], row["seq"], row["committed_at"], *readings, _value(row["body"]), why)


async def _ahead(connection: asyncpg.Connection[Any], partition: int, after: Mapping[int, int]) -> set[int]:
    """Devices with readings in the part of the log that is still to be read, on either lane."""
    found: set[int] = set()
    async for row in connection.cursor(Q["log_devices"], partition, after[1], after[0], prefetch=16):
        found |= device_numbers(row["device_nos"])
    return found
