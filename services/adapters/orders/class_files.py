"""Classes of orders in files and other text: read with the line of every fault, and those that come with LinHub."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from services.adapters.rules.files import Finding, located
from services.adapters.rules.source import SourceError, read_source
from services.domain.orders.classes import Classes
from services.domain.orders.classes.document import read_classes
from services.domain.vocabulary import Label

DEFAULTS = Path(__file__).parents[2] / "domain" / "orders" / "classes" / "defaults" / "classes.yaml"


class ClassFileError(ValueError):
    """Classes that cannot be used; the text names file, line, column and what to do."""


@dataclass(frozen=True, slots=True)
class Text:
    """Classes read from text. With findings, `classes` is None."""

    classes: Classes | None
    findings: tuple[Finding, ...]


def read_text(text: str) -> Text:
    try:
        source = read_source(text)
    except SourceError as error:
        return Text(None, (Finding(*error.mark, "", Label(error.zh, error.en)),))
    document = read_classes(source.value)
    findings = [located(fault, source) for fault in document.faults]
    return Text(document.classes, tuple(sorted(findings, key=lambda one: (one.line, one.column))))


@lru_cache(maxsize=256)
def parsed(document: str) -> Classes:
    """Classes that were checked when they were written; an empty document: the defaults. Raises ClassFileError."""
    if not document:
        return load_defaults()
    text = read_text(document)
    if text.classes is None:
        raise ClassFileError("\n".join(one.said("classes") for one in text.findings))
    return text.classes


def read_file(path: Path) -> Text:
    """Raises ClassFileError where the file itself cannot be read."""
    return read_text(_content(path))


def _content(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ClassFileError(f"{path}: 无法读取 · cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ClassFileError(f"{path}: 不是 UTF-8 文本 · is not UTF-8 text") from None


@cache
def default_document() -> str:
    return _content(DEFAULTS)


@cache
def load_defaults() -> Classes:
    """Raises ClassFileError."""
    text = read_text(default_document())
    if text.classes is None:
        raise ClassFileError("\n".join(one.said(DEFAULTS.name) for one in text.findings))
    return text.classes
