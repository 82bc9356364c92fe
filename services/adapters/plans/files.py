"""Plans in files and other text: read with the line of every fault, and the default plans that come with LinHub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from services.adapters.rules import load_defaults as default_rules
from services.adapters.rules.files import Finding, located
from services.adapters.rules.source import SourceError, read_source
from services.domain.plans.document import read_plan
from services.domain.plans.plan import Plan
from services.domain.vocabulary import Label

DEFAULTS = Path(__file__).parents[2] / "domain" / "plans" / "defaults"


class PlanFileError(ValueError):
    """A plan that cannot be used; the text names file, line, column and what to do."""


@dataclass(frozen=True, slots=True)
class Text:
    """A plan read from text. With findings, `plan` is None."""

    plan: Plan | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class DefaultPlan:
    plan: Plan
    document: str


def read_text(text: str, known: Iterable[tuple[str, str]] | None = None) -> Text:
    """`known` as in `read_plan`; the default rules are always known."""
    try:
        source = read_source(text)
    except SourceError as error:
        return Text(None, (Finding(*error.mark, "", Label(error.zh, error.en)),))
    document = read_plan(source.value, None if known is None else [*_default_names(), *known])
    findings = [located(fault, source) for fault in document.faults]
    return Text(document.plan, tuple(sorted(findings, key=lambda one: (one.line, one.column))))


@lru_cache(maxsize=512)
def parsed(document: str) -> Plan:
    """A plan that was checked when it was written. Raises PlanFileError."""
    text = read_text(document)
    if text.plan is None:
        raise PlanFileError("\n".join(one.said("plan") for one in text.findings))
    return text.plan


def read_file(path: Path, known: Iterable[tuple[str, str]] | None = ()) -> Text:
    """Raises PlanFileError where the file itself cannot be read."""
    return read_text(_content(path), known)


def _content(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise PlanFileError(f"{path}: 无法读取 · cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PlanFileError(f"{path}: 不是 UTF-8 文本 · is not UTF-8 text") from None


@cache
def _default_names() -> tuple[tuple[str, str], ...]:
    """(rule, family) of the default rules of every kind."""
    return tuple((rule.id, rule.family or rule.id) for rules in default_rules().values() for rule in rules)


@cache
def load_defaults() -> Mapping[str, DefaultPlan]:
    """The plans that come with LinHub, by id. They do nothing until a community takes them over and approves them.

    Raises PlanFileError.
    """
    found: dict[str, DefaultPlan] = {}
    for path in sorted(DEFAULTS.glob("*.yaml")):
        document = _content(path)
        text = read_text(document, ())
        if text.plan is None:
            raise PlanFileError("\n".join(one.said(path.name) for one in text.findings))
        if text.plan.id != path.stem:
            raise PlanFileError(f"{path.name}: id 应为 {path.stem} · a file is called like its plan")
        found[text.plan.id] = DefaultPlan(text.plan, document)
    return found
