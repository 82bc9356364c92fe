"""What the watch over the broker makes of its figures and its disk."""

from __future__ import annotations

import re
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from deploy.embedded import broker
from services.adapters.broker_figures import Figures
from services.adapters.mqtt import Address
from services.cli.broker_watch import BrokerLimits, BrokerWatch, Disk, Drops, judge
from services.cli.checks import judge_saved, judge_waiting

LIMITS = BrokerLimits(queue_messages=1000, queue_bytes=100_000, save_s=120)
WELL = Figures(uptime_s=5000, dropped=0, stored=700, stored_bytes=50_000, retained=100, connected=3)
SAVED = Disk(free=10**10, save=None, age_s=60)
NONE = Drops()
Usage = namedtuple("Usage", "total used free")


def told(figures: Figures = WELL, drops: Drops = NONE, silent_s: float = 1, disk: Disk | None = SAVED) -> set[str]:
    return set(judge(figures, drops, silent_s, disk, LIMITS))


def test_broker_that_is_well_has_no_trouble() -> None:
    assert told() == set()
    assert told(disk=None) == set()
    assert told(Figures()) == set()


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ({"silent_s": 60.0}, "silent"),
        ({"drops": Drops(5, 5, 299)}, "dropped"),
        ({"figures": Figures(stored=900, retained=100, stored_bytes=0)}, "queue"),
        ({"figures": Figures(stored=2, retained=1, stored_bytes=80_000)}, "queue"),
        ({"disk": Disk(0, "the disk is full", 3)}, "disk"),
        ({"disk": Disk(10**10, None, 361)}, "unsaved"),
    ],
)
def test_broker_trouble_is_told_by_kind(case: dict[str, Any], kind: str) -> None:
    assert told(**case) == {kind}


@pytest.mark.parametrize(
    "case",
    [
        {"drops": Drops(5, 5, 301)},
        {"figures": Figures(stored=899, retained=100, stored_bytes=79_999)},
        # One that was just started could not save yet, however old the file is.
        {"figures": Figures(uptime_s=100), "disk": Disk(10**10, None, 9999)},
    ],
)
def test_broker_is_not_blamed_for_what_is_over_or_could_not_be(case: dict[str, Any]) -> None:
    assert told(**case) == set()


def test_broker_watch_counts_drops_across_restarts_of_the_broker() -> None:
    registry = CollectorRegistry()
    watch = BrokerWatch(Address("x", 1, None, None), "", LIMITS, registry=registry)

    def look(dropped: int | None) -> float:
        reader: Any = SimpleNamespace(figures=Figures(dropped=dropped), heard_at=time.monotonic(), refused=None)
        watch.look(reader, 0.0)
        return registry.get_sample_value("linhub_broker_dropped_messages_total") or 0.0

    assert [look(n) for n in (0, 7, 7, None, 3, 3, 4)] == [0, 7, 7, 7, 10, 10, 11]
    assert "dropped 11 messages" in str(watch.why())


def test_broker_limits_of_the_watch_are_those_shipped() -> None:
    text = (broker.SHIPPED / "mosquitto.conf").read_text()
    shipped = dict(re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE))
    limits = BrokerLimits()
    assert (limits.queue_messages, limits.queue_bytes, limits.save_s) == (
        int(shipped["max_queued_messages"]),
        int(shipped["max_queued_bytes"]),
        int(shipped["autosave_interval"]),
    )
    assert limits.queue_messages >= 600 * 5000, "ten minutes of outage at 5,000 messages a second"


@pytest.mark.parametrize(
    ("free", "saved", "words"),
    [
        (10**9, None, None),
        (10**9, b"x", None),
        (10**9, b"", "empty file"),
        (10**6, b"x", "disk is full"),
        (4 * 10**7, b"x", "nearly full"),
    ],
)
def test_broker_that_cannot_save_is_found(
    free: int, saved: bytes | None, words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.embedded.broker.shutil.disk_usage", lambda _: Usage(10**10, 0, free))
    if saved is not None:
        (tmp_path / "mosquitto.db").write_bytes(saved)
    why = broker.save_trouble(tmp_path, needed=10**8)
    assert why is None if words is None else words in str(why)
    finding = judge_saved(tmp_path)
    expected = "ok" if words in (None, "nearly full") else "broken"
    assert finding.level == expected


def test_broker_save_of_what_waits_needs_room() -> None:
    disk = Disk.look(Path("/"), Figures(stored=10**12, stored_bytes=10**14))
    assert "nearly full" in str(disk.save)


def test_broker_queue_near_its_limit_is_found_by_the_doctor() -> None:
    configuration = "max_queued_messages 1000\nmax_queued_bytes 0\n"
    assert judge_waiting(Figures(stored=799), configuration).level == "ok"
    finding = judge_waiting(Figures(stored=800, stored_bytes=10**12), configuration)
    assert (finding.level, "near max_queued_messages" in finding.found) == ("warning", True)
