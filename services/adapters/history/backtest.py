"""Runs rulebooks over the stored history of a community with the live engine, all of them in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from services.adapters.history.holding import load_holding
from services.adapters.history.stream import Q, Source, Way, choose, ms, pieces, silences
from services.adapters.registry import load_communities, load_devices
from services.domain.devices.kind import DeviceKind
from services.domain.engine.core import Engine
from services.domain.engine.replay import replay
from services.domain.engine.subjects import BuildingRow, Roster, build_roster
from services.domain.proof.backtest import warm_up_ms
from services.domain.proof.tally import Alerted, Tally
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.rules.evaluation import Line
from services.domain.rules.rule import Rule
from services.domain.rules.rulebook import Rulebook, applies

Progress = Callable[[float], None]
"""How much of the time is behind us, 0 to 1."""

MOST_ALERTS = 200_000
"""A rulebook that says more than this in one backtest floods; it is ended there and said so."""


class UnknownCommunity(ValueError):
    """There is no such community."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`warm_up` None: as long as the rules remember. `sample`: at most so many devices of each kind are looked at.
    `deadline_s`: how long it may take; what has been counted by then is what is told."""

    community: str
    begin: datetime
    end: datetime
    way: Way = Way.AUTO
    warm_up: timedelta | None = None
    only: frozenset[str] | None = None
    """Rules that matter: devices that none of them applies to are left out. None: all."""
    sample: int | None = None
    settle_ms: int = 3_600_000


@dataclass(slots=True)
class Backtest:
    """One rulebook's alerts. `faults`: rules that failed, and how often; `cut`: it said too much to go on."""

    alerts: list[Alerted] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Backtested:
    """`devices` of `all_devices` were looked at. `until`: how far it came, where it was ended before its end."""

    community: CommunityRow
    source: Source
    warm_from: datetime
    until: datetime
    devices: int
    all_devices: int
    books: tuple[Backtest, ...]

    @property
    def share(self) -> float:
        return self.devices / self.all_devices if self.all_devices else 1.0


async def backtest(
    connection: asyncpg.Connection[Any],
    plan: Plan,
    books: Sequence[Rulebook],
    catalogue: Mapping[str, DeviceKind],
    progress: Progress = lambda _share: None,
    stop: Callable[[], bool] = lambda: False,
) -> Backtested:
    """Raises UnknownCommunity, LogTooShort. `stop` is asked between pieces: true ends it with what there is."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        community, rows, everybody, buildings, away = await _registry(connection, plan, books)
        rosters = [
            build_roster(catalogue, book, [community], rows, buildings, away, Line()) for book in books
        ]  # each its own: an engine keeps its subjects' states in them
        warm_from = plan.begin - (plan.warm_up if plan.warm_up is not None else _warm_up(rosters))
        holding = await load_holding(connection, community, warm_from, plan.end)
        for roster in rosters:
            roster.holding = holding
        source = Source(await choose(connection, plan.way, [community.partition], warm_from))
        source.silences_since = await connection.fetchval(Q["delays_since"])
        quiet = await silences(connection, sorted(rosters[0].devices), warm_from, plan.end)
        runs = [_Run(roster, plan, warm_from) for roster in rosters]
        until = plan.end
        first, whole = ms(warm_from), max(1, ms(plan.end) - ms(warm_from))
        async for piece in pieces(connection, source, rosters[0], community.partition, warm_from, plan.end):
            for run in runs:
                run.feed(piece, quiet.heard)
            progress((piece[-1].received_ms - first) / whole)
            if stop() or all(run.test.cut for run in runs):
                until = datetime.fromtimestamp(piece[-1].received_ms / 1000, UTC)
                break
        else:
            for run in runs:
                run.finish(ms(plan.end) - 1, quiet.heard)
        progress(1.0)
    tests = tuple(run.done() for run in runs)
    return Backtested(community, source, warm_from, until, len(rosters[0].devices), everybody, tests)


async def _registry(
    connection: asyncpg.Connection[Any], plan: Plan, books: Sequence[Rulebook]
) -> tuple[CommunityRow, list[DeviceRow], int, list[BuildingRow], dict[str, int]]:
    communities = [one for one in await load_communities(connection) if one.id == plan.community]
    if not communities:
        raise UnknownCommunity(f"there is no community {plan.community}")
    community = communities[0]
    rows = [
        row
        for row in await load_devices(connection, [community.partition])
        if row.community_id == community.id and not row.retired
    ]
    if plan.only is not None:
        rows = _concerned(rows, books, plan.only)
    everybody = len(rows)
    if plan.sample is not None and len(rows) > plan.sample:
        # Evenly over the registry, and with the gateways of those that are chosen.
        chosen = {rows[place * len(rows) // plan.sample].device_no for place in range(plan.sample)}
        chosen |= {row.gateway_no for row in rows if row.device_no in chosen and row.gateway_no is not None}
        rows = [row for row in rows if row.device_no in chosen]
    buildings = [BuildingRow(**row) for row in await connection.fetch(Q["buildings"], community.id)]
    away = {row["household_id"]: row["away_until_ms"] for row in await connection.fetch(Q["away"], community.id)}
    return community, rows, everybody, buildings, away


def _concerned(rows: list[DeviceRow], books: Sequence[Rulebook], only: frozenset[str]) -> list[DeviceRow]:
    def watched(row: DeviceRow) -> bool:
        return any(
            rule.id in only and applies(rule, row)
            for book in books
            for rule in book.of_kind(row.community_id, row.kind)
        )

    kept = {row.device_no for row in rows if watched(row)}
    kept |= {row.gateway_no for row in rows if row.device_no in kept and row.gateway_no is not None}
    return [row for row in rows if row.device_no in kept]


def _warm_up(rosters: Sequence[Roster]) -> timedelta:
    rules: dict[int, Rule] = {}
    longest = 0
    for roster in rosters:
        for subject in roster.subjects():
            longest = max(longest, subject.facts.interval_ms)
            for one in subject.rules.by_id.values():
                rules[id(one.rule)] = one.rule
    return timedelta(milliseconds=warm_up_ms(rules.values(), longest))


class _Run:
    """One rulebook on its way through the history."""

    def __init__(self, roster: Roster, plan: Plan, warm_from: datetime) -> None:
        self.test = Backtest()
        self._tally = Tally()
        self._engine = Engine(roster, on_fault=self._failed)
        self._engine.restore((), {})
        self._engine.listen(ms(warm_from), plan.settle_ms)
        self._engine.tick(ms(warm_from))

    def feed(self, piece: list[Any], heard: Any) -> None:
        if not self.test.cut:
            for decided in replay(self._engine, piece, 0, heard=heard):
                self._tally.take(decided)
            self.test.cut = len(self._tally.alerts) > MOST_ALERTS

    def finish(self, until_ms: int, heard: Any) -> None:
        if not self.test.cut:
            for decided in replay(self._engine, (), until_ms, heard=heard):
                self._tally.take(decided)

    def done(self) -> Backtest:
        self.test.alerts = self._tally.sorted()
        return self.test

    def _failed(self, rule_id: str, _subject: str, _error: Exception) -> None:
        self.test.faults[rule_id] = self.test.faults.get(rule_id, 0) + 1
