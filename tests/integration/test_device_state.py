"""Device states in the database: as the oracle says after any splits, disorder, repeats, saves and restarts."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.adapters.log_rows import pack
from services.adapters.postgres import open_pool
from services.domain.ids import DeviceNo
from services.ingest import state_store
from services.ingest.state import StateFold
from tests.factory import put_community, small_community
from tests.state_oracle import FIRST_MS, Said, heard, newest, split

MIGRATION = Path(__file__).resolve().parents[2] / "migrations" / "0010_add_time_of_each_value.sql"
ROUNDS = 12
LATER_MS = FIRST_MS + 60_000


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    await put_community(database_url, small_community("home", prefix="home-"))
    pool = await open_pool(database_url, name="test", max_size=2)
    yield pool
    await pool.close()


async def states(connection: Any) -> dict[int, tuple[int, list[float | None], list[int]]]:
    rows = await connection.fetch("SELECT device_no, epoch_ms(vals_ts) AS ms, vals, vals_at FROM device_state")
    assert not [row for row in rows if row["vals_at"] and set(row["vals_at"]) <= {0, row["ms"]}]
    return {
        row["device_no"]: (
            row["ms"],
            row["vals"],
            row["vals_at"] or [0 if value is None else row["ms"] for value in row["vals"]],
        )
        for row in rows
    }


async def numbers(connection: Any) -> list[DeviceNo]:
    return [DeviceNo(row["device_no"]) for row in await connection.fetch("SELECT device_no FROM device ORDER BY 1")]


class Log:
    """What was committed, in its order, as the two lanes' rows of one partition."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.last = {0: 0, 1: 0}

    async def append(self, lane: int, said: list[tuple[DeviceNo, Said]]) -> int:
        packed = pack(
            [no for no, _ in said],
            [one.ts_ms for _, one in said],
            [LATER_MS] * len(said),
            [one.vals for _, one in said],
        )
        self.last[lane] += 1
        await self._connection.execute(
            "INSERT INTO ingest_log (partition, lane, seq, worker, readings, packed) VALUES (3, $1, $2, 'w', $3, $4)",
            lane,
            self.last[lane],
            len(said),
            packed,
        )
        return self.last[lane]


@pytest.mark.parametrize("seed", range(3))
async def test_states_are_the_newest_value_of_each_metric_after_saves_and_restarts(
    pool: asyncpg.Pool[Any], seed: int
) -> None:
    """Two lanes' readings in one fold, written now and then; sometimes the process dies before it wrote."""
    chance = random.Random(seed)
    async with pool.acquire() as connection:
        for _ in range(ROUNDS):
            await connection.execute("TRUNCATE device_state, ingest_log, checkpoint")
            log, fold = Log(connection), StateFold()
            said = {no: split(chance) for no in (await numbers(connection))[:8]}
            backlog = [(no, one) for no, some in said.items() for one in heard(some, chance)]
            if chance.random() < 0.5:
                chance.shuffle(backlog)
            while backlog:
                batch, backlog = backlog[: (size := chance.randrange(1, 12))], backlog[size:]
                lane = chance.randrange(2)
                number = await log.append(lane, batch)
                fold.readings(
                    [no for no, _ in batch],
                    [one.ts_ms for _, one in batch],
                    [LATER_MS] * len(batch),
                    [one.vals for _, one in batch],
                )
                fold.positions[3, lane] = number
                match chance.randrange(6):
                    case 0 | 1:
                        await state_store.save(connection, *fold.take())
                    case 2:
                        # Written, but the reply was lost: it is written once more.
                        pending, positions = fold.take()
                        await state_store.save(connection, pending, positions)
                        await state_store.save(connection, pending, positions)
                    case 3:
                        fold = StateFold()
                        await state_store.catch_up(connection, fold, [3], {})
                        fold = StateFold()
            await state_store.catch_up(connection, StateFold(), [3], {})
            wanted = {no: newest(some) for no, some in said.items()}
            assert await states(connection) == wanted
            # The whole log anew, into an empty table: the same states.
            await connection.execute("TRUNCATE device_state, checkpoint")
            await state_store.catch_up(connection, StateFold(), [3], {})
            assert await states(connection) == wanted


async def test_states_written_by_a_former_owner_after_the_new_one_hide_nothing(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        (no, *_) = await numbers(connection)
        old, new = StateFold(), StateFold()
        old.reading(no, 10, LATER_MS, [10.0, None, 1.0])
        new.reading(no, 20, LATER_MS, [None, 20.0, None])
        new.reading(no, 15, LATER_MS, [15.0, None, None])
        await state_store.save(connection, *new.take())
        await state_store.save(connection, *old.take())
        assert await states(connection) == {no: (20, [15.0, 20.0, 1.0], [15, 20, 10])}


async def test_states_that_were_wrong_before_are_put_right_from_the_readings_by_the_migration(
    pool: asyncpg.Pool[Any],
) -> None:
    repair = MIGRATION.read_text().split("-- States of old", 1)[1].split("\n", 1)[1]
    async with pool.acquire() as connection:
        whole, hidden, gone, silent, *_ = await numbers(connection)
        said = [
            *[(whole, 10, [1.0, 2.0]), (whole, 20, [3.0, 4.0])],
            *[(hidden, 10, [10.0, None, None]), (hidden, 20, [None, 20.0, None]), (hidden, 15, [15.0, None, None])],
            (gone, 20, [None, 20.0]),
        ]
        await connection.executemany(
            "INSERT INTO reading VALUES ($1, 'epoch'::timestamptz + $2::bigint * interval '1 ms', $3)",
            [(no, FIRST_MS + ts, vals) for no, ts, vals in said],
        )
        await connection.executemany(
            "INSERT INTO device_state (device_no, vals, vals_ts) "
            "VALUES ($1, $2, 'epoch'::timestamptz + $3::bigint * interval '1 ms')",
            [
                (whole, [3.0, 4.0], FIRST_MS + 20),
                (hidden, [10.0, 20.0, None], FIRST_MS + 20),
                (gone, [7.0, 20.0], FIRST_MS + 20),
                (silent, [], None),
            ],
        )
        await connection.execute(repair)
        rows = {
            row["device_no"]: (row["vals"], row["vals_at"])
            for row in await connection.fetch("SELECT device_no, vals, vals_at FROM device_state")
        }
        assert rows == {
            whole: ([3.0, 4.0], None),
            hidden: ([15.0, 20.0, None], [FIRST_MS + 15, FIRST_MS + 20, 0]),
            # Nobody knows any more how old the 7 is, so whatever comes is newer.
            gone: ([7.0, 20.0], [1, FIRST_MS + 20]),
            silent: ([], None),
        }
