"""Every case of the default rules, and what there must be cases of; the notation in which they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.adapters.case_files import BadFile, read_cases
from services.adapters.rules import default_rulebook
from services.cli.main import app
from services.cli.rules_test import OURS, Shown, default_coverage, files_in, run_files
from services.domain.devices import BY_NAME
from services.domain.proof.case import WrittenFile
from services.domain.proof.run import run_case
from services.domain.proof.series import BadSeries, read_series
from services.domain.rules import KINDS
from services.domain.rules.document import kind_name


@pytest.fixture(scope="module")
def tested() -> list[Shown]:
    tested, broken = run_files(files_in([OURS]))
    assert not broken
    return tested


def test_cases_of_default_rules_come_out_as_written(tested: list[Shown]) -> None:
    wrong = {f"{one.path.name}:{one.line} {one.ran.name}": one.ran.wrong for one in tested if not one.ran.passed}
    assert not wrong


def test_cases_show_of_every_default_rule_that_it_fires_stays_silent_and_clears(tested: list[Shown]) -> None:
    assert not default_coverage(tested).missing


BOUNDARIES = {
    "event": "for hysteresis gap late duplicate reorder",
    "threshold": "limit for hysteresis gap late duplicate reorder",
    "offline": "for window gap late duplicate reorder",
    "n_of_m": "limit window gap late duplicate reorder",
    "consumption": "limit window gap late duplicate reorder",
    "absence": "window gap late duplicate reorder",
    "correlation": "limit window gap late duplicate reorder",
    "clock": "limit hysteresis gap late duplicate reorder",
    # A refusal is noted by the server in its own time: it is neither late nor overtaken, and silence is its end.
    "flood": "limit for duplicate",
    # The engine itself says how far behind it is: neither late nor overtaken.
    "delay": "limit hysteresis gap duplicate",
    "rate": "limit for window hysteresis gap late duplicate reorder",
    "window": "limit window hysteresis gap late duplicate reorder",
    "silence": "for gap late duplicate reorder",
    "sequence": "for gap late duplicate reorder",
    "gathering": "limit window hysteresis gap late duplicate reorder",
    "geofence": "limit for hysteresis gap late duplicate reorder",
    "schedule": "for window gap late duplicate reorder",
    "baseline": "limit for window gap late duplicate reorder",
}
"""What there is an edge of in each rule kind; the name of a case begins with the edges that it is about."""


@pytest.mark.parametrize("kind", sorted({kind_name(kind.parameters) for kind in KINDS} | BOUNDARIES.keys()))
def test_every_rule_kind_has_cases_of_its_edges_that_pass(tested: list[Shown], kind: str) -> None:
    mine = [one.ran for one in tested if one.path == OURS / "kinds" / f"{kind}.yaml"]
    assert mine, f"tests/golden/rules/kinds/{kind}.yaml is missing"
    assert all(ran.passed and kind in ran.kinds for ran in mine)
    edges = {edge.strip() for ran in mine for edge in ran.name.partition(":")[0].split(",")}
    assert edges == set(BOUNDARIES[kind].split())
    assert kind in default_coverage(tested).kinds


def test_cases_of_unknown_rules_are_not_about_anything(tested: list[Shown]) -> None:
    known = {rule.id for rules in default_rulebook().defaults.values() for rule in rules}
    own = {one.ran.name for one in tested if not set(one.ran.about) <= known and "kinds" not in one.path.parts}
    assert not own


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("4", [4.0]),
        ("0 4x3 _ 1", [0.0, 4.0, 4.0, 4.0, None, 1.0]),
        ("_x2 on off", [None, None, 1.0, 0.0]),
        ("10+0.1x4", [10.0, 10.1, 10.2, 10.3]),
        ("5-2x3 -1", [5.0, 3.0, 1.0, -1.0]),
        (True, [1.0]),
    ],
)
def test_series_are_read(written: str, values: list[float | None]) -> None:
    assert read_series(written) == values


@pytest.mark.parametrize("written", ["4x", "four", "4+1", "1e5", "4x999999999", "x4"])
def test_series_that_make_no_sense_are_refused(written: str) -> None:
    with pytest.raises(BadSeries):
        read_series(written)


def _wrong(expect: Sequence[Mapping[str, object]], **case: object) -> tuple[str, ...]:
    file = WrittenFile.model_validate(
        {
            "kind": "water_meter",
            "cases": [{"name": "one", "series": [{"values": {"flow": "0 4 4 0"}}], "expect": expect, **case}],
        }
    )
    return run_case(file, file.cases[0], BY_NAME, default_rulebook()).wrong


def test_a_failed_case_says_what_was_expected_what_came_and_when() -> None:
    right = {"rule": "water_meter.burst", "onset": "15m", "fired": "16m", "cleared": "45m", "severity": "major"}
    assert _wrong([right]) == ()
    assert "fired at +16m (11-18 08:16:00), expected +17m" in _wrong([{**right, "fired": "17m"}])[0]
    assert "cleared at +45m (11-18 08:45:00), expected no time" in _wrong([{**right, "cleared": None}])[0]
    assert "severity major, expected minor" in _wrong([{**right, "severity": "minor"}])[0]
    assert "repeated 0, expected 2" in _wrong([{**right, "repeated": 2}])[0]
    assert _wrong([])[0].startswith("unexpected: water_meter.burst (major) on device fired at +16m")
    assert _wrong([right, {"rule": "water_meter.leak", "fired": "5m"}]) == (
        "missing: water_meter.leak on device at +5m (11-18 08:05:00)",
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"series": [{"values": {"flow": "0 4", "battery": "3 3 3"}}]}, "different lengths: flow 2, battery 3"),
        ({"series": [{"values": {"pressure": "1"}}]}, "has no metric pressure"),
        ({"events": [{"event": "flood"}]}, "has no event flood"),
        ({"series": [{"device": "other", "values": {"flow": "1"}}]}, "there is no device other"),
        ({"start": "yesterday"}, "start:"),
    ],
)
def test_a_case_that_makes_no_sense_fails_with_the_reason(more: dict[str, object], said: str) -> None:
    assert said in _wrong([], **more)[0]


def test_what_is_late_overtaken_or_left_out_arrives_as_written() -> None:
    late = {"values": {"flow": "4 4"}, "arrives": ["50m", "51m"]}
    assert _wrong([], series=[late]) == ()
    overtaken = {"values": {"flow": "4 0"}, "arrives": ["20m", "15m"]}
    assert _wrong([], series=[overtaken]) == ()


def test_a_file_that_cannot_be_read_names_line_and_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("kind: water_meter\ncases:\n  - name: one\n    events:\n      - {at: soon, event: leak}\n")
    with pytest.raises(BadFile, match=r"bad.yaml:5:\d+: cases\[0\].events\[0\].at.*'soon' is no span"):
        read_cases(path)


def test_the_command_counts_and_fails(tmp_path: Path) -> None:
    good = CliRunner().invoke(app, ["rules", "test", str(OURS / "water_meter.yaml"), "--json"])
    told = json.loads(good.stdout)
    assert good.exit_code == 0 and told["cases"] > 20 and told["failed"] == []
    path = tmp_path / "mine.yaml"
    path.write_text("kind: water_meter\ncases:\n  - name: nothing\n    events: [{event: leak}]\n    expect: []\n")
    bad = CliRunner().invoke(app, ["rules", "test", str(path)])
    assert (bad.exit_code == 1 and "1 个用例，1 个失败" in bad.stdout) or "1 cases, 1 failed" in bad.stdout
    assert CliRunner().invoke(app, ["rules", "test", str(tmp_path / "none.yaml")]).exit_code == 2
