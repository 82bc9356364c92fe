"""What the doctor makes of what it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.cli.checks import judge_clock, judge_database
from services.cli.home import Given, database_url, find_home, tr

GOOD: dict[str, Any] = {
    "server": "17.6",
    "server_num": 170006,
    "timescaledb": "2.19.3",
    "timescaledb_available": "2.19.3",
    "license": "apache",
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "data_checksums": "on",
    "max_connections": 200,
}


def test_doctor_finds_nothing_at_a_good_database() -> None:
    assert {finding.level for finding in judge_database(GOOD)} == {"ok"}


@pytest.mark.parametrize(
    ("change", "subject", "level"),
    [
        ({"server_num": 160004}, "PostgreSQL", "broken"),
        ({"timescaledb": None, "timescaledb_available": None}, "TimescaleDB", "broken"),
        ({"timescaledb": None}, "TimescaleDB", "broken"),
        ({"timescaledb": "2.9.1", "timescaledb_available": "2.9.1"}, "TimescaleDB", "broken"),
        ({"timescaledb_available": "2.20.0"}, "TimescaleDB", "warning"),
        ({"synchronous_commit": "off"}, "synchronous_commit", "broken"),
        ({"synchronous_commit": "local"}, "synchronous_commit", "broken"),
        ({"fsync": "off"}, "fsync", "broken"),
        ({"data_checksums": "off"}, "data checksums", "warning"),
        ({"max_connections": 20}, "connections", "warning"),
    ],
)
def test_doctor_finds_what_breaks_a_promise(change: dict[str, Any], subject: str, level: str) -> None:
    (finding,) = [finding for finding in judge_database({**GOOD, **change}) if finding.level != "ok"]
    assert (finding.subject, finding.level) == (subject, level)
    assert finding.todo


@pytest.mark.parametrize(
    ("database", "level"),
    [(1.8e9 + 0.005, "ok"), (1.8e9 + 1, "warning"), (1.8e9 - 1, "warning"), (1.8e9 + 60, "broken"), (0, "broken")],
)
def test_doctor_compares_clocks(database: float, level: str) -> None:
    assert judge_clock(database, before=1.8e9, after=1.8e9 + 0.01).level == level


def test_doctor_does_not_believe_a_host_before_its_time() -> None:
    assert judge_clock(0.0, before=0.0, after=0.0).level == "broken"


def test_home_is_named_or_that_of_the_project(tmp_path: Path) -> None:
    inside = tmp_path / "project" / "deep" / "down"
    inside.mkdir(parents=True)
    assert find_home({}, inside) == inside / ".linhub"
    (tmp_path / "project" / "pyproject.toml").touch()
    assert find_home({}, inside) == tmp_path / "project" / ".linhub"
    (tmp_path / "project" / "deep" / ".linhub" / "run").mkdir(parents=True)
    assert find_home({}, inside) == tmp_path / "project" / "deep" / ".linhub"
    assert find_home({"LINHUB_HOME": str(tmp_path / "named")}, inside) == tmp_path / "named"


def test_database_of_a_home_is_the_given_one_or_its_own(tmp_path: Path) -> None:
    assert database_url(tmp_path, {}) is None
    assert database_url(tmp_path, {"LINHUB_DATABASE_URL": "postgresql://h/d"}) == "postgresql://h/d"


@pytest.mark.parametrize("url", ["broker", "mqtt://", "mqtt://h:port", "mqtts://h:8883", "tcp://h"])
def test_given_broker_address_must_be_one(url: str) -> None:
    with pytest.raises(ValueError, match="LINHUB_MQTT_URL is wrong"):
        Given.from_environment({"LINHUB_MQTT_URL": url})


def test_given_servers_may_be_none() -> None:
    assert Given.from_environment({"LINHUB_MQTT_URL": ""}) == Given(None, None)


def test_words_follow_the_terminal() -> None:
    assert tr("up", "就绪", {"LANG": "zh_CN.UTF-8"}) == "就绪"
    assert tr("up", "就绪", {"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}) == "up"
    assert tr("up", "就绪", {}) == "up"
