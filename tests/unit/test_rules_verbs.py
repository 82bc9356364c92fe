"""`linhub rules check` and `show`."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from services.adapters.rules import load_defaults, read_text
from services.adapters.rules.files import DEFAULTS
from services.cli.main import app

WRONG = "kind: gate\nid: gate.x\ntitle: {zh: 甲, en: A}\nseverity: minor\nteam: grid\nwhen:\n  event: {event: forcd}\n"


def test_rules_check_tells_file_line_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(WRONG, encoding="utf-8")
    ran = CliRunner().invoke(app, ["rules", "check", str(path), str(DEFAULTS / "gate.yaml"), "--json"])
    assert ran.exit_code == 1
    report = json.loads(ran.stdout)
    assert (report["ok"], report["rules"]) == (False, len(load_defaults()["gate"]))
    (fault,) = report["faults"]
    assert (fault["line"], fault["column"], fault["where"]) == (7, 11, "when.event.event")
    path.write_text(WRONG.replace("forcd", "forced"), encoding="utf-8")
    assert CliRunner().invoke(app, ["rules", "check", str(path)]).exit_code == 0
    assert CliRunner().invoke(app, ["rules", "check", str(tmp_path / "none.yaml")]).exit_code == 1


def test_rules_show_writes_a_rule_that_can_be_read_again() -> None:
    ran = CliRunner().invoke(app, ["rules", "show", "gate.held"])
    assert ran.exit_code == 0
    assert read_text(ran.stdout).rules[0] in load_defaults()["gate"]
    every = json.loads(CliRunner().invoke(app, ["rules", "show", "--json"]).stdout)
    assert len(every) == sum(map(len, load_defaults().values()))
    assert CliRunner().invoke(app, ["rules", "show", "gate.nothing"]).exit_code == 1
