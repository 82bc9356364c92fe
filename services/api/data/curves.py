"""The curves of a community: what each one sums, and the job that keeps them by the quarter and by the hour."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import structlog

from services.api.data import store
from services.api.store.database import AWAY, Connection, Database
from services.api.store.tenancy import SERVICE
from services.domain.registry import FIRE_LANE

log = structlog.get_logger(__name__)

QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)
KEPT_QUARTERS = timedelta(days=8)
"""The longest curve that a cockpit asks for is a week."""
KEPT_HOURS = timedelta(days=56)
"""Eight weeks: what a forecast learns from."""
_FIRST = timedelta(hours=25)
"""What a community that has no rows yet gets first: the curves of a day, which a cockpit opens with."""
_LOOKBACK = timedelta(hours=2)
"""Where a counter's readings before the first bucket are looked for: several of the slowest meter's intervals."""
_SILENT = timedelta(hours=3)
"""So long a parking sensor's last word counts: three of its intervals."""
_AT_ONCE_QUARTERS, _AT_ONCE_HOURS = timedelta(hours=6), timedelta(days=1)
_OPEN = timedelta(minutes=75)
"""Where no hour was ever closed to telemetry, one that ended so long ago counts as closed."""
_BEHIND = timedelta(hours=4)
"""Where the roll-ups are this far behind, curves do not wait for them."""

Sort = Literal["gauge", "counter", "level"]


@dataclass(frozen=True, slots=True)
class Curve:
    """Which metric of which kind is summed. `hourly`: a gauge's mean of an hour times this is what a forecast is of."""

    name: str
    kind: str
    metric: str
    sort: Sort
    quarters: bool
    hourly: float = 1.0


CURVES: tuple[Curve, ...] = (
    Curve("power", "electricity_meter", "power", "gauge", True, hourly=0.001),
    Curve("water", "water_meter", "total_m3", "counter", True),
    Curve("gas", "gas_meter", "total_m3", "counter", True),
    Curve("pv", "pv_inverter", "power", "gauge", True, hourly=0.001),
    Curve("parking", "parking_sensor", "occupied", "level", False),
    Curve("visits", "people_counter", "in", "counter", False),
)
BY_NAME = {curve.name: curve for curve in CURVES}


async def quarters(
    connection: Connection, community_id: str, curve: Curve, start: datetime, end: datetime
) -> list[tuple[datetime, float]]:
    """Worked out from readings; buckets without any are left out."""
    if curve.sort == "gauge":
        return await store.gauge(connection, community_id, curve.kind, curve.metric, start, end, QUARTER)
    return await store.counter(connection, community_id, curve.kind, curve.metric, start, end, QUARTER, _LOOKBACK)


async def hours(
    connection: Connection, community_id: str, curve: Curve, start: datetime, end: datetime
) -> list[tuple[datetime, float]]:
    """From the roll-ups, exact whenever it is asked."""
    if curve.sort == "level":
        return await store.level(
            connection, community_id, curve.kind, curve.metric, start, end, HOUR, _SILENT, FIRE_LANE
        )
    if curve.sort == "counter":
        return await store.used_hours(connection, community_id, curve.kind, curve.metric, start, end)
    found = await store.mean_hours(connection, community_id, curve.kind, curve.metric, start, end)
    return [(at, value * curve.hourly) for at, value in found]


async def recent(
    connection: Connection, community_id: str, curve: Curve, start: datetime, end: datetime
) -> list[tuple[datetime, float]] | None:
    """Quarters as they are kept, and what has no row yet from readings; None where the kept ones do not reach back."""
    rows = await store.kept_quarters(connection, community_id, curve.name, start, end)
    at = start
    for row in rows:
        if row["bucket"] != at:
            break
        at += QUARTER
    if at == start:
        return None
    # The last row may be of a quarter in which somebody speaks still.
    tail = max(start, at - QUARTER if not rows[-1]["final"] and at == rows[-1]["bucket"] + QUARTER else at)
    known = [(row["bucket"], row["value"]) for row in rows if row["bucket"] < tail and row["value"] is not None]
    return known + await quarters(connection, community_id, curve, tail, end)


def floor(at: datetime, step: timedelta) -> datetime:
    since = at - datetime(2000, 1, 3, tzinfo=UTC)
    return at - since % step


class CurveKeeper:
    """Several may run: a community is worked on by one at a time, and a row worked out twice is the same row.

    `rest`: after each step it rests so many times as long as the step took, so that people who ask find the database
    free while weeks are made up for.
    """

    def __init__(self, database: Database, every_s: float, rest: float = 0.0) -> None:
        self._database = database
        self._every_s = every_s
        self._rest = rest

    async def run(self) -> None:
        """For ever; what fails is tried again at the next turn."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.once(datetime.now(UTC))
            except AWAY as error:
                log.warning("curves_wait_for_database", why=str(error) or type(error).__name__)
            except Exception:
                log.exception("curves_not_kept")

    async def once(self, now: datetime) -> int:
        """All that is due by now, of every community; how many statements it took."""
        async with self._database.read(as_=SERVICE) as connection:
            communities = await store.communities(connection)
        done = 0
        for community_id in communities:
            began = time.monotonic()
            while (steps := await self._step(community_id, now)) > 0:
                done += steps
                await asyncio.sleep(self._rest * (time.monotonic() - began))
                began = time.monotonic()
        return done

    async def _step(self, community_id: str, now: datetime) -> int:
        """One small transaction; 0 when there is nothing left."""
        async with self._database.hold() as connection, connection.transaction():
            if not await store.claim(connection, "curves", community_id):
                return 0
            closed = await store.closed_to(connection, community_id)
            if closed is None or closed > now or now - closed > _BEHIND:
                closed = floor(now - _OPEN, HOUR)
            marks = await store.stale(connection, community_id, 24)
            if marks:
                await self._again(connection, community_id, marks, closed)
                return 1
            return await self._quarters(connection, community_id, now, closed) or await self._hours(
                connection, community_id, now, closed
            )

    async def _quarters(self, connection: Connection, community_id: str, now: datetime, closed: datetime) -> int:
        """What is new of each curve, then what lies before it: never a gap between the first row and the last."""
        last, oldest = floor(now, QUARTER), floor(now - KEPT_QUARTERS, QUARTER)
        first: dict[Curve, datetime] = {}
        for curve in (one for one in CURVES if one.quarters):
            row = await store.quarters_known(connection, community_id, curve.name)
            first[curve] = row["first"] or floor(now - _FIRST, QUARTER)
            start = max(oldest, row["final_to"] or first[curve])
            there = row["known_to"] is not None and row["known_to"] >= last
            if start >= last or (there and start + QUARTER > closed):
                continue
            end = min(last, start + _AT_ONCE_QUARTERS)
            await self._write_quarters(connection, community_id, curve, start, end, closed)
            return 1
        for curve, end in first.items():
            if end > oldest:
                start = max(oldest, end - _AT_ONCE_QUARTERS)
                await self._write_quarters(connection, community_id, curve, start, end, closed)
                return 1
        await store.drop_quarters(connection, community_id, now - KEPT_QUARTERS - HOUR)
        return 0

    async def _write_quarters(
        self, connection: Connection, community_id: str, curve: Curve, start: datetime, end: datetime, closed: datetime
    ) -> None:
        found = dict(await quarters(connection, community_id, curve, start, end))
        buckets = _buckets(start, end, QUARTER)
        final = [at + QUARTER <= closed for at in buckets]
        await store.put_quarters(connection, community_id, curve.name, buckets, [found.get(b) for b in buckets], final)

    async def _hours(self, connection: Connection, community_id: str, now: datetime, closed: datetime) -> int:
        last = floor(closed, HOUR)
        for curve in CURVES:
            known = await store.hours_known(connection, community_id, curve.name)
            start = max(floor(now - KEPT_HOURS, HOUR), known or floor(now - KEPT_HOURS, HOUR))
            if start >= last:
                continue
            await self._write_hours(connection, community_id, curve, start, min(last, start + _AT_ONCE_HOURS))
            return 1
        await store.drop_hours(connection, community_id, now - KEPT_HOURS - HOUR)
        return 0

    async def _write_hours(
        self, connection: Connection, community_id: str, curve: Curve, start: datetime, end: datetime
    ) -> None:
        found = dict(await hours(connection, community_id, curve, start, end))
        buckets = _buckets(start, end, HOUR)
        await store.put_hours(connection, community_id, curve.name, buckets, [found.get(b) for b in buckets])

    async def _again(
        self, connection: Connection, community_id: str, marks: Sequence[store.Row], closed: datetime
    ) -> None:
        """Hours in which readings came late, and the one after each: a step belongs to its later reading."""
        await store.drop_stale(connection, [row["id"] for row in marks])
        asked = sorted({row["hour"] + n * HOUR for row in marks for n in (0, 1)})
        for curve in CURVES:
            known_hours = await store.hours_known(connection, community_id, curve.name)
            row = await store.quarters_known(connection, community_id, curve.name) if curve.quarters else None
            for hour in asked:
                if known_hours is not None and hour < known_hours:
                    await self._write_hours(connection, community_id, curve, hour, hour + HOUR)
                if row is not None and row["first"] is not None and row["first"] <= hour < row["known_to"]:
                    end = min(hour + HOUR, row["known_to"])
                    await self._write_quarters(connection, community_id, curve, hour, end, closed)


def _buckets(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    return [start + n * step for n in range(int((end - start) / step))]
