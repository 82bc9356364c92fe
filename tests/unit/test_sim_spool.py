"""A spool keeps what is not acknowledged, sends it again with patience, and gives up telemetry before events."""

from __future__ import annotations

from device_sim.spool import RESEND_FIRST_S, RESEND_MOST_S, Entry, Spool


def entry(name: str, *, urgent: bool = False) -> Entry:
    return Entry(name, "event" if urgent else "telemetry", b"{}", urgent)


def ids(spool: Spool, now: float) -> list[str]:
    return [found.id for found in spool.due(now)]


def test_spool_keeps_a_message_until_it_is_acknowledged() -> None:
    spool = Spool()
    spool.add(entry("a"))
    assert "a" in spool
    assert spool.acknowledge("a")
    assert not spool.acknowledge("a")
    assert len(spool) == 0


def test_spool_resends_after_a_wait_that_doubles_up_to_a_minute() -> None:
    spool = Spool()
    spool.add(entry("a"))
    now, waits = 100.0, []
    for _ in range(7):
        (found,) = spool.due(now)
        spool.sent(found, now)
        assert ids(spool, found.due - 0.01) == []
        waits.append(found.due - now)
        now = found.due
    assert waits[:3] == [RESEND_FIRST_S, 2 * RESEND_FIRST_S, 4 * RESEND_FIRST_S]
    assert waits[-1] == RESEND_MOST_S


def test_spool_sends_events_before_older_telemetry() -> None:
    spool = Spool()
    for name in ("t1", "t2"):
        spool.add(entry(name))
    spool.add(entry("sos", urgent=True))
    assert ids(spool, 0.0) == ["sos", "t1", "t2"]


def test_spool_full_drops_the_oldest_telemetry_and_counts_it() -> None:
    spool = Spool(capacity=3)
    spool.add(entry("sos", urgent=True))
    for name in ("t1", "t2", "t3"):
        spool.add(entry(name))
    assert ids(spool, 0.0) == ["sos", "t2", "t3"]
    assert spool.dropped == 1


def test_spool_full_of_events_drops_the_oldest_event() -> None:
    spool = Spool(capacity=2)
    for name in ("e1", "e2", "e3"):
        spool.add(entry(name, urgent=True))
    assert ids(spool, 0.0) == ["e2", "e3"]


def test_spool_new_connection_makes_everything_due() -> None:
    spool = Spool()
    spool.add(entry("a"))
    (found,) = spool.due(0.0)
    for _ in range(4):
        spool.sent(found, 0.0)
    assert ids(spool, 1.0) == []
    spool.reconnected()
    assert ids(spool, 1.0) == ["a"]
