"""The city platform of the demo: joins by itself, and keeps one case open in the community."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from uuid import uuid4

import asyncpg

from services.adapters.city.signing import new_key
from services.adapters.postgres import RETRYABLE
from services.adapters.queries import Queries
from services.api.access.credentials import hashed, key_text, new_id, new_secret
from services.cli.city_sim_above import Above, Json, NotDone

Q = Queries(Path(__file__).with_name("city_sim.sql"))
ACCOUNT = "service-city-sim"
_LOOK_S = 5.0
_WANTED: tuple[Json, ...] = (
    {"system": "hotline", "title": "楼道灯不亮", "title_en": "Corridor lamp out", "category": "corridor_lamp",
     "place": "1号楼", "text": "市民反映夜间无照明"},
    {"system": "city", "title": "垃圾满溢", "title_en": "Overflowing rubbish", "category": "rubbish",
     "place": "东门", "text": "巡查发现"},
    {"system": "hotline", "title": "夜间噪声", "title_en": "Noise at night", "category": "noise",
     "place": "中心广场", "text": "市民反映 22 时后仍有音响"},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Joined:
    """`key`: of the account; `signing`: what its webhook is signed by."""

    key: str
    signing: str
    community: str


@asynccontextmanager
async def joined(database: str, hook: str) -> AsyncIterator[Joined]:
    """An account, a key and a subscription to `hook`; what was missed while away comes first. Paused again at the end:
    a receiver that is gone would be called for three days. Raises NotDone where there is no community."""
    connection = await asyncpg.connect(database)
    try:
        async with connection.transaction():
            community = await connection.fetchval(Q["community"])
            if community is None:
                raise NotDone("no community yet 尚无社区")
            await connection.execute(Q["account"], ACCOUNT)
            await connection.execute(Q["old_keys"], ACCOUNT)
            id, secret = new_id(), new_secret()
            await connection.execute(Q["key"], id, ACCOUNT, hashed(secret))
            subscription = await connection.fetchval(Q["subscription"], uuid4(), ACCOUNT, hook)
            await connection.execute(Q["delivery"], subscription)
            signing = await connection.fetchval(Q["signing"], subscription)
            if signing is None:
                signing = new_key("hmac").secret
                await connection.execute(Q["new_signing"], uuid4(), subscription, signing, ACCOUNT)
    finally:
        await connection.close()
    try:
        yield Joined(key_text(id, secret), signing, community)
    finally:
        with contextlib.suppress(*RETRYABLE):
            connection = await asyncpg.connect(database, timeout=5)
            try:
                await connection.execute(Q["leave"], ACCOUNT)
            finally:
                await connection.close()


async def keep_asking(above: Above, community: str, every_s: float) -> None:
    """One case at a time: the next is opened once the last is over, so that whoever watches is never buried in them."""
    wanted = cycle(_WANTED)
    while True:
        with contextlib.suppress(NotDone):
            open_now = [one for one in (await above.cases())["items"] if not one["over"]]
            if not open_now:
                await above.open(next(wanted) | {"community_id": community, "external_id": f"SIM-{uuid4().hex[:12]}"})
                await asyncio.sleep(every_s)
        await asyncio.sleep(_LOOK_S)
