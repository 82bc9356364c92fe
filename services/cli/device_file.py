"""Device lists as installers write them: CSV or YAML read row by row, every fault with its line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from services.adapters.registry.device_rows import COLUMNS, Row, device_of

__all__ = ["COLUMNS", "FileError", "Row", "device_of", "rows_of"]


class FileError(Exception):
    """The file as a whole cannot be read; the message says why and what to do."""


def rows_of(path: Path, read: Callable[[int], None] = lambda size: None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, row) one after the other; `read` hears how many bytes are behind. Raises FileError."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv_rows(path, read)
    if suffix in (".yaml", ".yml"):
        return _yaml_rows(path, read)
    raise FileError(f"{path.name}: a device list is .csv or .yaml")


def _csv_rows(path: Path, read: Callable[[int], None]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    def lines() -> Iterator[str]:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                read(len(raw))
                try:
                    # Spreadsheets put a byte order mark in front.
                    yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    raise FileError(f"{path.name}, line {number}: not UTF-8; save the sheet as “CSV UTF-8”") from None

    reader = csv.reader(lines(), strict=True)
    try:
        head = [name.strip() for name in next(reader, [])]
        if missing := [name for name in ("id", "community", "kind") if name not in head]:
            raise FileError(f"{path.name}: the first line must name the columns; missing: {', '.join(missing)}")
        if wrong := [name for name in head if name not in COLUMNS]:
            raise FileError(f"{path.name}: unknown columns {', '.join(wrong)}; known are {', '.join(COLUMNS)}")
        if len(set(head)) < len(head):
            raise FileError(f"{path.name}: a column stands twice")
        began = reader.line_num + 1
        for cells in reader:
            line, began = began, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            said: dict[str, Any] = dict(zip(head, cells, strict=False))
            if len(cells) > len(head):
                said[f"column {len(head) + 1}"] = cells[len(head)]
            yield line, said
    except csv.Error as error:
        raise FileError(f"{path.name}, line {reader.line_num}: {error}") from None


def _yaml_rows(path: Path, read: Callable[[int], None]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """A list of mappings, one a device. Read by events: a list of a whole city does not fit in memory as a tree."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with path.open("rb") as file:

        class Told:
            def read(self, size: int = -1) -> bytes:
                raw = file.read(size)
                read(len(raw))
                return raw

        try:
            events = yaml.parse(Told(), Loader=loader)
            yield from _mappings(path, events)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark is not None else ""
            why = getattr(error, "problem", None) or str(error)
            raise FileError(f"{path.name}{line}: {why}") from None


def _mappings(path: Path, events: Iterator[Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    def value(event: Any) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            return None if plain and event.value in ("", "~", "null") else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                items.append(value(event))
            return items
        line = event.start_mark.line + 1
        raise FileError(f"{path.name}, line {line}: a device is a flat list of `name: value`; aliases are not read")

    for event in events:
        if isinstance(event, yaml.SequenceStartEvent):
            break
        if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            raise FileError(f"{path.name}: a list of devices is expected, each `- id: …`")
    for event in events:
        if isinstance(event, yaml.SequenceEndEvent):
            return
        line = event.start_mark.line + 1
        if not isinstance(event, yaml.MappingStartEvent):
            raise FileError(f"{path.name}, line {line}: a device is expected, `- id: …`")
        said: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            name = value(event)
            said[str(name)] = value(next(events))
        yield line, {name: entry for name, entry in said.items() if entry is not None}
