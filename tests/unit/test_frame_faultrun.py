"""The campaign of faults: every row has a test, and nothing passes by silence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy import faultrun
from deploy.faultrun import NEEDED, ROWS, Result, Row, chosen, read, table

FAULTS = Path(__file__).resolve().parents[1] / "faults"


def marked() -> set[int]:
    """The rows that the tests name."""
    source = "".join(path.read_text(encoding="utf-8") for path in FAULTS.glob("test_*.py"))
    by_row = [number for group in re.findall(r"^@row\(([\d, ]+)\)$", source, re.M) for number in group.split(",")]
    return {int(number) for number in [*by_row, *re.findall(r"mark\.fault\(row=(\d+)\)", source)]}


def test_every_row_of_the_fault_table_has_a_test() -> None:
    assert set(range(1, 23)) | {24, 26, 27} <= set(NEEDED) <= set(ROWS)
    assert set(NEEDED) - marked() == set()
    assert marked() <= set(ROWS)


def report(folder: Path, *cases: str) -> Path:
    path = folder / "row.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


def case(inner: str = "", **told: object) -> str:
    properties = "".join(f'<property name="{name}" value="{value}"/>' for name, value in told.items())
    return f'<testcase name="t"><properties>{properties}</properties>{inner}</testcase>'


KILLS, CALM = Row(3, "killed", kills=True), Row(5, "frozen")


def test_faultrun_adds_up_what_the_tests_of_a_row_told(tmp_path: Path) -> None:
    cases = [case(sent=10, lost=0, doubled=0, kills=20, seen_s=0.5), case(sent=5, lost=0, doubled=0, kills=21)]
    result = read(KILLS, report(tmp_path, *cases), 0, 20)
    assert (result.sent, result.lost, result.doubled, result.kills, result.tests) == (15, 0, 0, 41, 2)
    assert result.good and result.figures == ["seen s 0.5"]


@pytest.mark.parametrize(
    ("row", "cases", "code", "why"),
    [
        (CALM, [], 5, "no test carries this row"),
        (CALM, [case("<failure/>", lost=0, doubled=0)], 1, "1 of 1 tests failed"),
        (CALM, [case("<skipped/>", lost=0, doubled=0)], 0, "1 of 1 tests failed"),
        (CALM, [case(sent=1)], 0, "no test said what was lost"),
        (CALM, [case(lost=1, doubled=0)], 0, "lost 1, doubled 0"),
        (CALM, [case(lost=0, doubled=2), case(lost=0, doubled=0)], 0, "lost 0, doubled 2"),
        (KILLS, [case(lost=0, doubled=0, kills=19)], 0, "fewer kill points"),
    ],
)
def test_faultrun_refuses_a_row_that_proved_nothing(
    tmp_path: Path, row: Row, cases: list[str], code: int, why: str
) -> None:
    result = read(row, report(tmp_path, *cases), code, 20)
    assert why in result.note
    assert not result.good


def test_faultrun_refuses_a_row_without_a_report(tmp_path: Path) -> None:
    assert not read(CALM, tmp_path / "none.xml", 4, 20).good


def test_faultrun_table_has_a_line_for_each_row_and_names_what_is_wrong() -> None:
    good, bad = Result(1, "killed", 1, 0, 20, 9, 0, 0, ["seen s 1"], 7, 2.0), Result(2, "frozen", note="a | b")
    lines = table([good, bad]).splitlines()
    assert lines[2] == "| 1 | killed | 20 | 9 | 0 | 0 | seen s 1 | 7 | 2 |"
    assert lines[3] == "| 2 | frozen | – | – | – | – | **a / b** | 0 | 0 |"


def test_faultrun_takes_rows_by_number_and_range() -> None:
    assert [row.number for row in chosen("1-3,9")] == [1, 2, 3, 9]
    assert [row.number for row in chosen("22-26")] == [22, 23, 24, 25, 26]
    assert [row.number for row in chosen("")] == list(NEEDED)
    with pytest.raises(ValueError, match="no such row: 99"):
        chosen("99")


@pytest.mark.parametrize(("note", "code"), [("", 0), ("lost 1, doubled 0", 1)])
def test_faultrun_ends_with_the_verdict_and_leaves_both_tables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, note: str, code: int
) -> None:
    monkeypatch.setattr(faultrun, "RESULTS", tmp_path)

    def row(row: Row, kills: int, seed: int, freeze_s: float, log: Path) -> Result:
        return Result(row.number, row.fault, 1, 0, kills, 5, 0, 0, [], seed, 1.0, note)

    monkeypatch.setattr(faultrun, "run_row", row)
    assert faultrun.main(["--rows", "1", "--seed", "7"]) == code
    assert (tmp_path / "faults.json").is_file()
    assert "broker killed in mid-stream" in (tmp_path / "faults.md").read_text()
