"""Reads test cases of rules from YAML files, each with the line on which it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from services.adapters.rules.source import Source, SourceError, read_source
from services.domain.proof.case import WrittenFile


class BadFile(ValueError):
    """Which file, where and what is wrong, one line each."""


@dataclass(frozen=True, slots=True)
class CaseFile:
    """`lines`: where each case begins, from 1."""

    path: Path
    written: WrittenFile
    lines: tuple[int, ...]


def read_cases(path: Path) -> CaseFile:
    """Raises BadFile."""
    try:
        source = read_source(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: 无法读取 · cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadFile(f"{path}: 不是 UTF-8 文本 · is not UTF-8 text") from None
    except SourceError as error:
        raise BadFile(f"{path}:{error.mark[0]}:{error.mark[1]}: {error}") from None
    try:
        written = WrittenFile.model_validate(source.value)
    except ValidationError as error:
        raise BadFile("\n".join(_fault(path, source, fault["loc"], fault["msg"]) for fault in error.errors())) from None
    return CaseFile(path, written, tuple(source.mark(("cases", place))[0] for place in range(len(written.cases))))


def _fault(path: Path, source: Source, at: tuple[int | str, ...], message: str) -> str:
    """`file:line:column: cases[2].events[0].at: what is wrong`."""
    line, column = source.mark(at)
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at).removeprefix(".")
    return f"{path}:{line}:{column}: {place}: {message.removeprefix('Value error, ')}"
