"""Which topics a worker listens to, so that every message of the city is delivered to exactly one worker, once.

A topic names one community, a community belongs to one partition, a partition to one worker:

- the owner of **all** partitions uses one wildcard a channel. It also hears communities that nobody registered.
- the owner of **some** uses one filter a community and channel. Filters of two workers never match the same topic, so
  nothing is delivered twice. An unregistered community matches none of them.
- the owner of partition 0, where it is not the owner of all, also keeps a third connection, the **strays'**, with
  wildcards. It acknowledges what belongs to a registered community unseen (its owner hears it on its own connection)
  and quarantines the rest. A second connection, because overlapping filters on one would deliver a message twice.

A community that has just been registered may for a moment be nobody's: its sender gets no application ack and sends
again. What is already in the session under another filter is stored once all the same, for storing is idempotent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.domain.codecs.topic import CHANNELS
from services.domain.ids import PARTITIONS, CommunityId
from services.domain.messages import Lane
from services.ingest.registry import Registry

CHANNELS_OF: dict[Lane, tuple[str, ...]] = {
    Lane.EVENT: tuple(channel for channel in CHANNELS if channel != "telemetry"),
    Lane.TELEMETRY: ("telemetry",),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """`unwanted`: what the broker may remember of an earlier life of the session and must forget."""

    wanted: frozenset[str]
    unwanted: frozenset[str]


def owns_all(owned: Iterable[int], partitions: int = PARTITIONS) -> bool:
    return set(owned) >= set(range(partitions))


def filters(registry: Registry, owned: Iterable[int], lane: Lane) -> Filters:
    """For a lane's connection of a worker that owns these partitions."""
    channels = CHANNELS_OF[lane]
    everything = frozenset(f"sc/+/+/up/{channel}/#" for channel in channels)
    each = frozenset(_of(registry.communities, channels))
    owned = frozenset(owned)
    wanted = everything if owns_all(owned) else frozenset(_of(registry.in_partitions(owned), channels))
    return Filters(wanted, (everything | each) - wanted)


def stray_filters(owned: Iterable[int]) -> frozenset[str]:
    """For the third connection; empty where the worker needs none."""
    owned = frozenset(owned)
    if 0 not in owned or owns_all(owned):
        return frozenset()
    return frozenset(f"sc/+/+/up/{channel}/#" for channel in CHANNELS)


def _of(communities: Iterable[CommunityId], channels: tuple[str, ...]) -> Iterable[str]:
    return (f"sc/{community}/+/up/{channel}/#" for community in communities for channel in channels)
