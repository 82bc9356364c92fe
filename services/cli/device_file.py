"""Device lists as installers write them: CSV or YAML read row by row, every fault with its line."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.adapters import profiles
from services.adapters.registry.provision import Fault, NewDevice
from services.domain import codecs
from services.domain.devices import BY_NAME as KINDS
from services.domain.ids import ID_PATTERN, CommunityId, DeviceId

SERVICE_PREFIX = "svc-"
MAX_TEXT = 200


class FileError(Exception):
    """The file as a whole cannot be read; the message says why and what to do."""


def _blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _tags(value: Any) -> Any:
    return [tag for tag in value.replace(";", " ").split() if tag] if isinstance(value, str) else value


_Id = Annotated[str, Field(pattern=ID_PATTERN)]
_Ref = Annotated[Annotated[str, Field(max_length=MAX_TEXT)] | None, BeforeValidator(_blank)]
_Text = Annotated[str, Field(max_length=MAX_TEXT)]


class Row(BaseModel):
    """What a row may say. Numbers may be written as text, as CSV does."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, coerce_numbers_to_str=True)

    id: _Id
    community: _Id
    kind: Annotated[str, Field(max_length=64)]
    name: _Text = ""
    place: _Text = ""
    gateway: Annotated[_Id | None, BeforeValidator(_blank)] = None
    building: _Ref = None
    unit: _Ref = None
    household: _Ref = None
    grid: _Ref = None
    floor: Annotated[Annotated[int, Field(ge=-20, le=300)] | None, BeforeValidator(_blank)] = None
    x: Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_blank)] = None
    y: Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_blank)] = None
    interval_s: Annotated[Annotated[int, Field(ge=1, le=366 * 86400)] | None, BeforeValidator(_blank)] = None
    tags: Annotated[list[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]], BeforeValidator(_tags)] = []
    codec: Annotated[str | None, BeforeValidator(_blank)] = None
    address: _Ref = None
    profile: _Ref = None


COLUMNS = tuple(Row.model_fields)


@cache
def _profiles() -> frozenset[str]:
    """LinHub's own vendor profiles, and those of the folder that ingest reads (LINHUB_PROFILES)."""
    folder = os.environ.get("LINHUB_PROFILES")
    try:
        return frozenset(profiles.load(Path(folder) if folder else None).by_name)
    except profiles.ProfileError as error:
        raise FileError(str(error)) from None


def device_of(line: int, said: Mapping[str, Any], faults: list[Fault]) -> NewDevice | None:
    """The row as a device, or None with everything that is wrong with it added to `faults`."""
    before = len(faults)
    try:
        row = Row.model_validate(said)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            where = ".".join(str(part) for part in one["loc"])
            faults.append(_fault(line, where, one))
        return None
    if row.id.startswith(SERVICE_PREFIX):
        faults.append(Fault(line, "service_name", row.id))
    kind = KINDS.get(row.kind)
    if kind is None:
        faults.append(Fault(line, "no_kind", row.kind, ", ".join(sorted(KINDS))))
    if row.codec is not None and row.codec not in codecs.BY_NAME:
        faults.append(Fault(line, "no_codec", row.codec, ", ".join(sorted(codecs.BY_NAME))))
    if row.profile is not None and row.profile not in _profiles():
        faults.append(Fault(line, "no_profile", row.profile, ", ".join(sorted(_profiles()))))
    if kind is None or len(faults) > before:
        return None
    return NewDevice(
        line=line,
        id=DeviceId(row.id),
        community_id=CommunityId(row.community),
        kind=row.kind,
        name=row.name or f"{kind.label.zh} {row.id}",
        place=row.place,
        gateway_id=row.gateway,
        building_id=row.building,
        unit_id=row.unit,
        household_id=row.household,
        grid_id=row.grid,
        floor=row.floor,
        x=row.x or 0.0,
        y=row.y or 0.0,
        interval_s=row.interval_s or kind.interval_s,
        tags=sorted(set(row.tags)),
        codec=row.codec or "native",
        address=row.address,
        profile=row.profile,
    )


def _fault(line: int, where: str, error: Any) -> Fault:
    kind = error["type"]
    if kind == "extra_forbidden":
        return Fault(line, "no_column", where, ", ".join(COLUMNS))
    if kind == "missing":
        return Fault(line, "missing", where)
    if kind == "string_pattern_mismatch":
        return Fault(line, "bad_id", f"{where}: {error['input']}")
    return Fault(line, "bad_value", f"{where}: {str(error['input'])[:60]}", str(error["msg"]))


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
