"""Who should own what, and who counts as gone: the pure part of how ingest workers share the partitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.ownership.balance import SLOTS, STRAYS, alone, balance
from services.ingest.ownership.membership import Peer, Watch

NAMES = st.sets(st.integers(0, 30).map(lambda n: f"ingest-{n}"), min_size=1, max_size=20)
OWNERS = st.dictionaries(st.sampled_from(SLOTS), st.integers(0, 30).map(lambda n: f"ingest-{n}"))


def counts(wanted: dict[int, str], workers: set[str]) -> list[int]:
    return sorted(list(wanted.values()).count(worker) for worker in workers)


@given(NAMES, OWNERS)
def test_balance_gives_each_slot_one_living_owner_and_each_owner_its_share(
    workers: set[str], owners: dict[int, str]
) -> None:
    wanted = balance(workers, owners)
    assert set(wanted) == set(SLOTS) and set(wanted.values()) <= workers
    sizes = counts(wanted, workers)
    assert sizes[-1] - sizes[0] <= 1


@given(NAMES, OWNERS)
def test_balance_moves_no_more_than_it_must(workers: set[str], owners: dict[int, str]) -> None:
    """Kept is as much as the shares allow: nobody gives up a slot and is below the smallest share, or gets another."""
    wanted = balance(workers, owners)
    share, more = divmod(len(SLOTS), len(workers))
    held = {worker: [slot for slot in SLOTS if owners.get(slot) == worker] for worker in workers}
    biggest_first = sorted((len(slots) for slots in held.values()), reverse=True)
    best = sum(min(size, share + (place < more)) for place, size in enumerate(biggest_first))
    assert sum(wanted[slot] == owner for slot, owner in owners.items()) == best


@given(NAMES, OWNERS)
def test_balance_is_at_rest_where_it_led_to(workers: set[str], owners: dict[int, str]) -> None:
    wanted = balance(workers, owners)
    assert balance(workers, wanted) == wanted


@given(NAMES, OWNERS, st.data())
def test_balance_converges_whatever_step_is_taken_first(
    workers: set[str], owners: dict[int, str], data: st.DataObject
) -> None:
    """Slots are let go and claimed one at a time, in any order, by workers that look anew at each step."""
    now = {slot: owner for slot, owner in owners.items() if owner in workers}
    moves = 0
    while (wanted := balance(workers, now)) != now:
        to_do = [slot for slot in SLOTS if now.get(slot) != wanted[slot]]
        slot = data.draw(st.sampled_from(to_do))
        if slot in now:
            del now[slot]
        else:
            now[slot] = wanted[slot]
        moves += 1
        assert moves <= 2 * len(SLOTS)


def test_balance_of_nobody_is_nothing() -> None:
    assert balance([], {1: "gone"}) == {} == alone([], {1: "gone"})


def test_alone_gives_everything_to_the_owner_of_the_strays() -> None:
    assert set(alone({"a", "b"}, {STRAYS: "b"}).values()) == {"b"}
    assert set(alone({"a", "b"}, {STRAYS: "gone"}).values()) == {"a"}


def peer(name: str, silent_s: float = 0.0, *, connected: bool = True) -> Peer:
    return Peer(name, name, silent_s, connected)


def watching(watch: Watch, seconds: float, peers: list[Peer], start: float = 0.0) -> list[str]:
    """What it says after looking every 0.3 s for so long."""
    now, gone = start, watch.gone(peers, "me", start)
    while now + 0.3 <= start + seconds:
        now += 0.3
        gone = watch.gone(peers, "me", now)
    return gone


def test_watch_misses_a_dead_process_at_its_second_look() -> None:
    watch = Watch(4, 0.3)
    assert watching(watch, 0, [peer("a", connected=False)]) == []
    assert watch.gone([peer("a", connected=False)], "me", 0.31) == ["a"]


def test_watch_forgives_a_connection_that_is_made_again() -> None:
    watch = Watch(4, 0.3)
    watch.gone([peer("a", connected=False)], "me", 0)
    watch.gone([peer("a")], "me", 0.2)
    assert watch.gone([peer("a", connected=False)], "me", 0.4) == []


def test_watch_misses_a_frozen_worker_only_after_watching_for_as_long() -> None:
    assert watching(Watch(4, 0.3), 3.9, [peer("a", 100)]) == []
    assert watching(Watch(4, 0.3), 4.5, [peer("a", 100)]) == ["a"]


def test_watch_that_was_frozen_itself_begins_anew() -> None:
    watch = Watch(4, 0.3)
    assert watching(watch, 6, [peer("a")]) == []
    assert watching(watch, 1, [peer("a", 60, connected=False)], start=90) == []
    assert watching(watch, 5, [peer("a", 60)], start=91.2) == ["a"]


def test_watch_waits_for_the_others_after_its_own_connection_broke() -> None:
    watch = Watch(4, 0.3)
    assert watching(watch, 6, [peer("a")]) == []
    watch.shaken(6.3)
    assert watching(watch, 1.8, [peer("a", connected=False)], start=6.3) == []
    assert watching(watch, 1.2, [peer("a", connected=False)], start=8.4) == ["a"]


@pytest.mark.parametrize("silent_s", [0.0, 100.0])
def test_watch_never_misses_itself(silent_s: float) -> None:
    assert watching(Watch(4, 0.3), 9, [peer("me", silent_s, connected=False)]) == []
