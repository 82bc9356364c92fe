"""The summary of `make test`: counts that are pytest's own, and no tier that passes by silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy import testrun
from deploy.testrun import Outcome, command, count, table


def report(folder: Path, **numbers: int) -> Path:
    path = folder / "report.xml"
    attributes = " ".join(f'{name}="{value}"' for name, value in numbers.items())
    path.write_text(f"<testsuites><testsuite {attributes}/></testsuites>")
    return path


def test_testrun_counts_an_error_in_a_fixture_as_a_failure(tmp_path: Path) -> None:
    outcome = count("unit", report(tmp_path, tests=10, failures=1, errors=2, skipped=3), 1, 1.5)
    assert (outcome.passed, outcome.failed, outcome.skipped, outcome.good) == (4, 3, 3, False)


def test_testrun_accepts_a_tier_that_passed(tmp_path: Path) -> None:
    assert count("unit", report(tmp_path, tests=2, failures=0, errors=0, skipped=0), 0, 1.0).good


@pytest.mark.parametrize(
    ("numbers", "code", "why"),
    [
        ({"tests": 0, "failures": 0, "errors": 0, "skipped": 0}, 5, "no test ran"),
        ({"tests": 3, "failures": 0, "errors": 0, "skipped": 3}, 0, "no test ran"),
        ({"tests": 3, "failures": 0, "errors": 0, "skipped": 0}, 2, "pytest ended with exit code 2"),
    ],
)
def test_testrun_refuses_a_tier_that_proved_nothing(
    tmp_path: Path, numbers: dict[str, int], code: int, why: str
) -> None:
    outcome = count("unit", report(tmp_path, **numbers), code, 1.0)
    assert outcome.note == why
    assert not outcome.good


def test_testrun_refuses_a_tier_without_a_report(tmp_path: Path) -> None:
    assert not count("unit", tmp_path / "none.xml", 4, 0.1).good


def test_testrun_table_names_every_tier_and_the_sum() -> None:
    lines = table([Outcome("unit", 2, 0, 0, 1.0), Outcome("e2e", 1, 1, 1, 2.0, "odd")], 3.0).splitlines()
    assert [line.split()[:5] for line in lines[1:]] == [
        ["unit", "2", "0", "0", "1.0"],
        ["e2e", "1", "1", "1", "2.0"],
        ["all", "3", "1", "1", "3.0"],
    ]


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 1)])
def test_testrun_ends_with_the_sum_on_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failed: int, code: int
) -> None:
    monkeypatch.setattr(testrun, "run", lambda parts: [Outcome("unit", 5, failed), Outcome("e2e", 1, 0)])
    assert testrun.main([]) == code
    assert capsys.readouterr().out.splitlines()[-1] == f"6 passed, {failed} failed"


def test_testrun_runs_every_folder_of_tests() -> None:
    folders = {path.parent.name for path in (testrun.ROOT / "tests").glob("*/__init__.py")}
    assert folders - {"golden"} == set(testrun.TIERS)


def test_testrun_runs_every_part_once_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    order: list[str] = []
    monkeypatch.setattr(testrun, "RESULTS", tmp_path)

    def tier(name: str) -> Outcome:
        order.append(name)
        return Outcome(name, 1)

    monkeypatch.setattr(testrun, "run_tier", tier)
    monkeypatch.setattr(testrun, "run_checks", lambda: Outcome("check", 1))
    assert [outcome.tier for outcome in testrun.run(("check", *testrun.TIERS))] == ["check", *testrun.TIERS]
    assert order == list(testrun.TIERS)


@pytest.mark.parametrize(("runners", "more"), [(1, []), (3, ["--numprocesses=3", "--dist=loadfile"])])
def test_testrun_deals_files_out_to_runners(tmp_path: Path, runners: int, more: list[str]) -> None:
    assert command("integration", tmp_path / "report.xml", runners)[7:] == more
    assert command("faults", tmp_path / "report.xml", runners)[7:] == []
