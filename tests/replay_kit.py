"""Ingest and the alert engine as they run live, on real tables, in a time that the test steps through by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg

from bench.hot_path import Silent
from services.adapters.mqtt import Inbound
from services.adapters.postgres import open_pool
from services.alerts import lease as leases
from services.alerts.partition import PartitionWorker
from services.alerts.settings import AlertSettings
from services.alerts.store import CONSUMER
from services.domain.devices import BY_NAME, CATALOGUE
from services.domain.ids import PARTITIONS, CommunityId, partition_of
from services.domain.messages import Lane as LaneName
from services.ingest import state_store, store
from services.ingest.admission import Admission
from services.ingest.batch import Batch, Owner
from services.ingest.database import Held
from services.ingest.lane import Lane, LaneOptions
from services.ingest.limits import Limiter, Limits, Rate
from services.ingest.registry import kind_spec
from services.ingest.registry_keeper import RegistryKeeper
from services.ingest.state import StateFold


class Hand:
    """A clock that stands until it is moved."""

    steps = 0

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def now_ms(self) -> int:
        return self.at_ms

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at_ms / 1000, UTC)

    async def keep(self, every_s: float = 1.0) -> None:
        await asyncio.Event().wait()


@dataclass(slots=True)
class Sent:
    """One message as the broker hands it over."""

    received_ms: int
    community: str
    device: str
    channel: str
    body: Any

    def inbound(self, number: int) -> Inbound:
        topic = f"sc/{self.community}/{self.device}/up/{self.channel}"
        return Inbound(topic, json.dumps(self.body).encode(), 1, number, False, self.received_ms)


@dataclass
class Live:
    """Both services of one partition. `step` is all that moves: nothing here looks at the time of day."""

    clock: Hand
    lanes: dict[str, Lane]
    worker: PartitionWorker
    fold: StateFold
    writer: Held
    counted: int = field(default=0)

    async def deliver(self, sent: list[Sent]) -> None:
        """Stores them, a batch a lane, and the states that come of it."""
        for name, lane in self.lanes.items():
            mine = [one for one in sent if (one.channel == "telemetry") == (name == "telemetry")]
            if not mine:
                continue
            messages = [one.inbound(self.counted + place) for place, one in enumerate(mine, start=1)]
            self.counted += len(mine)
            batch = lane._batch(messages, await lane._checker.check(messages))
            await lane._store(batch)
            if name == "telemetry" and (batch.checked.clocks or batch.checked.floods):
                await self.lanes["event"].note(batch.checked.clocks, batch.checked.floods)
        pending, positions = self.fold.take()
        if pending:
            await self.writer.once(lambda c: state_store.save(c, pending, positions))

    async def step(self, to_ms: int) -> None:
        """Reads the log to its end, then runs the clocks up to a time."""
        await self._read(to_ms)
        self.worker._next_tick = 0.0
        await self.worker._turn()

    async def _read(self, at_ms: int) -> None:
        """As when somebody has looked just then what the log holds; clocks do not run beyond that."""
        self.clock.at_ms = at_ms
        self.worker._next_tick = float("inf")
        self.worker.wake.set()
        while await self.worker._turn():
            pass

    def next_due(self) -> int | None:
        engine = self.worker._engine
        assert engine is not None
        return engine.next_due()

    async def live(self, sent: list[Sent], window_ms: int, until_ms: int, exactly: bool = True) -> None:
        """Everything in windows of time. `exactly`: a window is cut where a clock is due, as if it had been waited for;
        else the clocks are looked at when the window is over, as they are live."""
        sent = sorted(sent, key=lambda one: one.received_ms)
        place = 0
        while self.clock.at_ms < until_ms:
            end = min(self.clock.at_ms + window_ms, until_ms)
            due = self.next_due() if exactly else None
            if due is not None and self.clock.at_ms < due < end:
                end = due
            taken = place
            while taken < len(sent) and sent[taken].received_ms < end:
                taken += 1
                if exactly and sent[taken - 1].channel == "status":
                    break
            if taken > place:
                await self.deliver(sent[place:taken])
                if exactly:
                    await self._read(sent[taken - 1].received_ms)
                    # What has just come may have set a clock that runs out before the window does.
                    due = self.next_due()
                    end = min(end, max(due, self.clock.at_ms)) if due is not None else end
                place = taken
            await self.step(end)


@asynccontextmanager
async def living(database_url: str, community: str, start_ms: int) -> AsyncIterator[Live]:
    partition = partition_of(CommunityId(community))
    owner = "replay/1"
    async with (
        await open_pool(database_url, name="replay-ingest", max_size=3) as ingest_pool,
        await open_pool(database_url, name="replay-states", max_size=2) as state_pool,
        await open_pool(database_url, name="replay-alerts", max_size=2) as alert_pool,
    ):
        registry = RegistryKeeper(ingest_pool, {kind.name: kind_spec(kind) for kind in CATALOGUE}, lambda: None)
        await registry.load()
        async with ingest_pool.acquire() as connection:
            await leases.hold(connection, "ingest", owner, range(PARTITIONS), 36_000)
        async with alert_pool.acquire() as connection:
            lease = (await leases.hold(connection, CONSUMER, owner, [partition], 36_000))[partition]
        fold = StateFold()
        sessions: dict[Any, Any] = {}
        limits = Limits(telemetry=Rate(5, 200), events=Rate(5, 200))
        admission = Admission(Limiter(limits))
        held = {name: Held(ingest_pool, name, 30, 1) for name in ("event", "telemetry")}
        lanes: dict[str, Lane] = {}

        def committed(number: int) -> Any:
            def on_commit(batch: Batch) -> None:
                state_store.fold_batch(fold, batch.checked, batch.written.numbers, number)

            return on_commit

        for number, name in enumerate(("event", "telemetry")):
            who = Owner("replay", owner, number, tuple(range(PARTITIONS)))
            options = LaneOptions(LaneName.EVENT if number == 0 else LaneName.TELEMETRY, who, 10_000, 0.05)
            lane = Lane(options, Silent(), held[name], registry, sessions, committed(number), admission)
            lane.adopt(await held[name].once(partial(store.claim, owner=who)))
            lanes[name] = lane
        clock = Hand(start_ms)
        settings = AlertSettings(database_url="postgresql://unused", alerts_settle_s=0, alerts_slack_s=0)
        worker = PartitionWorker(alert_pool, lease, settings, BY_NAME, clock)  # type: ignore[arg-type]
        await worker._load()
        writer = Held(state_pool, "states", 30, 1)
        try:
            yield Live(clock, lanes, worker, fold, writer)
        finally:
            for one in (*held.values(), writer):
                await one.drop()


async def stored_alerts(connection: asyncpg.Connection[Any]) -> dict[str, dict[str, Any]]:
    """What the live engine wrote, in the form of `proof.backtest.told`; the platform's own alerts are left out."""
    rows = await connection.fetch(
        "SELECT a.*, (SELECT json_agg(json_build_array((extract(epoch FROM o.at) * 1000)::bigint, o.severity) "
        "ORDER BY o.id) FROM alert_occurrence o WHERE o.alert_id = a.id AND o.what IN ('raised', 'severity')) AS path "
        "FROM alert a WHERE kind <> 'platform'"
    )

    def ms(at: datetime | None) -> int | None:
        return None if at is None else round(at.timestamp() * 1000)

    return {
        str(row["id"]): {
            "rule": row["rule_id"],
            "version": row["rule_version"],
            "family": row["family"],
            "subject": row["subject"],
            "severity": row["severity"],
            "severities": json.loads(row["path"]),
            "why": {"zh": row["why_zh"], "en": row["why_en"]},
            "onset_ms": ms(row["onset_at"]),
            "fired_ms": ms(row["fired_at"]),
            "last_ms": ms(row["last_at"]),
            "cleared_ms": ms(row["cleared_at"]),
            "occurrences": row["occurrences"],
            "trigger": row["trigger"] if isinstance(row["trigger"], dict) else json.loads(row["trigger"]),
            "correlation": row["correlation"],
            # A live engine has just started; history has no start.
            "held": [why for why in row["held"] if why != "settling"],
        }
        for row in rows
    }
