"""Classes of orders as written: the defaults, and every fault of a document at once with its line."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from services.adapters.orders.class_files import default_document, load_defaults, read_text
from services.cli.main import app
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Draft, Mode, Rung, Source
from services.domain.orders.classes.document import MOVES, NEEDS
from services.domain.orders.classes.writing import write_classes
from services.domain.orders.needs import Need
from services.domain.orders.pauses import REASONS
from services.domain.orders.states import Move
from services.domain.vocabulary import Label, Severity, Team

GOOD = """\
calendars:
  day: [{days: all, from: "08:00", to: "20:00"}]
classes:
  - id: grave
    title: {zh: 严重, en: Grave}
    match: {severity: [critical]}
    clocks:
      accept: {due: 1m, warn: 15s, ladder: {leader: 0s, desk: 1m}}
      resolve: {due: 4h}
      verify: {due: 24h}
    needs: {resolve: [photo_after]}
    pause: {reasons: [weather], longest: 4h}
  - id: rest
    title: {zh: 其余, en: Rest}
    calendar: day
    clocks:
      accept: {due: 10m, again: 30m}
      resolve: {due: 24h}
      verify: {due: 48h}
"""


def draft(severity: Severity, kind: str = "bin", source: Source = Source.ALERT, **more: str) -> Draft:
    return Draft(
        OrderId(UUID(int=1)), CommunityId("c"), source, kind, severity, Label("x", "x"),
        Team.PATROL, "d@1", **more,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (draft(Severity.CRITICAL, "gas_alarm"), "emergency"),
        (draft(Severity.CRITICAL, "highthrow_camera"), "emergency"),
        (draft(Severity.CRITICAL, "report", Source.RESIDENT), "emergency"),
        (draft(Severity.MAJOR, "highthrow_camera"), "high_throw"),
        (draft(Severity.MINOR, "highthrow_camera"), "routine"),
        (draft(Severity.MAJOR, "report", Source.RESIDENT), "report_urgent"),
        (draft(Severity.MINOR, "report", Source.PLATFORM), "report"),
        (draft(Severity.MINOR, "wristband"), "care"),
        (draft(Severity.MAJOR, "wristband"), "urgent"),
        (draft(Severity.MINOR, "water_meter", rule_id="water_meter.elder_silence"), "care"),
        (draft(Severity.MINOR, "water_meter", rule_id="water_meter.continuous_use"), "routine"),
        (draft(Severity.MAJOR, "manhole"), "urgent"),
        (draft(Severity.INFO, "environment"), "info"),
        (draft(Severity.MINOR, "patrol", Source.PATROL), "routine"),
    ],
)
def test_classes_by_default_take_what_is_theirs(case: Draft, name: str) -> None:
    assert load_defaults().of(case).id == name


def test_classes_by_default_keep_the_promised_times() -> None:
    terms = load_defaults().terms(draft(Severity.CRITICAL), 0, "Asia/Shanghai")
    assert [terms.clocks[name].due_s for name in ("accept", "arrive", "resolve", "verify")] == [60, 600, 14400, 86400]
    assert [(int(step.rung), step.after_s) for step in terms.clocks["accept"].steps] == [
        (1, 0),
        (2, 60),
        (3, 120),
        (4, 240),
    ]
    assert (terms.mode, terms.offer, terms.spans) == (Mode.FIRST, 3, ())
    for severity in (Severity.MAJOR, Severity.MINOR):
        plain = load_defaults().terms(draft(severity), 0, "Asia/Shanghai")
        assert [plain.clocks[name].due_s for name in ("accept", "arrive", "resolve", "verify")] == [
            600, 7200, 86400, 172800
        ]  # fmt: skip


def test_classes_by_default_ask_for_photos_only_where_evidence_is_the_point() -> None:
    assert {one.id: dict(one.needs) for one in load_defaults().classes if one.needs} == {
        "high_throw": {"resolve": ("photo_after",)}
    }


def test_classes_every_default_clock_has_somebody_to_turn_to() -> None:
    for one in load_defaults().classes:
        for name, clock in one.clocks.items():
            assert clock.ladder and clock.warn_s, (one.id, name)
            assert all(step.rung > Rung.TEAM for step in (*clock.ladder, *clock.nights))


def test_classes_name_needs_reasons_and_moves_that_exist() -> None:
    assert set(NEEDS) <= {need.value for need in Need}
    assert set(MOVES) <= {move.value for move in Move}
    assert {reason for one in load_defaults().classes for reason in one.pause.reasons} <= set(REASONS)


FAULTS: list[tuple[str, str, tuple[int, str, str]]] = [
    ("classes:\n", "klasses:\n", (1, "", "expected a list of classes")),
    ("id: rest", "id: grave", (13, "classes[1].id", "classes[0] already")),
    ("id: rest", "id: Rest", (13, "classes[1].id", "small letters")),
    ("en: Rest", "en: ''", (14, "classes[1].title.en", "must not be empty")),
    ("[critical]", "[critcal]", (6, "classes[0].match.severity[0]", "did you mean critical")),
    ("{severity: [critical]}", "{}", (6, "classes[0].match", "says nothing")),
    ("{severity: [critical]}", "{kinds: [bins]}", (6, "classes[0].match.kinds[0]", "did you mean bin")),
    ("{severity: [critical]}", "{sources: [martian]}", (6, "classes[0].match.sources[0]", "no source martian")),
    ("due: 1m, warn", "due: 0s, warn", (8, "classes[0].clocks.accept.due", "at least 1s")),
    ("due: 1m, warn", "due: soon, warn", (8, "classes[0].clocks.accept.due", "is no span")),
    ("warn: 15s", "warn: 1m", (8, "classes[0].clocks.accept.warn", "before the clock runs out")),
    ("leader: 0s", "boss: 0s", (8, "classes[0].clocks.accept.ladder.boss", "no rung boss")),
    ("leader: 0s", "leader: 5m", (8, "classes[0].clocks.accept.ladder.desk", "before the rung below")),
    (", ladder: {leader: 0s, desk: 1m}", "", (8, "classes[0].clocks.accept", "needs a ladder")),
    ("      resolve: {due: 4h}\n", "", (7, "classes[0].clocks", "resolve is missing")),
    ("      verify: {due: 24h}\n", "", (7, "classes[0].clocks", "verify is missing")),
    ("verify: {due: 24h}", "verify: {due: 24h, again: 5m}", (10, "classes[0].clocks.verify.again", "alone")),
    ("warn: 15s", "again: 5s", (8, "classes[0].clocks.accept.again", "between 1m")),
    ("resolve: {due: 4h}", "resolve: {due: 4h}\n      fix: {due: 1h}", (10, "classes[0].clocks.fix", "no clock fix")),
    ("[photo_after]", "[foto]", (11, "classes[0].needs.resolve[0]", "no need foto")),
    ("[photo_after]", "[on_site]", (11, "classes[0].needs.resolve[0]", "arrive only")),
    ("needs: {resolve", "needs: {solve", (11, "classes[0].needs.solve", "did you mean resolve")),
    ("[weather]", "[rain]", (12, "classes[0].pause.reasons[0]", "no reason to pause rain")),
    (", longest: 4h", "", (12, "classes[0].pause", "might never end")),
    ("needs: {resolve", "needs: {accept: [reason], resolve", (11, "classes[0].needs.accept", "asked for nothing")),
    ("[weather]", "[]", (12, "classes[0].pause.longest", "no reason for which")),
    ("calendar: day", "calendar: night", (15, "classes[1].calendar", "no calendar night")),
    ("days: all", "days: someday", (2, "calendars.day[0].days", "unknown day")),
    ('from: "08:00"', 'from: "25:00"', (2, "calendars.day[0].from", "is no time of day")),
    ('[{days: all, from: "08:00", to: "20:00"}]', "[]", (2, "calendars.day", "no working time")),
    ("day: [{days: all", "always: [{days: all", (2, "calendars.always", "cannot be another")),
    ("resolve: {due: 24h}", "resolve: {due: 366d}", (18, "classes[1].clocks.resolve", "more than a year")),
    ("    match: {severity: [critical]}\n", "", (4, "classes[0]", "no class after it")),
    ("    calendar: day\n", "    match: {severity: [minor]}\n", (15, "classes[1].match", "leave match out")),
    ("severity: [critical]", "severity: [major]", (15, "classes[1].calendar", "has to be always")),
    ("    pause:", "    offer: 99\n    pause:", (12, "classes[0].offer", "between 1 and 20")),
    ("    pause:", "    mode: shout\n    pause:", (12, "classes[0].mode", "no value shout")),
    ("classes:\n", "nights: {from: late}\nclasses:\n", (3, "nights.from", "is no time of day")),
]


@pytest.mark.parametrize(("old", "new", "fault"), FAULTS, ids=[f"{n}" for n in range(len(FAULTS))])
def test_classes_fault_is_told_with_its_line(old: str, new: str, fault: tuple[int, str, str]) -> None:
    assert old in GOOD
    text = read_text(GOOD.replace(old, new, 1))
    line, where, words = fault
    assert text.classes is None
    found = [(one.line, one.where) for one in text.findings]
    assert (line, where) in found, [one.said("x") for one in text.findings]
    assert any(words in one.words.en and one.words.zh for one in text.findings if one.where == where)


def test_classes_all_faults_are_told_at_once() -> None:
    text = read_text(GOOD.replace("[critical]", "[x]").replace("15s", "2m").replace("[weather]", "[rain]"))
    assert [one.line for one in text.findings] == [6, 8, 12]


@pytest.mark.parametrize("document", [GOOD, default_document()])
def test_classes_written_back_are_the_same_classes(document: str) -> None:
    given = read_text(document).classes
    assert given is not None
    written = write_classes(given)
    again = read_text(written)
    assert again.findings == () and again.classes == given
    assert again.classes is not None and write_classes(again.classes) == written


def test_classes_of_a_good_document() -> None:
    text = read_text(GOOD)
    assert text.findings == () and text.classes is not None
    terms = text.classes.terms(draft(Severity.MINOR), 7, "Asia/Shanghai")
    assert (terms.class_id, terms.class_version, terms.spans[0].to_hour) == ("rest", 7, 20)
    assert text.classes.of(draft(Severity.CRITICAL)).pause.longest_s == 4 * 3600


_LINES = default_document().splitlines()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_classes_of_a_torn_document_are_told_of_and_never_an_error(data: st.DataObject) -> None:
    """Lines dropped, doubled, cut and mixed up: a document is good or has faults, each somewhere within it."""
    lines = list(_LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "double", "cut", "swap"])):
            case "drop":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "cut":
                lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
            case _:
                lines[at], lines[0] = lines[0], lines[at]
    text = read_text("\n".join(lines))
    assert (text.classes is None) == bool(text.findings)
    assert all(1 <= one.line <= len(lines) + 1 for one in text.findings)


def test_classes_are_checked_from_the_command_line(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD, encoding="utf-8")
    bad.write_text(GOOD.replace("15s", "15m"), encoding="utf-8")
    runner = CliRunner()
    assert runner.invoke(app, ["orders", "classes", "check", str(good)]).exit_code == 0
    refused = runner.invoke(app, ["orders", "classes", "check", str(good), str(bad)])
    assert refused.exit_code == 1 and "bad.yaml:8:" in refused.output
    assert runner.invoke(app, ["orders", "classes", "check", str(tmp_path / "none")]).exit_code == 2
    assert runner.invoke(app, ["orders", "classes", "defaults", "--yaml"]).output == default_document()
