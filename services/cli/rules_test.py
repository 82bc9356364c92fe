"""`linhub rules test`: series in, expected alerts at times, and nothing else; through the engine that runs live."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from services.adapters.case_files import BadFile, CaseFile, read_cases
from services.adapters.rules import default_rulebook, read_plain
from services.adapters.rules.files import RuleFileError
from services.cli.home import CODE, tr
from services.domain.devices import BY_NAME
from services.domain.proof.case import WrittenCase, WrittenFile
from services.domain.proof.coverage import Coverage, cover
from services.domain.proof.run import Ran, run_case
from services.domain.rules.rule import Rule
from services.domain.rules.rulebook import Rulebook, by_kind

OURS = CODE / "tests" / "golden" / "rules"
"""The cases of the default rules, where the code lies with its tests."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A case and where it stands."""

    path: Path
    line: int
    ran: Ran


def run_files(paths: Iterable[Path]) -> tuple[list[Shown], list[str]]:
    """Every case of every file, and what is wrong with files that cannot be read."""
    tested: list[Shown] = []
    broken: list[str] = []
    for path in paths:
        try:
            file = read_cases(path)
        except BadFile as error:
            broken.append(str(error))
            continue
        tested += [Shown(path, line, ran) for line, ran in _cases(file)]
    return tested, broken


def _cases(file: CaseFile) -> Iterable[tuple[int, Ran]]:
    for line, case in zip(file.lines, file.written.cases, strict=True):
        try:
            book = _rulebook(file.written, case)
        except RuleFileError as error:
            yield line, Ran(case.name, case.about, frozenset(), frozenset(), (), (str(error),))
        else:
            yield line, run_case(file.written, case, BY_NAME, book)


def _rulebook(file: WrittenFile, case: WrittenCase) -> Rulebook:
    """The defaults, or the documents of the case or its file and nothing else. Raises RuleFileError."""
    documents = case.rules or file.rules
    if not documents:
        return default_rulebook()
    rules: list[tuple[str, Rule]] = []
    for document in documents:
        text = read_plain(document)
        if text.findings:
            raise RuleFileError("; ".join(finding.said("rules") for finding in text.findings))
        rules += [(text.kind, rule) for rule in text.rules]
    return Rulebook(by_kind(rules))


def files_in(paths: Sequence[Path]) -> list[Path]:
    """Files as they are given, folders by their YAML files."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
    return found


def default_coverage(tested: Iterable[Shown]) -> Coverage:
    rules = [rule for rules in default_rulebook().defaults.values() for rule in rules]
    return cover(rules, [one.ran for one in tested])


def register(rules: typer.Typer) -> None:
    @rules.command("test")
    def command(
        files: Annotated[
            list[Path] | None, typer.Argument(help="用例文件或文件夹 · Files of cases, or folders; left out: ours.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    ) -> None:
        """Run test cases of rules: what devices say, and exactly the alerts that must come of it.

        Exit 1 where a case fails, 2 where a file cannot be read.
        """
        ours = not files
        tested, broken = run_files(files_in(files or [OURS]))
        if not tested and not broken:
            broken.append(tr("no cases found", "没有找到用例"))
        coverage = default_coverage(tested)
        if as_json:
            typer.echo(json.dumps(_told(tested, broken, coverage), ensure_ascii=False))
        else:
            _show(tested, broken, coverage, ours)
        if broken:
            raise typer.Exit(2)
        if any(not one.ran.passed for one in tested) or (
            ours and (coverage.missing or coverage.kinds < coverage.all_kinds)
        ):
            raise typer.Exit(1)


def _told(tested: Sequence[Shown], broken: Sequence[str], coverage: Coverage) -> dict[str, Any]:
    return {
        "cases": len(tested),
        "failed": [
            {"file": str(one.path), "line": one.line, "case": one.ran.name, "wrong": list(one.ran.wrong)}
            for one in tested
            if not one.ran.passed
        ],
        "broken": list(broken),
        "rules": coverage.rules,
        "rules_covered": coverage.covered,
        "missing": {rule: list(what) for rule, what in coverage.missing.items()},
        "kinds": len(coverage.all_kinds),
        "kinds_covered": len(coverage.kinds),
        "kinds_missing": sorted(coverage.all_kinds - coverage.kinds),
    }


def _show(tested: Sequence[Shown], broken: Sequence[str], coverage: Coverage, ours: bool) -> None:
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for one in tested:
        if not one.ran.passed:
            errors.print(f"{one.path}:{one.line}: {one.ran.name}", style="red", markup=False)
            for line in one.ran.wrong:
                errors.print(f"    {line}", markup=False)
    for line in broken:
        errors.print(line, style="red", markup=False)
    if ours:
        for rule, what in coverage.missing.items():
            errors.print(f"{rule}: {tr('no case shows that it', '没有用例证明其')} {', '.join(what)}", markup=False)
        for kind in sorted(coverage.all_kinds - coverage.kinds):
            errors.print(f"{kind}: {tr('no case of this rule kind', '没有此规则类型的用例')}", markup=False)
    failed = sum(not one.ran.passed for one in tested)
    typer.echo(
        tr(
            f"{len(tested)} cases, {failed} failed; {coverage.covered} of {coverage.rules} default rules covered, "
            f"{len(coverage.kinds)} of {len(coverage.all_kinds)} rule kinds",
            f"{len(tested)} 个用例，{failed} 个失败；默认规则覆盖 {coverage.covered}/{coverage.rules}，"
            f"规则类型 {len(coverage.kinds)}/{len(coverage.all_kinds)}",
        )
    )
