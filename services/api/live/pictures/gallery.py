"""Pictures of all communities that somebody looks at, each refreshed once for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from pydantic_core import to_json

from services.api.answers.models import CommunityOut
from services.api.live.pictures.board import KpiBoard
from services.api.live.pictures.picture import Picture
from services.api.store.database import AWAY, Database
from services.api.store.tenancy import SERVICE
from services.domain.access import Principal

log = structlog.get_logger(__name__)

FRESH_S = 1.0
"""Device states are not older than this in a picture that people look at; alerts and orders are of now."""
STALE_S = 2.0
"""Older than this, whoever asks waits for the refresh."""
WHOLE_S = 10.0
"""Everything is read anew this often while people look, which also brings what no event tells: the registry."""
_FOLLOWED = 200
_PICTURES = 200
_BODIES = 16
_OVERLAP = timedelta(seconds=3)


@dataclass(slots=True)
class _Hung:
    picture: Picture
    looked: float = -1e9
    loaded: float = -1e9
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    refreshing: asyncio.Task[None] | None = None
    told: int = 0
    """How often it was said that what may be shown has changed, and how often that was so when it was last read."""
    heeded: int = 0
    bodies: OrderedDict[object, Body] = field(default_factory=OrderedDict)


@dataclass(frozen=True, slots=True)
class Body:
    """One answer as bytes, plain and as gzip; `tag` changes whenever it does."""

    key: object
    tag: str
    plain: bytes
    gzip: bytes


class Gallery:
    """One a process."""

    def __init__(
        self,
        database: Database,
        board: KpiBoard,
        build: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._board = board
        self._build = build
        self._clock = clock
        self._hung: OrderedDict[str, _Hung] = OrderedDict()
        self._mark = f"{time.time_ns():x}"

    async def show(self, who: Principal, community: CommunityOut, head: int) -> Body:
        """The community as it is now, with every event up to `head`, for this asker, whose scope holds it.

        Call it without a connection in hand: a refresh needs one, and all who wait for it would hold the others.
        Raises what the database raises.
        """
        hung = self._hung.get(community.id)
        if hung is None:
            hung = self._hung[community.id] = _Hung(Picture(community.id))
            while len(self._hung) > _PICTURES:
                self._hung.popitem(last=False)
        self._hung.move_to_end(community.id)
        await self._current(hung, head)
        kpis = await self._board.get(community.id, head)
        picture = hung.picture
        variant = picture.variant(who)
        key = (picture.version, kpis.at, self._build(), community)
        body = hung.bodies.get(variant)
        if body is None or body.key != key:
            fields = {
                "cursor": max(picture.head, 0),
                "at": picture.at,
                "build": self._build(),
                "community": community,
                "kpis": kpis,
            }
            plain = picture.body(who, to_json(fields)[:-1])
            packed = await asyncio.to_thread(_gzip, plain)
            tag = f'W/"{self._mark}-{picture.version}-{zlib.crc32(plain):08x}"'
            body = hung.bodies[variant] = Body(key, tag, plain, packed)
            while len(hung.bodies) > _BODIES:
                hung.bodies.popitem(last=False)
        hung.bodies.move_to_end(variant)
        return body

    def consents_changed(self, community_id: str) -> None:
        """Nobody is shown what was read before this; other processes see it with the next look, within STALE_S."""
        hung = self._hung.get(community_id)
        if hung is not None:
            hung.told += 1

    async def _current(self, hung: _Hung, head: int) -> None:
        """With every event up to `head`, and device states as fresh as promised."""
        age = self._clock() - hung.looked
        if hung.picture.head < head or age >= STALE_S or hung.heeded < hung.told:
            async with hung.turn:
                stale = self._clock() - hung.looked >= STALE_S
                if hung.picture.head < head or stale or hung.heeded < hung.told:
                    await self._refresh(hung)
        elif age >= FRESH_S and hung.refreshing is None:
            hung.refreshing = asyncio.create_task(self._beside(hung))

    async def _beside(self, hung: _Hung) -> None:
        try:
            async with hung.turn:
                await self._refresh(hung)
        except AWAY as error:
            log.info("picture_waits_for_database", why=str(error) or type(error).__name__)
        except Exception:
            log.exception("picture_not_refreshed")
        finally:
            hung.refreshing = None

    async def _refresh(self, hung: _Hung) -> None:
        now, at, told = self._clock(), datetime.now(UTC), hung.told
        picture = hung.picture
        async with self._database.consistent(as_=SERVICE) as connection:
            if now - hung.loaded < WHOLE_S and await picture.follow(connection, _FOLLOWED):
                if now - hung.looked >= FRESH_S or hung.heeded < told:
                    await picture.look(connection, at - timedelta(seconds=now - hung.looked) - _OVERLAP)
                    hung.looked, hung.heeded = now, told
                return
            await picture.load(connection)
            hung.loaded = hung.looked = now
            hung.heeded = told


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(4, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
