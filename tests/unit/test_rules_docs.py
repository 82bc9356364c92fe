"""docs/rules.md: every example is a rule, and every rule kind has one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from services.adapters.rules import load_defaults, read_text
from services.domain.rules import BY_PARAMETERS, document
from services.domain.rules.document import BY_WORD, Others, kind_name
from services.domain.rules.fields import shapes
from services.domain.rules.parameters import Parameters
from services.domain.rules.rule import Rule

DOCS = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
BESIDE = Others(tuple((kind, rule) for kind, rules in load_defaults().items() for rule in rules))
WORDS = {kind_name(cls): cls for cls in get_args(Parameters)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.findall(r"id: (\S+)", text)[0])
def test_rules_docs_example_is_a_rule(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "BY_WORD", WORDS)
    assert [finding.said("example") for finding in read_text(example, BESIDE).findings] == []


def test_rules_docs_show_every_rule_kind() -> None:
    shown = {word for text in EXAMPLES for word in re.findall(r"^ +(\w+): \{", text, re.MULTILINE)}
    assert set(WORDS) <= shown
    assert set(BY_WORD.values()) == set(BY_PARAMETERS)


def test_rules_docs_name_every_field_of_a_rule() -> None:
    known = {shape.written for shape in shapes(Rule)} - {"parameters", "id", "title", "severity", "team", "version"}
    assert {name for name in known if f"| `{name}` |" not in DOCS} == set()
