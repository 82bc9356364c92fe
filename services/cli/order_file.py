"""Order histories in a file: JSON Lines or CSV read record by record, with the line each begins on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.domain.orders.imported import COLUMNS, ImportFault

MAX_LINE = 4 << 20
"""Characters of one record."""


class FileError(Exception):
    """The file as a whole cannot be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Record:
    """`text` is the record as it stands in the file, for the file of rejects."""

    line: int
    raw: Mapping[str, Any] | ImportFault
    text: str


def records(path: Path) -> list[Record]:
    """Raises FileError."""
    if path.suffix.lower() not in (".jsonl", ".ndjson", ".csv"):
        raise FileError(f"{path}: 应为 .jsonl 或 .csv · .jsonl or .csv is expected")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_csv(path, file) if path.suffix.lower() == ".csv" else _jsonl(file))
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: {error}") from None


def _jsonl(file: Any) -> Iterator[Record]:
    for number, text in enumerate(file, start=1):
        if not text.strip():
            continue
        yield Record(number, _object(text), text.rstrip("\r\n"))


def _object(text: str) -> Mapping[str, Any] | ImportFault:
    if len(text) > MAX_LINE:
        return ImportFault("一行过长 · the line is too long")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return ImportFault(f"不是 JSON · not JSON: {error}")
    return value if isinstance(value, dict) else ImportFault("应为一个 JSON 对象 · a JSON object is expected")


def _csv(path: Path, file: Any) -> Iterator[Record]:
    reader = csv.reader(file, strict=True)
    try:
        head = [name.strip() for name in next(reader, [])]
        unknown = sorted(set(head) - set(COLUMNS))
        if unknown or len(set(head)) != len(head):
            raise FileError(
                f"{path}:1: 不认识或重复的列 · columns unknown or twice: {', '.join(unknown) or head}; "
                f"there are {', '.join(COLUMNS)}"
            )
        line = reader.line_num + 1
        for row in reader:
            if any(cell.strip() for cell in row):
                yield Record(line, _cells(head, row), _text(row))
            line = reader.line_num + 1
    except csv.Error as error:
        raise FileError(f"{path}:{reader.line_num}: {error}") from None


def _cells(head: Sequence[str], row: Sequence[str]) -> Mapping[str, Any] | ImportFault:
    if len(row) != len(head):
        return ImportFault(f"{len(row)} 列，应为 {len(head)} 列 · {len(row)} cells where the head has {len(head)}")
    return {name: cell for name, cell in zip(head, row, strict=True) if cell.strip()}


def _text(row: Sequence[str]) -> str:
    sheet = io.StringIO()
    csv.writer(sheet, lineterminator="").writerow(row)
    return sheet.getvalue()


def write_rejects(path: Path, source: Path, rejected: Sequence[Record]) -> None:
    """Those records as they stood, under the same head: mended, the file can be imported as it is. Raises OSError."""
    with path.open("x", encoding="utf-8", newline="") as file:
        if source.suffix.lower() == ".csv":
            with source.open(encoding="utf-8-sig", newline="") as first:
                file.write(first.readline().rstrip("\r\n") + "\n")
        file.writelines(f"{record.text}\n" for record in rejected)
