"""Which session hears what: each message exactly one, and what belongs to nobody the strays'."""

from __future__ import annotations

from typing import Any

from paho.mqtt.client import topic_matches_sub

from services.adapters.mqtt import Inbound
from services.domain.ids import CommunityId, Partition
from services.domain.messages import Lane
from services.ingest.filters import of_former_versions, of_partition
from services.ingest.registry import Registry
from services.ingest.strays import KNOWN_AT_MOST, Strays

HOME = CommunityId("home")
NOW = 1_800_000_000_000


def matches(pattern: str, topic: str) -> bool:
    return topic_matches_sub(pattern, topic)


def test_filters_deliver_every_topic_to_exactly_one_session() -> None:
    registry = Registry({}, {CommunityId(f"c{n}"): Partition(n % 16) for n in range(40)})
    sessions = [(p, lane) for p in range(16) for lane in Lane]
    for community in (*registry.communities, "unregistered"):
        for channel in ("event", "status", "reply", "telemetry"):
            topics = [f"sc/{community}/d/up/{channel}", f"sc/{community}/d/up/{channel}/more/levels"]
            for topic in topics:
                heard = [s for s in sessions for f in of_partition(registry, *s) if matches(f, topic)]
                wanted = Lane.TELEMETRY if channel == "telemetry" else Lane.EVENT
                owner = registry.communities.get(CommunityId(community))
                assert heard == ([] if owner is None else [(owner, wanted)])


def test_filters_of_former_versions_are_all_named() -> None:
    registry = Registry({}, {HOME: Partition(3)})
    former = of_former_versions(registry)
    assert {"sc/+/+/up/telemetry", "sc/+/+/up/telemetry/#", "sc/home/+/up/event", "sc/home/+/up/event/#"} <= former
    assert len(former) == 16


class Strayed:
    """A Strays whose session only remembers what it was asked."""

    def __init__(self, *communities: str) -> None:
        self.current = Registry({}, {CommunityId(name): Partition(0) for name in communities})
        self.filters: set[str] = set()
        self.given_back: set[str] = set()
        self.strays = Strays(self, self.ask)  # type: ignore[arg-type]

    def ask(self, wanted: Any, unwanted: Any) -> None:
        self.filters, self.given_back = set(wanted), set(unwanted)

    def hears(self, topic: str) -> bool:
        return self.strays.keep(Inbound(topic, b"", 1, 1, False, NOW))


def test_strays_keep_what_no_partition_hears() -> None:
    ear = Strayed("home")
    assert not ear.hears("sc/home/d/up/telemetry") and not ear.hears("sc/home/BAD%20ID/up/event")
    assert ear.hears("sc/nowhere/d/up/event") and ear.hears("sc//d/up/event")


def test_strays_are_listened_to_by_name_once_all_telemetry_is_too_much() -> None:
    ear = Strayed("home")
    assert "sc/+/+/up/telemetry/#" in ear.filters
    ear.hears("sc/nowhere/d/up/status")
    ear.strays.listen(to_all=False)
    assert "sc/nowhere/+/up/telemetry/#" in ear.filters and "sc/+/+/up/telemetry/#" in ear.given_back
    assert "sc/+/+/up/event/#" in ear.filters and not any("home" in name for name in ear.filters)


def test_strays_hear_a_new_community_until_its_own_session_does() -> None:
    ear = Strayed("home")
    ear.current = Registry({}, {CommunityId("home"): Partition(0), CommunityId("new"): Partition(1)})
    ear.strays.refilter()
    assert ear.hears("sc/new/d/up/telemetry") and not ear.hears("sc/home/d/up/telemetry")


def test_strays_name_only_so_many() -> None:
    ear = Strayed()
    for n in range(KNOWN_AT_MOST + 50):
        assert ear.hears(f"sc/made-up-{n}/d/up/event")
    ear.strays.listen(to_all=False)
    assert len(ear.filters) == KNOWN_AT_MOST + 3
