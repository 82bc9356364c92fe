"""Rules in files and other text: read with the line of every fault, and the defaults that come with LinHub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from services.adapters.rules.source import Source, SourceError, read_source
from services.domain.devices import BY_NAME
from services.domain.devices.kind import DeviceKind
from services.domain.engine.platform import PLATFORM
from services.domain.rules.document import Document, Others, check_beside, read_document
from services.domain.rules.faults import Fault
from services.domain.rules.rule import Rule
from services.domain.rules.rulebook import Rulebook
from services.domain.vocabulary import Label

KINDS: Mapping[str, DeviceKind] = {**BY_NAME, PLATFORM.name: PLATFORM}
"""All that rules can be about: the catalogue, and the platform itself."""
DEFAULTS = Path(__file__).parents[2] / "domain" / "rules" / "defaults"


class RuleFileError(ValueError):
    """A file of rules that cannot be used; the text names file, line, column and what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault and where it stands. Line 0: the document had no lines (JSON)."""

    line: int
    column: int
    where: str
    words: Label

    def said(self, name: str) -> str:
        place = f"{name}:{self.line}:{self.column}" if self.line else name
        path = f"{self.where}: " if self.where else ""
        return f"{place}: {path}{self.words.zh} · {self.words.en}"


@dataclass(frozen=True, slots=True)
class Text:
    """A document read from text. With findings, nothing of it is to be used."""

    document: Document
    findings: tuple[Finding, ...]

    @property
    def kind(self) -> str:
        return self.document.kind

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(rule for rule, _ in self.document.rules)


_EMPTY = Document("", (), ())


def read_text(text: str, others: Others | None = None, kinds: Mapping[str, DeviceKind] = KINDS) -> Text:
    """YAML (JSON is YAML too, but see `read_plain`). `others`: the rules it will stand beside, None: not checked."""
    try:
        source = read_source(text)
    except SourceError as error:
        return Text(_EMPTY, (Finding(*error.mark, "", Label(error.zh, error.en)),))
    return _checked(source.value, source, others, kinds)


def read_plain(given: Any, others: Others | None = None, kinds: Mapping[str, DeviceKind] = KINDS) -> Text:
    """Plain values, as from JSON: faults carry their path and no line."""
    return _checked(given, None, others, kinds)


def _checked(given: Any, source: Source | None, others: Others | None, kinds: Mapping[str, DeviceKind]) -> Text:
    document = read_document(given, kinds)
    faults = list(document.faults)
    if others is not None:
        faults += check_beside(document, others)
    findings = [located(fault, source) for fault in faults]
    return Text(document, tuple(sorted(findings, key=lambda one: (one.line, one.column))))


def located(fault: Fault, source: Source | None) -> Finding:
    line, column = source.mark(fault.path) if source is not None else (0, 0)
    return Finding(line, column, fault.where, fault.words)


def read_file(path: Path, others: Others | None = None) -> Text:
    """Raises RuleFileError where the file itself cannot be read."""
    try:
        return read_text(path.read_bytes().decode("utf-8"), others)
    except OSError as error:
        raise RuleFileError(f"{path}: 无法读取 · cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RuleFileError(f"{path}: 不是 UTF-8 文本 · is not UTF-8 text") from None


@cache
def load_defaults() -> Mapping[str, tuple[Rule, ...]]:
    """The default rules of every kind of the catalogue, in the order of the catalogue. Raises RuleFileError."""
    texts = {name: read_file(DEFAULTS / f"{name}.yaml") for name in KINDS}
    everything = Others(tuple((name, rule) for name, text in texts.items() for rule in text.rules))
    said: list[str] = []
    for name, text in texts.items():
        faults = [*text.findings]
        if not faults:
            faults += read_file(DEFAULTS / f"{name}.yaml", everything).findings
        said += [fault.said(f"{name}.yaml") for fault in faults]
        if not faults and text.kind != name:
            said.append(f"{name}.yaml:1:1: kind: 应为 {name} · a file is called like its kind")
    if said:
        raise RuleFileError("\n".join(said))
    return {name: text.rules for name, text in texts.items()}


@cache
def default_rulebook() -> Rulebook:
    """The defaults alone."""
    return Rulebook(load_defaults())
