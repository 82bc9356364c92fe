"""The categories of reports, read from their file with the line of every fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.adapters.rules.files import Finding, located
from services.adapters.rules.source import SourceError, read_source
from services.domain.reports.categories import Category, read_categories
from services.domain.vocabulary import Label

DEFAULTS = Path(__file__).parents[2] / "domain" / "reports" / "categories.yaml"


class CategoryFileError(ValueError):
    """Categories that cannot be used; the text names file, line, column and what to do."""


@dataclass(frozen=True, slots=True)
class Text:
    """Categories read from text. With findings, there are none."""

    categories: tuple[Category, ...]
    findings: tuple[Finding, ...]


def read_text(text: str) -> Text:
    try:
        source = read_source(text)
    except SourceError as error:
        return Text((), (Finding(*error.mark, "", Label(error.zh, error.en)),))
    document = read_categories(source.value)
    findings = [located(fault, source) for fault in document.faults]
    return Text(document.categories, tuple(sorted(findings, key=lambda one: (one.line, one.column))))


@cache
def load_categories() -> Mapping[str, Category]:
    """By id, in the order of the file. Raises CategoryFileError."""
    text = read_text(DEFAULTS.read_text(encoding="utf-8"))
    if text.findings:
        raise CategoryFileError("\n".join(one.said(DEFAULTS.name) for one in text.findings))
    return {one.id: one for one in text.categories}


def family_of(category: Category) -> tuple[str, ...]:
    """The ids of all categories that may be the same trouble under another name, its own among them."""
    return tuple(one.id for one in load_categories().values() if one.family == category.family)
