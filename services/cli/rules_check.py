"""`linhub rules check`: what is wrong with files of rules, each fault with its line; nothing is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from services.adapters.rules import Finding, RuleFileError, load_defaults, read_file
from services.domain.rules.document import Others
from services.domain.vocabulary import Label


def check(paths: Sequence[Path]) -> tuple[int, list[tuple[Path, Finding]]]:
    """How many rules are sound, and every fault. The files stand beside the defaults and beside each other."""
    texts, faults = [], []
    for path in paths:
        try:
            texts.append((path, read_file(path)))
        except RuleFileError as error:
            faults.append((path, Finding(0, 0, "", Label(str(error), str(error)))))
    given = {rule.id for _, text in texts for rule in text.rules}
    beside = [(kind, rule) for kind, rules in load_defaults().items() for rule in rules if rule.id not in given]
    beside += [(text.kind, rule) for _, text in texts for rule in text.rules]
    rules = 0
    for path, text in texts:
        # Faults within the file first; how it stands beside others means nothing while it has any.
        found = text.findings or read_file(path, Others(tuple(beside))).findings
        faults += [(path, finding) for finding in found]
        rules += 0 if found else len(text.rules)
    return rules, faults


def _plain(path: Path, finding: Finding) -> dict[str, Any]:
    return {
        "file": str(path),
        "line": finding.line or None,
        "column": finding.column or None,
        "where": finding.where,
        "zh": finding.words.zh,
        "en": finding.words.en,
    }


def register(app: typer.Typer) -> None:
    @app.command(name="check")
    def check_command(
        files: Annotated[list[Path], typer.Argument(help="规则文件 · files of rules (YAML)")],
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Check files of rules; exit code 1 when anything is wrong. Stores nothing."""
        rules, faults = check(files)
        if as_json:
            report = {"ok": not faults, "rules": rules, "faults": [_plain(*fault) for fault in faults]}
            typer.echo(json.dumps(report, ensure_ascii=False))
        else:
            for path, finding in faults:
                typer.echo(finding.said(str(path)) if finding.line else finding.words.zh, err=True)
            typer.echo(f"{rules} 条规则可用，{len(faults)} 处有误 · {rules} rules are sound, {len(faults)} faults")
        raise typer.Exit(1 if faults else 0)
