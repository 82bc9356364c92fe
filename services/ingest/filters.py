"""Which topics a session listens to, so that every message of the city is delivered to exactly one worker, once.

A topic names one community, a community belongs to one partition, and each (partition, lane) has one session at the
broker, whose filters name the communities of that partition one by one. Filters of two sessions never match the same
topic. What no community's filter matches is for the strays' session (services.ingest.strays).

A community that has just been registered is nobody's for a moment: its sender gets no application ack and sends again.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.domain.codecs.topic import CHANNELS
from services.domain.ids import CommunityId
from services.domain.messages import Lane
from services.ingest.registry import Registry

CHANNELS_OF: dict[Lane, tuple[str, ...]] = {
    Lane.EVENT: tuple(channel for channel in CHANNELS if channel != "telemetry"),
    Lane.TELEMETRY: ("telemetry",),
}


def of_partition(registry: Registry, partition: int, lane: Lane) -> frozenset[str]:
    return frozenset(of_communities(registry.in_partitions([partition]), CHANNELS_OF[lane]))


def of_communities(communities: Iterable[CommunityId | str], channels: Iterable[str]) -> Iterable[str]:
    return (f"sc/{community}/+/up/{channel}/#" for community in communities for channel in channels)


def of_former_versions(registry: Registry) -> frozenset[str]:
    """All that a session of an earlier version may be subscribed to; those knew no levels behind the channel."""
    whole = frozenset(of_communities(("+", *registry.communities), CHANNELS))
    return whole | {name.removesuffix("/#") for name in whole}
