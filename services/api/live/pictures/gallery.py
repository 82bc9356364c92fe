"""Pictures of all communities that somebody looks at, each refreshed once for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from pydantic_core import to_json

from services.api.answers.models import CommunityOut, KpisOut
from services.api.live.pictures import packing
from services.api.live.pictures.board import KpiBoard
from services.api.live.pictures.picture import Picture
from services.api.live.pictures.rows import Began, Rows, Stand
from services.api.store.database import AWAY, Connection, Database
from services.api.store.tenancy import SERVICE
from services.domain.access import Principal

log = structlog.get_logger(__name__)

FRESH_S = 1.0
"""Device states are not older than this in a picture that people look at; alerts and orders are of now."""
STALE_S = 2.0
"""Older than this, whoever asks waits for the refresh."""
WHOLE_S = 10.0
"""Everything is read anew this often while people look, which also brings what no event tells: the registry."""
_AHEAD_S = 8.0
"""From this age on it is read anew beside the picture that is shown, so that nobody waits for it."""
_FOLLOWED = 200
_PICTURES = 200
_BODIES = 16


@dataclass(frozen=True, slots=True)
class Body:
    """One answer as bytes, plain in pieces and as gzip; `tag` changes whenever it does."""

    stand: Stand
    kpis_at: datetime
    build: str
    community: CommunityOut
    tag: str
    pieces: tuple[packing.Piece, ...]
    gzip: bytes

    @property
    def plain(self) -> bytes:
        return b"".join(piece.plain for piece in self.pieces)


@dataclass(slots=True)
class _Hung:
    picture: Picture
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Of whoever changes its rows."""
    refreshing: asyncio.Task[None] | None = None
    reloading: asyncio.Task[None] | None = None
    told: int = 0
    """How often it was said that what may be shown has changed."""
    bodies: OrderedDict[object, Body] = field(default_factory=OrderedDict)
    making: dict[object, asyncio.Task[Body]] = field(default_factory=dict)


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
        variant = hung.picture.variant(who)
        while (making := hung.making.get(variant)) is not None:
            body = hung.bodies.get(variant)
            if body is not None and self._good(hung, body, community, kpis, head):
                return body  # the last whole one will do; the next is on its way
            await asyncio.wait({making})
        body = hung.bodies.get(variant)
        good = body is not None and self._good(hung, body, community, kpis, head)
        if body is not None and good and body.stand.version == hung.picture.rows.stand.version:
            hung.bodies.move_to_end(variant)
            return body
        making = hung.making[variant] = asyncio.create_task(self._make(hung, variant, who, community, kpis))
        making.add_done_callback(lambda task: _made(hung, variant, task))
        return body if body is not None and good else await asyncio.shield(making)

    def _good(self, hung: _Hung, body: Body, community: CommunityOut, kpis: KpisOut, head: int) -> bool:
        """Whether it shows all that an answer to somebody who asks now must."""
        return (
            body.stand.head >= head
            and body.stand.heeded >= hung.told
            and self._clock() - body.stand.looked < STALE_S
            and body.kpis_at >= kpis.at
            and body.community == community
            and body.build == self._build()
        )

    async def _make(self, hung: _Hung, variant: object, who: Principal, community: CommunityOut, kpis: KpisOut) -> Body:
        build = self._build()

        def first(rows: Rows) -> bytes:
            fields = {
                "cursor": max(rows.stand.head, 0),
                "at": rows.at,
                "build": build,
                "community": community,
                "kpis": kpis,
            }
            return to_json(fields)[:-1]

        stand, pieces = await hung.picture.pieces(who, first)
        sum = packing.checksum(pieces)
        tag = f'W/"{self._mark}-{stand.version}-{sum:08x}"'
        body = Body(stand, kpis.at, build, community, tag, tuple(pieces), packing.gzip(pieces, sum))
        hung.bodies[variant] = body
        hung.bodies.move_to_end(variant)
        while len(hung.bodies) > _BODIES:
            hung.bodies.popitem(last=False)
        return body

    def consents_changed(self, community_id: str) -> None:
        """Nobody is shown what was read before this; other processes see it with the next look, within STALE_S."""
        hung = self._hung.get(community_id)
        if hung is not None:
            hung.told += 1

    # -- kept current -----------------------------------------------------------------------------------------------

    async def _current(self, hung: _Hung, head: int) -> None:
        """With every event up to `head`, and device states as fresh as promised."""
        if self._behind(hung, head):
            async with hung.turn:
                if self._behind(hung, head):
                    await self._refresh(hung)
        rows = hung.picture.rows
        if self._clock() - rows.stand.looked >= FRESH_S and hung.refreshing is None:
            hung.refreshing = asyncio.create_task(_beside(self._look_again(hung)))
            hung.refreshing.add_done_callback(lambda _: setattr(hung, "refreshing", None))
        if self._clock() - rows.loaded >= _AHEAD_S and hung.reloading is None:
            hung.reloading = asyncio.create_task(_beside(self._reload(hung)))
            hung.reloading.add_done_callback(lambda _: setattr(hung, "reloading", None))

    def _behind(self, hung: _Hung, head: int) -> bool:
        stand = hung.picture.rows.stand
        return stand.head < head or stand.heeded < hung.told or self._clock() - stand.looked >= STALE_S

    async def _look_again(self, hung: _Hung) -> None:
        async with hung.turn:
            await self._refresh(hung)

    async def _refresh(self, hung: _Hung) -> None:
        """In one's turn."""
        began, rows = self._began(hung), hung.picture.rows
        async with self._database.consistent(as_=SERVICE) as connection:
            if began.clock - rows.loaded >= WHOLE_S or not await self._catch_up(connection, rows, began):
                await rows.load(connection, began)

    async def _reload(self, hung: _Hung) -> None:
        """Reads everything anew while the rows of before are shown and kept current; then puts it in their place."""
        fresh = hung.picture.rows.copy()
        async with self._database.consistent(as_=SERVICE) as connection:
            await fresh.load(connection, self._began(hung))
        async with hung.turn:
            began = self._began(hung)
            async with self._database.consistent(as_=SERVICE) as connection:
                if await fresh.follow(connection, _FOLLOWED):
                    await fresh.look(connection, began)  # the rows of before may have been looked at meanwhile
                    fresh.replaces(hung.picture.rows)
                    hung.picture.rows = fresh

    @staticmethod
    async def _catch_up(connection: Connection, rows: Rows, began: Began) -> bool:
        if not await rows.follow(connection, _FOLLOWED):
            return False
        if began.clock - rows.stand.looked >= FRESH_S or rows.stand.heeded < began.heeded:
            await rows.look(connection, began)
        return True

    def _began(self, hung: _Hung) -> Began:
        return Began(self._clock(), datetime.now(UTC), hung.told)


async def _beside(work: Awaitable[None]) -> None:
    """What nobody waits for."""
    try:
        await work
    except AWAY as error:
        log.info("picture_waits_for_database", why=str(error) or type(error).__name__)
    except Exception:
        log.exception("picture_not_refreshed")


def _made(hung: _Hung, variant: object, task: asyncio.Task[Body]) -> None:
    del hung.making[variant]
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("picture_not_written", why=repr(error))
