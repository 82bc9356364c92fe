"""What a simulated device remembers of commands: at most once, whatever dies in between."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from device_sim.obeyed import INTERRUPTED, KEPT_S, Obeyed

SOON = round(time.time() * 1000) + 60_000


def test_answer_outlives_a_restart(tmp_path: Path) -> None:
    first = Obeyed(tmp_path / "o")
    assert first.answer("d", "1") is None
    first.begin("d", "1", SOON)
    first.end("d", "1", (True, "done"))
    assert Obeyed(tmp_path / "o").answer("d", "1") == (True, "done")
    assert Obeyed(tmp_path / "o").answer("e", "1") is None, "another device's is another's"


def test_what_was_begun_and_never_ended_is_not_begun_again(tmp_path: Path) -> None:
    Obeyed(tmp_path / "o").begin("d", "1", SOON)
    assert Obeyed(tmp_path / "o").answer("d", "1") == INTERRUPTED


def test_two_processes_know_of_each_other(tmp_path: Path) -> None:
    fleet, story = Obeyed(tmp_path / "o"), Obeyed(tmp_path / "o")
    fleet.begin("d", "1", SOON)
    fleet.end("d", "1", (True, "done"))
    assert story.answer("d", "1") == (True, "done")
    story.begin("d", "2", SOON)
    story.end("d", "2", (False, "jammed"))
    assert fleet.answer("d", "2") == (False, "jammed")
    fleet.compact()
    story.begin("d", "3", SOON)
    story.end("d", "3", (True, "done"))
    assert fleet.answer("d", "3") == story.answer("d", "1") == (True, "done")


def test_torn_line_costs_only_itself(tmp_path: Path) -> None:
    kept = Obeyed(tmp_path / "o")
    kept.begin("d", "1", SOON)
    kept.end("d", "1", (True, "done"))
    with (tmp_path / "o").open("ab") as file:
        file.write(b'\n{"key": "d|2", "exp')
    after = Obeyed(tmp_path / "o")
    after.begin("d", "3", SOON)
    after.end("d", "3", (True, "done"))
    again = Obeyed(tmp_path / "o")
    assert [again.answer("d", one) for one in "123"] == [(True, "done"), None, (True, "done")]


def test_compaction_forgets_what_expired_long_ago_alone(tmp_path: Path) -> None:
    kept = Obeyed(tmp_path / "o")
    for name, expires in (("old", SOON - round(KEPT_S * 2000)), ("new", SOON)):
        kept.begin("d", name, expires)
        kept.end("d", name, (True, "done"))
    kept.begin("d", "cut", SOON)
    assert kept.compact() == 2
    assert kept.answer("d", "old") is None and kept.answer("d", "new") == (True, "done")
    assert Obeyed(tmp_path / "o").answer("d", "cut") == INTERRUPTED


def test_disk_that_takes_nothing_lets_nothing_begin(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    with pytest.raises(OSError, match="directory"):
        Obeyed(tmp_path / "o").begin("d", "1", SOON)
