"""Roll-ups and metering in the database: equal to an oracle after every step of whatever happens, in whatever order.

LINHUB_HYPOTHESIS_EXAMPLES sets how many random histories (default 5), LINHUB_FAULT_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from services.adapters.mqtt import Inbound
from services.cli.meter import Refused, rate, record_swap
from services.domain.devices import BY_NAME
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition
from services.domain.metering import Meter, Swap
from services.ingest import rollups, store
from services.ingest.checked import Checked, Outcome, Reading
from services.ingest.registry import KnownDevice, kind_spec
from services.ingest.store import Batch, Owner
from tests.conftest import Mqtt
from tests.factory import put_community, small_community
from tests.fault_kit import SEED, tell
from tests.ingest_kit import Wire, ingest, lease, now_ms, until
from tests.metering_oracle import EXAMPLES, Found, Oracle

HOUR = timedelta(hours=1)
HOUR_MS = 3_600_000
ZONE = ZoneInfo("Asia/Shanghai")
HOME = "rolled"
OLD = datetime(2000, 1, 1, tzinfo=UTC)


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def at(ts_ms: int) -> datetime:
    return datetime.fromtimestamp(ts_ms / 1000, UTC)


class Killed(Exception):
    """Where a process would have died."""


class Dying:
    """A connection whose owner dies before its nth statement; the server then rolls back, as it does for the dead."""

    def __init__(self, connection: Any, statements: int) -> None:
        self._connection = connection
        self._left = statements

    def transaction(self) -> Any:
        return self._connection.transaction()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._connection, name)

        async def counted(*arguments: Any) -> Any:
            if self._left == 0:
                raise Killed
            self._left -= 1
            return await call(*arguments)

        return counted


@dataclass
class World:
    """One device, what was said of it so far, and the database beside the oracle."""

    db: asyncpg.Connection[Any]
    other: asyncpg.Connection[Any]
    device: KnownDevice
    counter: int
    meter: Meter
    owner: Owner
    numbers: dict[int, int]
    start: datetime
    hours: int
    said: dict[int, list[float | None]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    swaps: list[Swap] = field(default_factory=list)
    marker: datetime = OLD
    turn: int = 0

    def batch(self, readings: dict[int, list[float | None]]) -> Batch:
        """With every second message sent twice."""
        items = [
            Reading(0, ms(datetime.now(UTC)), self.device, ts, None, list(vals))
            for n, (ts, vals) in enumerate(readings.items())
            for _ in range(1 + n % 2)
        ]
        self.marker += timedelta(microseconds=1)
        return Batch([Inbound("t", b"", 0, 0, False, 0)], Checked(readings=items), self.marker)

    async def say(self, readings: dict[int, list[float | None]]) -> None:
        batch = self.batch(readings)
        await store.write(self.db, self.owner, batch, self.numbers, {})
        self.committed(batch, readings)

    def committed(self, batch: Batch, readings: dict[int, list[float | None]]) -> None:
        self.numbers.update(batch.written.numbers)
        for ts, vals in readings.items():
            before = self.said.get(ts)
            self.said[ts] = (
                vals if before is None else [b if b is not None else v for b, v in zip(before, vals, strict=True)]
            )
        self.done["readings"] += len(readings)

    async def check(self) -> None:
        """By hours and by days, over all of it and over a random part: the counter and each time another metric."""
        first, past = self.start - 30 * HOUR, self.start + (self.hours + 2) * HOUR
        await self.check_range("hour", first, past)
        await self.check_range("day", first, past)
        middle = self.start + HOUR * random.Random(self.done.total()).randrange(self.hours)
        await self.check_range("hour", middle, middle + 3 * HOUR)
        await self.check_range("day", middle, past)
        self.done["checks"] += 4

    async def check_range(self, bucket: str, first: datetime, past: datetime) -> None:
        edges = hour_edges(first, past) if bucket == "hour" else day_edges(first, past)
        self.turn += 1
        for position, name in enumerate(self.device.kind.metrics):
            if position not in (self.counter, self.turn // 4 % self.device.kind.width):
                continue
            readings = {ts: v for ts, vals in self.said.items() if (v := vals[position]) is not None}
            wanted = Oracle(Meter(self.meter.register, tuple(self.swaps))).buckets(
                readings, [ms(edge) for edge in edges]
            )
            rows = await self.db.fetch(
                "SELECT * FROM rollup_series($1, $2, $3, $4, $5, $6)",
                self.device.community, self.device.no, name, first, past, bucket,
            )  # fmt: skip
            assert {r["bucket"]: (r["n"], r["low"], r["high"], r["mean"], r["last"]) for r in rows} == {
                edge: (b.count, b.low, b.high, b.total / b.count, b.last) for edge, b in held(edges, wanted)
            }, (bucket, name)
            if position == self.counter:
                rows = await self.db.fetch(
                    "SELECT * FROM meter_series($1, $2, $3, $4, $5, $6)",
                    self.device.community, self.device.no, name, first, past, bucket,
                )  # fmt: skip
                assert {r["bucket"]: (r["used"], r["breaks"]) for r in rows} == {
                    edge: (b.used, b.breaks) for edge, b in held(edges, wanted)
                }, bucket


def held(edges: list[datetime], found: list[Found]) -> list[tuple[datetime, Found]]:
    return [(edge, bucket) for edge, bucket in zip(edges, found, strict=False) if bucket.count]


def hour_edges(first: datetime, past: datetime) -> list[datetime]:
    edge = first.replace(minute=0, second=0, microsecond=0)
    edges = [edge]
    while edges[-1] < past:
        edges.append(edges[-1] + HOUR)
    return edges


def day_edges(first: datetime, past: datetime) -> list[datetime]:
    edge = first.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    edges = [edge.astimezone(UTC)]
    while edges[-1] < past:
        edges.append(edges[-1] + 24 * HOUR)
    return edges


@asynccontextmanager
async def connections(url: str) -> AsyncIterator[tuple[Any, Any]]:
    db, other = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        for connection in (db, other):
            await connection.set_type_codec("jsonb", encoder=str, decoder=str, schema="pg_catalog")
            await connection.execute("SET timezone = 'UTC'")
        yield db, other
    finally:
        await db.close()
        await other.close()


async def new_world(db: Any, other: Any, chance: random.Random, kind_name: str) -> World:
    """A device of its own in a partition that begins anew; the hours around a midnight in Shanghai."""
    kind = BY_NAME[kind_name]
    await db.execute("DELETE FROM device WHERE id LIKE 'random-%'")
    await db.execute("DELETE FROM rollup_stale")
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=4)
    start = start.replace(hour=chance.choice([12, 13, 15]))
    partition = await db.fetchval("SELECT partition FROM community WHERE id = $1", HOME)
    await db.execute("UPDATE rollup_boundary SET closed_to = $1", start - 2 * HOUR)
    await db.execute("UPDATE rollup_progress SET filled_to = $1, next_device = 0", start - 2 * HOUR)
    no = await db.fetchval(
        "INSERT INTO device (id, community_id, kind, name, interval_s, household_id) "
        "VALUES ($1, $2, $3, 'x', 60, $4) RETURNING device_no",
        f"random-{chance.getrandbits(40)}", HOME, kind_name, f"{HOME}-h1",
    )  # fmt: skip
    counter = next(position for position, metric in enumerate(kind.metrics) if metric.register is not None)
    register = kind.metrics[counter].register
    assert register is not None
    # Powers of two, so that sums of eighths and bounds are exact.
    await db.execute("INSERT INTO meter_rating VALUES ($1, $2, 4, $3)", no, counter, 1024.0)
    await db.execute("DELETE FROM rollup_stale")
    rated = type(register)(max_per_h=4.0, modulus=1024.0, retentive=register.retentive, slack_h=register.slack_h)
    device = KnownDevice(
        DeviceNo(no), DeviceId(f"d{no}"), CommunityId(HOME), Partition(partition), kind_spec(kind), None, "native"
    )
    owner = Owner("t-rollups", f"t/{no}", 1, (partition,))
    await lease(db, owner)
    numbers = await store.claim(db, owner)
    return World(db, other, device, counter, Meter(rated), owner, numbers, start, chance.choice([4, 6, 8]))


def some_readings(world: World, chance: random.Random) -> dict[int, list[float | None]]:
    """From anywhere in the window, some from long before, some said before; now and then a wild one."""
    width = world.device.kind.width
    readings: dict[int, list[float | None]] = {}
    for _ in range(chance.choice([1, 1, 2, 5, 12])):
        ts = ms(world.start) + chance.randrange(world.hours * 12) * 300_000
        if chance.random() < 0.05:
            ts -= 29 * HOUR_MS
        if chance.random() < 0.15 and world.said:
            ts = chance.choice(list(world.said))
        since = (ts - ms(world.start)) / HOUR_MS + 30
        steady = (1000 + int(since * 4) / 8) % 1024.0
        vals: list[float | None] = [chance.randrange(800) / 8 for _ in range(width)]
        vals[world.counter] = chance.choice([steady] * 9 + [0.0, 0.25, chance.randrange(8000) / 8, steady + 0.5])
        if chance.random() < 0.2:
            vals[chance.randrange(width)] = None
        if any(v is not None for v in vals) and (ts not in world.said or chance.random() < 0.5):
            before = world.said.get(ts)
            # A contradiction is refused for itself; here what is said again agrees.
            readings[ts] = (
                vals if before is None else [v if b is None else b for b, v in zip(before, vals, strict=True)]
            )
    return readings


async def one_history(world: World, chance: random.Random) -> None:
    for _ in range(chance.randrange(8, 25)):
        match chance.choice(
            ["say"] * 5 + ["close"] * 2 + ["step"] * 4 + ["kill"] * 2 + ["open"] * 2 + ["swap", "all", "lost"]
        ):
            case "say":
                if readings := some_readings(world, chance):
                    await world.say(readings)
            case "close":
                await close_to(world.db, world, chance)
            case "step":
                done = await rollups.step(world.db, world.device.partition, chance.choice([1, 5, 1000]))
                world.done["filled"] += done.filled
                world.done["repaired"] += done.repaired
            case "kill":
                try:
                    dying: Any = Dying(world.db, chance.randrange(12))
                    await rollups.step(dying, world.device.partition, chance.choice([1, 5, 1000]))
                except Killed:
                    world.done["kills"] += 1
            case "lost":
                # The batch is rolled back: its readings, and its marks, never were.
                if readings := some_readings(world, chance):
                    try:
                        async with world.other.transaction():
                            await store.write(world.other, world.owner, world.batch(readings), world.numbers, {})
                            raise Killed
                    except Killed:
                        world.done["lost"] += 1
            case "open":
                await while_a_batch_is_open(world, chance)
            case "swap":
                await swap(world, chance)
            case "all":
                await work_off(world.db, world.device.partition)
        await world.check()
    await close_to(world.db, world, chance, whole=True)
    await work_off(world.db, world.device.partition)
    await world.check()
    assert await world.db.fetchval("SELECT count(*) FROM rollup_stale") == 0


async def close_to(db: Any, world: World, chance: random.Random, whole: bool = False) -> bool:
    hours = world.hours + 2 if whole else chance.randrange(world.hours + 1)
    world.done["closes"] += 1
    return await rollups.close(db, [world.device.partition], datetime.now(UTC) - (world.start + hours * HOUR))


async def work_off(db: Any, partition: int) -> None:
    while (await rollups.step(db, partition, 1000)).more:
        pass


async def while_a_batch_is_open(world: World, chance: random.Random) -> None:
    """Stored and not yet committed while the job goes on: nothing may slip between."""
    readings = some_readings(world, chance)
    if not readings:
        return
    transaction = world.other.transaction()
    await transaction.start()
    batch = world.batch(readings)
    await store.write(world.other, world.owner, batch, world.numbers, {})
    await world.check()
    before = await world.db.fetchval(
        "SELECT closed_to FROM rollup_boundary WHERE partition = $1", world.device.partition
    )
    if chance.random() < 0.4:
        moved = not await close_to(world.db, world, chance)
        world.done["closes held up"] += moved
        after = await world.db.fetchval(
            "SELECT closed_to FROM rollup_boundary WHERE partition = $1", world.device.partition
        )
        stored = any(item.outcome is Outcome.STORED for item in batch.checked.items())
        assert after == before or not stored, "an hour was closed under an open batch"
    await rollups.step(world.db, world.device.partition, 1000)
    await world.check()
    await transaction.commit()
    world.committed(batch, readings)
    world.done["open batches"] += 1


async def swap(world: World, chance: random.Random) -> None:
    ts = ms(world.start) + chance.randrange(world.hours * 60) * 60_000
    if any(known.at_ms == ts for known in world.swaps):
        return
    new = Swap(ts, chance.randrange(8000) / 8, chance.randrange(40) / 8)
    await world.db.execute(
        "INSERT INTO meter_swap VALUES ($1, $2, $3, $4, $5, 'test')",
        world.device.no, world.counter, at(ts), new.final_old, new.initial_new,
    )  # fmt: skip
    world.swaps.append(new)
    world.done["swaps"] += 1


@pytest.fixture
async def home(database_url: str) -> str:
    await put_community(database_url, small_community(HOME))
    return database_url


RARE = ("repaired", "kills", "open batches")
MOST_HISTORIES = 200


async def test_rollups_equal_the_oracle_after_every_step_in_any_order(home: str) -> None:
    count = EXAMPLES or 5
    tell(f"seed {SEED}, histories {count}")
    done: Counter[str] = Counter()
    async with connections(home) as (db, other):
        number = 0
        # On until each of the rare things has happened: a seed is free to leave some of them out of the first few.
        while number < count or (number < MOST_HISTORIES and not all(done[name] for name in RARE)):
            chance = random.Random(f"{SEED}/{number}")
            world = await new_world(db, other, chance, chance.choice(["water_meter", "people_counter"]))
            try:
                await one_history(world, chance)
            except BaseException:
                tell(f"history {number} of seed {SEED}")
                raise
            done += world.done
            number += 1
    tell(", ".join(f"{name} {number}" for name, number in sorted(done.items())))
    assert all(done[name] for name in RARE)


async def test_rollups_of_a_swap_and_a_rating_are_worked_out_anew(home: str) -> None:
    async with connections(home) as (db, other):
        world = await new_world(db, other, random.Random(1), "water_meter")
        began, minute = ms(world.start), 60_000
        values = {0: 500.0, 20: 500.25, 40: 3.5, 70: 3.75}
        await world.say({began + at * minute: [value, 1, 3, 0] for at, value in values.items()})
        await close_to(db, world, random.Random(1), whole=True)
        await work_off(db, world.device.partition)
        await world.check()
        device = await db.fetchval("SELECT id FROM device WHERE device_no = $1", world.device.no)
        moment = at(began + 30 * minute)
        assert await record_swap(db, device, None, moment, 501.0, 3.0, "张工") == "total_m3"
        world.swaps.append(Swap(began + 30 * minute, 501.0, 3.0))
        await world.check()
        await work_off(db, world.device.partition)
        await world.check()
        used = await db.fetchval("SELECT sum(used) FROM meter_hour WHERE device_no = $1", world.device.no)
        assert used == 1.25
        with pytest.raises(Refused, match="recorded already"):
            await record_swap(db, device, None, moment, 501.0, 3.0, "张工")
        for metric, wrong in (("flow", "没有累计量"), ("nonsense", "没有累计量")):
            with pytest.raises(Refused, match=wrong):
                await record_swap(db, device, metric, moment, 1, 0, "张工")
        with pytest.raises(Refused, match="no device"):
            await record_swap(db, "nobody", None, moment, 1, 0, "张工")
        with pytest.raises(Refused, match="future"):
            await record_swap(db, device, None, datetime.now(UTC) + HOUR, 1, 0, "张工")
        # A narrower bound makes breaks of what was taken for use.
        await rate(db, device, None, 0.125, 1024.0)
        world.meter = Meter(replace(world.meter.register, max_per_h=0.125), world.meter.swaps)
        await world.check()
        await work_off(db, world.device.partition)
        await world.check()
        assert await db.fetchval("SELECT sum(breaks) FROM meter_hour WHERE device_no = $1", world.device.no) == 1


async def test_rollups_keep_what_the_readings_no_longer_tell(home: str) -> None:
    async with connections(home) as (db, other):
        world = await new_world(db, other, random.Random(2), "water_meter")
        began = ms(world.start)
        await world.say({began + n * 60_000: [500 + n / 8, 1, 3, 0] for n in range(50)})
        await close_to(db, world, random.Random(2), whole=True)
        await work_off(db, world.device.partition)
        covers = await db.fetchval("SELECT rollup_covers()")
        assert covers == world.start + (world.hours + 2) * HOUR
        await world.check()
        await db.execute("SELECT drop_chunks('reading', $1::timestamptz)", covers + 240 * HOUR)
        await world.check()
        # What is late for the chunk that went cannot undo what was found while it was there.
        await store.write(db, world.owner, world.batch({began + 1: [500.0, 1, 3, 0]}), world.numbers, {})
        await work_off(db, world.device.partition)
        await world.check()


async def test_rollups_of_a_device_that_moves_to_a_partition_further_on_are_complete(home: str) -> None:
    async with connections(home) as (db, other):
        world = await new_world(db, other, random.Random(3), "water_meter")
        await world.say({ms(world.start) + n * 600_000: [500 + n / 8, 1, 3, 0] for n in range(12)})
        await db.execute(
            "INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents) "
            "SELECT 'ahead', street_id, 'ahead', (partition + 1) % 16, 0, 0, 0, 0 FROM community WHERE id = $1", HOME
        )  # fmt: skip
        ahead = (world.device.partition + 1) % 16
        await rollups.close(db, [ahead], datetime.now(UTC) - (world.start + 5 * HOUR))
        await work_off(db, ahead)
        await db.execute(
            "UPDATE device SET community_id = 'ahead', household_id = NULL WHERE device_no = $1", world.device.no
        )
        world.device = replace(world.device, community=CommunityId("ahead"), partition=Partition(ahead))
        await world.check()
        await work_off(db, ahead)
        await world.check()
        assert await db.fetchval("SELECT count(*) FROM rollup_stale") == 0


async def test_rollup_job_of_two_workers_at_once_does_no_harm(home: str) -> None:
    async with connections(home) as (db, other):
        world = await new_world(db, other, random.Random(4), "water_meter")
        await world.say({ms(world.start) + n * 600_000: [500 + n / 8, 1, 3, 0] for n in range(20)})
        await close_to(db, world, random.Random(4), whole=True)
        async with other.transaction():
            # One that was frozen in the middle of a step holds its partition up, and nobody else.
            assert (await rollups.step(other, world.device.partition, 1)).filled == 1
            assert await rollups.step(db, world.device.partition, 1000) == rollups.Step()
        await asyncio.gather(*(work_off(connection, world.device.partition) for connection in (db, other)))
        await work_off(db, world.device.partition)
        await world.check()


async def test_a_community_whose_days_begin_within_an_hour_is_refused(home: str) -> None:
    async with connections(home) as (db, _):
        with pytest.raises(asyncpg.CheckViolationError, match="whole_hours"):
            await db.execute("UPDATE community SET timezone = 'Asia/Kolkata'")
        await db.execute("UPDATE community SET timezone = 'Asia/Urumqi'")


async def test_the_ingest_service_keeps_the_rollups(home: str, mqtt: Mqtt) -> None:
    """On the wire and through the service: a reading of an hour ago, and one that comes late to it."""
    ts = (now_ms() // HOUR_MS - 1) * HOUR_MS
    wire = Wire(mqtt.url)
    try:
        async with (
            ingest(home, mqtt.url, rollup_lag_s=0, rollup_every_s=0.05),
            connections(home) as (db, _),
        ):

            async def told() -> list[tuple[Any, ...]]:
                rows = await db.fetch(
                    "SELECT h.readings, m.n, m.first, m.last "
                    "FROM rollup_hour h JOIN meter_hour m USING (device_no, bucket)"
                )
                stale = await db.fetchval("SELECT count(*) FROM rollup_stale")
                return [tuple(row) for row in rows] if not stale else []

            topic = f"sc/{HOME}/{HOME}-gateway-1/up/telemetry"
            for said, wanted in (
                ((ts, 7.0), (1, 1, 7.0, 7.0)),
                ((ts + 60_000, 7.5), (2, 2, 7.0, 7.5)),
                ((ts + 30_000, 7.25), (3, 3, 7.0, 7.5)),
            ):
                values = {"total_m3": said[1], "flow": 1}
                wire.send(topic, [{"device": f"{HOME}-water_meter-1", "ts": said[0], "values": values}])

                async def there(wanted: tuple[Any, ...] = wanted) -> bool:
                    return await told() == [wanted]

                await until(there)
    finally:
        wire.close()


@pytest.mark.parametrize("each", [1, 2, 3])
async def test_rollups_of_days_join_hours_of_few_readings(home: str, each: int) -> None:
    """An hour of one reading has no second and no last but one of its own: they are its neighbours'."""
    async with connections(home) as (db, other):
        world = await new_world(db, other, random.Random(5), "water_meter")
        world.hours = 60
        hours, minute = range(0, 60, 1), 60_000
        at_minutes = {hour * 60 + n * 20: (hour * 3 + n) / 8 for hour in hours for n in range(each)}
        await world.say({ms(world.start) + at * minute: [500 + value, 1, 3, 0] for at, value in at_minutes.items()})
        await close_to(db, world, random.Random(5), whole=True)
        await work_off(db, world.device.partition)
        await world.check()
        assert await db.fetchval("SELECT count(*) FROM meter_day WHERE device_no = $1", world.device.no) == 3
        assert await db.fetchval(
            "SELECT sum(used) FROM meter_series($1, $2, 'total_m3', $3, now(), 'day')",
            HOME, world.device.no, world.start,
        ) == max(at_minutes.values())  # fmt: skip
