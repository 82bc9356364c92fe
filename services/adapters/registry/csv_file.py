"""CSV as spreadsheets in China write and read it: UTF-8 or GB18030, heads in Chinese or English, no formulas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.domain.vocabulary import Label

MOST_BYTES = 20 * 1024 * 1024
MOST_LINES = 50_000
MOST_CELL = 2_000
BOM = "\ufeff"
"""In front of what is exported: without it Excel takes UTF-8 for GB18030."""

# Full-width signs begin formulas too where the input method is Chinese.
_BEGINS = "=+\\-@\t\r＝＋－＠"
_FORMULA = re.compile(f"^'*[{_BEGINS}]")
_NEUTRAL = re.compile(f"^'+[{_BEGINS}]")


class Unreadable(Exception):
    """The file as a whole cannot be read; `words` say why and what to do, `line` where."""

    def __init__(self, zh: str, en: str, line: int = 1) -> None:
        super().__init__(en)
        self.words, self.line = Label(zh, en), line


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    zh: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """`encoding`: what it was read as. `columns`: the names of the columns that are there, in their order."""

    encoding: str
    columns: tuple[str, ...]
    rows: list[tuple[int, dict[str, str]]]


def neutral(text: str) -> str:
    """A text that no spreadsheet takes for a formula; `plain` undoes it."""
    return "'" + text if _FORMULA.match(text) else text


def plain(text: str) -> str:
    return text[1:] if _NEUTRAL.match(text) else text


def decoded(raw: bytes) -> tuple[str, str]:
    """The text and what it was encoded in. Raises Unreadable."""
    if len(raw) > MOST_BYTES:
        raise Unreadable(
            f"文件超过 {MOST_BYTES >> 20} MB，请拆分", f"larger than {MOST_BYTES >> 20} MB; split the file"
        )
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(
            "文件是 UTF-16 编码，请另存为“CSV UTF-8（逗号分隔）”",
            "the file is UTF-16; save it as “CSV UTF-8 (comma delimited)”",
        )
    if raw.startswith(b"PK\x03\x04") or raw.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable(
            "这是 Excel 工作簿，请另存为“CSV UTF-8（逗号分隔）”",
            "this is an Excel workbook; save it as “CSV UTF-8 (comma delimited)”",
        )
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" in text:
            break
        return text, "utf-8" if encoding == "utf-8-sig" else encoding
    raise Unreadable(
        "无法识别文件编码，请另存为“CSV UTF-8（逗号分隔）”",
        "the encoding is neither UTF-8 nor GB18030; save the sheet as “CSV UTF-8 (comma delimited)”",
    )


def read(raw: bytes, columns: Sequence[Column]) -> Sheet:
    """All rows with their line numbers. Raises Unreadable."""
    text, encoding = decoded(raw)
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        head = _head([plain(cell.strip()) for cell in next(reader, [])], columns)
        return Sheet(encoding, tuple(head), list(_rows(reader, head)))
    except csv.Error as error:
        raise Unreadable(
            f"第 {reader.line_num} 行不是有效的 CSV", f"line {reader.line_num} is no CSV: {error}", reader.line_num
        ) from None


def _head(cells: list[str], columns: Sequence[Column]) -> list[str]:
    known = {name.casefold(): column.name for column in columns for name in (column.name, column.zh)}
    while cells and not cells[-1]:
        cells.pop()
    head = [known.get(cell.casefold(), "") for cell in cells]
    all_names = "、".join(f"{column.zh}({column.name})" for column in columns)
    if unknown := [cell for cell, name in zip(cells, head, strict=True) if not name]:
        raise Unreadable(
            f"未知的列：{'、'.join(one or '（空）' for one in unknown[:8])}；可用：{all_names}",
            f"unknown columns: {', '.join(one or '(empty)' for one in unknown[:8])}; there are {all_names}",
        )
    if missing := [column for column in columns if column.needed and column.name not in head]:
        raise Unreadable(
            f"缺少列：{'、'.join(column.zh for column in missing)}",
            f"missing columns: {', '.join(column.name for column in missing)}",
        )
    if len(set(head)) < len(head):
        raise Unreadable("有重复的列", "a column stands twice")
    return head


def _rows(reader: Iterator[list[str]], head: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    began = reader.line_num + 1  # type: ignore[attr-defined]
    count = 0
    for cells in reader:
        line, began = began, reader.line_num + 1  # type: ignore[attr-defined]
        if not any(cell.strip() for cell in cells):
            continue
        count += 1
        if count > MOST_LINES:
            raise Unreadable(f"超过 {MOST_LINES} 行，请拆分", f"more than {MOST_LINES} lines; split the file", line)
        if len(cells) > len(head) and any(cell.strip() for cell in cells[len(head) :]):
            raise Unreadable(
                f"第 {line} 行有 {len(cells)} 格，表头只有 {len(head)} 列",
                f"line {line} has {len(cells)} cells, the head {len(head)} columns",
                line,
            )
        if any(len(cell) > MOST_CELL for cell in cells):
            raise Unreadable(f"第 {line} 行有过长的单元格", f"line {line} has a cell that is too long", line)
        yield line, {name: plain(cell.strip()) for name, cell in zip(head, cells, strict=False)}


def written(rows: Iterable[Mapping[str, object]], columns: Sequence[Column]) -> str:
    """Lines of a CSV; texts cannot be formulas, numbers stay numbers."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([[_cell(row.get(column.name)) for column in columns] for row in rows])
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple | frozenset):
        return neutral(" ".join(str(one) for one in value))
    return neutral(str(value))


def head_line(columns: Sequence[Column], lang: str) -> str:
    out = io.StringIO(newline="")
    csv.writer(out).writerow([column.zh if lang == "zh" else column.name for column in columns])
    return BOM + out.getvalue()
