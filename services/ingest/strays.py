"""What reaches no partition: messages under communities that nobody registered. They end in the quarantine.

A wildcard hears them, and everything else with them, a second time. Events, states and replies are few, so these are
listened to always; each community found so is then listened to by name, telemetry included. A device that sends
telemetry alone is found by listening to all telemetry, for as long as that costs little: the more of it there is that
others hear anyway, the shorter and the rarer.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection

import structlog

from services.adapters.mqtt import Inbound
from services.domain.codecs.topic import CHANNELS
from services.domain.ids import ID_PATTERN
from services.ingest.filters import of_communities
from services.ingest.registry_keeper import RegistryKeeper

log = structlog.get_logger(__name__)

FOREIGN_PER_S = 200
"""Messages of registered communities that may be heard in vain, on average."""
_SLICE_S = 0.2
_LONGEST_PAUSE_S = 300.0
FRESH_S = 3.0
"""Until its own session surely listens to a community, what is heard of it here counts."""
KNOWN_AT_MOST = 1_000
"""Communities listened to by name; names cost nothing to invent."""


class Strays:
    """`keep` is asked about each message; `set_filters` is the session's."""

    def __init__(
        self, registry: RegistryKeeper, set_filters: Callable[[Collection[str], Collection[str]], None]
    ) -> None:
        self._registry = registry
        self._set_filters = set_filters
        self._found: dict[str, None] = {}
        self._foreign = 0
        self._all = True
        self._before = frozenset(registry.current.communities)
        self._fresh: dict[str, float] = {}
        self.refilter()

    def keep(self, message: Inbound) -> bool:
        """Whether it is ours to store; what a partition's session hears is not, however odd its topic."""
        community, _, rest = message.topic.removeprefix("sc/").partition("/")
        if community in self._registry.current.communities and time.monotonic() > self._fresh.get(community, 0.0):
            self._foreign += "/up/telemetry" in rest
            return False
        if community in self._fresh:
            return True
        if community not in self._found and len(self._found) < KNOWN_AT_MOST and re.fullmatch(ID_PATTERN, community):
            self._found[community] = None
            log.warning("unregistered_community", community=community, topic=message.topic[:200])
            self.refilter()
        return True

    def refilter(self) -> None:
        now, communities = time.monotonic(), frozenset(self._registry.current.communities)
        self._fresh = {name: until for name, until in self._fresh.items() if until > now}
        self._fresh |= dict.fromkeys(communities - self._before, now + FRESH_S)
        self._before = communities
        always = [channel for channel in CHANNELS if self._all or channel != "telemetry"]
        wanted = set(of_communities(["+"], always))
        named = [name for name in self._found if name not in self._registry.current.communities]
        if not self._all:
            wanted |= set(of_communities(named, ["telemetry"]))
        # A session may remember what an earlier owner of it wanted.
        self._set_filters(wanted, set(of_communities(["+", *named], ["telemetry"])) - wanted)

    async def run(self) -> None:
        """For ever: turns the ear to all telemetry on and off."""
        while True:
            self._foreign, began = 0, time.monotonic()
            await asyncio.sleep(_SLICE_S)
            pause_s = self._foreign / FOREIGN_PER_S - (time.monotonic() - began)
            if pause_s > 0:
                self.listen(to_all=False)
                await asyncio.sleep(min(pause_s, _LONGEST_PAUSE_S))
                self.listen(to_all=True)

    def listen(self, *, to_all: bool) -> None:
        self._all = to_all
        self.refilter()
