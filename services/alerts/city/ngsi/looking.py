"""One look of a subscription: entities that may have changed, compared with what was told or passed over of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.adapters.city.ngsi import reading
from services.adapters.city.ngsi import subscriptions as rows
from services.adapters.city.ngsi.reading import Connection
from services.adapters.city.ngsi.subscriptions import Claimed, Standing
from services.alerts.city.serving import Connections
from services.domain.city.ngsi import Entity, Site
from services.domain.city.ngsi.changes import Marks, Seen, compare, gone
from services.domain.city.ngsi.mapping import ALERT, OFF_STREET_PARKING

MOST = 50_000
"""So many entities one subscription looks at; whoever asks for more is to name types, ids or a smaller scope."""
_AT_ONCE = 500

Names = Mapping[str, frozenset[str]]


class TooMany(Exception):
    """More entities than one subscription may look at."""


@dataclass(frozen=True, slots=True)
class Look:
    """`whole`: everything is compared; else what was written since the last look. `view`: see Standing."""

    pool: Connections
    one: Claimed
    to: Standing
    whole: bool
    upto: int
    at: datetime

    async def sites(self) -> AsyncIterator[list[Seen]]:
        """What has changed, community by community. Raises TooMany."""
        looked = 0
        async with self.pool.acquire() as connection:
            changed = None if self.whole else await rows.changed(connection, self.one, self.to, self.upto)
            known = await rows.known(connection, self.one.subscription_id, None) if self.whole else {}
        met: set[str] = set()
        for site in self.to.sites:
            names = None if changed is None else changed.get(site.id)
            if changed is not None and not names:
                continue
            async with self.pool.acquire() as connection:
                found = await self._entities(connection, site, names)
                if names is not None:
                    asked = [f"urn:ngsi-ld:{kind}:{name}" for kind, some in names.items() for name in some]
                    known = await rows.known(connection, self.one.subscription_id, asked)
                elif ALERT in self.to.kinds:
                    found += await self._over(connection, site, known, {one.id for one in found})
            looked += len(found)
            if looked > MOST:
                raise TooMany
            met |= {one.id for one in found}
            yield await self._compared(found, known)
            if names is not None:
                yield [gone(self.to.asked, id, self.at) for id in known if id not in met]
        if self.whole:
            yield [gone(self.to.asked, id, self.at, told=self._is_gone(id)) for id in known if id not in met]

    async def _entities(self, connection: Connection, site: Site, names: Names | None) -> list[Entity]:
        """Those that are asked for. How full a community's parking is needs all of its spaces, whatever changed."""
        kinds = [kind for kind in self.to.kinds if names is None or names.get(kind.name)]
        single = [kind for kind in kinds if kind is not OFF_STREET_PARKING]
        found = await reading.entities(connection, site, single, self.to.classes, names) if single else []
        if len(single) < len(kinds):
            found += await reading.entities(connection, site, [OFF_STREET_PARKING], self.to.classes, names)
        return [one for one in found if self.to.asked.selects(one.type, one.id.split(":", 3)[3], one.id)]

    async def _over(
        self, connection: Connection, site: Site, known: Mapping[str, Marks], open_: Collection[str]
    ) -> list[Entity]:
        """Alerts that were told of and are open no more: they are told once more, with their end."""
        begin = ALERT.id_of("")
        over = frozenset(id.removeprefix(begin) for id in known if id.startswith(begin) and id not in open_)
        if not over:
            return []
        return await reading.entities(connection, site, [ALERT], self.to.classes, {ALERT.name: over})

    async def _compared(self, found: Sequence[Entity], known: Mapping[str, Marks]) -> list[Seen]:
        seen: list[Seen] = []
        for number, entity in enumerate(found):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)  # others' alarms are on this loop as well
            one = compare(self.to.asked, entity, known.get(entity.id), first=self.one.fresh)
            if one is not None:
                seen.append(self._ended(entity, one))
        return seen

    def _ended(self, entity: Entity, one: Seen) -> Seen:
        """An alert that is over is told of and forgotten: it changes no more."""
        over = entity.type == ALERT.name and "validTo" in entity.attributes
        return Seen(one.id, None, one.told) if over else one

    def _is_gone(self, id: str) -> bool:
        """Whether it went, and was not only taken out of what the subscriber may see."""
        return self.one.view == self.to.view and any(kind.name == id.split(":")[2] for kind in self.to.kinds)


async def whole_is_due(connection: Connection, one: Claimed, to: Standing) -> bool:
    """Whether what changed since the last look cannot be told, or it was through other grants."""
    return one.fresh or one.view != to.view or not await rows.is_continued(connection, one)
