"""Reads a frozen dataclass from plain values as people write them: spans, times of day, words; every fault is told.

A field is written under its own name, save that `for_s` is written `for` (a span) and `from_hour` `from` (a time of
day). A field that is one of several classes is written `{name of the class: {its fields}}`.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any

from services.domain.rules.faults import Faults, Path
from services.domain.rules.spans import read_span, read_time
from services.domain.vocabulary import Label

LONGEST_S = 366 * 86400.0
LONGEST_TEXT = 2000
MOST_ITEMS = 1000
BAD: Any = object()
"""Not to be had: a fault was told."""

_FIELD, _WORD = Label("字段", "field"), Label("取值", "value")


@dataclasses.dataclass(frozen=True, slots=True)
class FieldShape:
    """One field of a dataclass and how it is written."""

    name: str
    written: str
    hint: Any
    required: bool
    sort: str
    """span | time | plain"""


def shapes(cls: type) -> tuple[FieldShape, ...]:
    """The fields in their order."""
    return _shapes(cls)


@cache
def _shapes(cls: type) -> tuple[FieldShape, ...]:
    hints = typing.get_type_hints(cls)
    found = []
    for one in dataclasses.fields(cls):
        required = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        name, hint, sort = one.name, hints[one.name], "plain"
        if _is_number(hint) and name.endswith("_s"):
            name, sort = name.removesuffix("_s"), "span"
        elif _is_number(hint) and name.endswith("_hour"):
            name, sort = name.removesuffix("_hour"), "time"
        found.append(FieldShape(one.name, name, hint, required, sort))
    return tuple(found)


def _is_number(hint: Any) -> bool:
    return hint is float or (typing.get_origin(hint) in _UNIONS and float in typing.get_args(hint))


_UNIONS = (types.UnionType, typing.Union)


def read_parts(
    cls: type,
    given: Any,
    path: Path,
    faults: Faults,
    besides: frozenset[str] = frozenset(),
    without: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Values by field name, those alone that are sound. `besides`: more names that may stand there, read by others;
    `without`: fields that may not.
    """
    if not isinstance(given, Mapping):
        faults.add(path, "应为“名称: 值”的形式", "expected names with values")
        return {}
    known = {shape.written: shape for shape in shapes(cls) if shape.name not in without}
    for key in given:
        if key not in known and key not in besides:
            faults.unknown((*path, key), _FIELD, key, (*known, *sorted(besides)))
    parts: dict[str, Any] = {}
    for shape in known.values():
        if shape.written not in given:
            if shape.required:
                faults.add(path, f"缺少 {shape.written}", f"{shape.written} is missing")
            continue
        value = _convert(shape.hint, given[shape.written], (*path, shape.written), faults, shape.sort)
        if value is not BAD:
            parts[shape.name] = value
    return parts


def read(cls: type, given: Any, path: Path, faults: Faults) -> Any:
    """An instance, or BAD."""
    before = len(faults.found)
    parts = read_parts(cls, given, path, faults)
    found = build(cls, parts, path, faults) if len(faults.found) == before else None
    return BAD if found is None else found


def build(cls: type, parts: Mapping[str, Any], path: Path, faults: Faults) -> Any:
    """None, and a fault, where the class itself refuses."""
    try:
        return cls(**parts)
    except ValueError as error:
        faults.add(path, f"取值不成立：{error}", str(error))
        return None


def _convert(hint: Any, given: Any, path: Path, faults: Faults, sort: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        if given is None and type(None) in arguments:
            return None
        hint = next(one for one in arguments if one is not type(None))
        return _convert(hint, given, path, faults, sort)
    if sort == "span":
        return _span(given, path, faults)
    if sort == "time":
        return _time(given, path, faults)
    if origin in (tuple, frozenset):
        return _many(origin, arguments, given, path, faults)
    if dataclasses.is_dataclass(hint):
        return read(hint, given, path, faults)  # type: ignore[arg-type]
    return _one(hint, given, path, faults)


def _span(given: Any, path: Path, faults: Faults) -> Any:
    seconds = read_span(given)
    if seconds is None:
        faults.add(
            path, f"{_shown(given)} 不是时长；写成 90s、5m、12h、7d", f"{_shown(given)} is no span: 90s, 5m, 12h, 7d"
        )
        return BAD
    if not 0 <= seconds <= LONGEST_S:
        faults.add(path, "时长须在 0 到 366d 之间", "a span lies between 0 and 366d")
        return BAD
    return seconds


def _time(given: Any, path: Path, faults: Faults) -> Any:
    hours = read_time(given)
    if hours is None:
        faults.add(path, f'{_shown(given)} 不是时刻；写成 "22:30"', f'{_shown(given)} is no time of day: "22:30"')
        return BAD
    return hours


def _many(origin: type, arguments: tuple[Any, ...], given: Any, path: Path, faults: Faults) -> Any:
    if not isinstance(given, list):
        faults.add(path, f"{_shown(given)} 应为列表 [a, b]", f"{_shown(given)}: expected a list [a, b]")
        return BAD
    if len(given) > MOST_ITEMS:
        faults.add(path, f"列表超过 {MOST_ITEMS} 项", f"more than {MOST_ITEMS} entries")
        return BAD
    fixed = origin is tuple and arguments[-1] is not Ellipsis
    if fixed and len(given) != len(arguments):
        faults.add(path, f"应有 {len(arguments)} 个值", f"expected {len(arguments)} values")
        return BAD
    hints = arguments if fixed else (arguments[0],) * len(given)
    found = [
        _convert(hint, one, (*path, index), faults, "plain")
        for index, (hint, one) in enumerate(zip(hints, given, strict=True))
    ]
    return BAD if any(one is BAD for one in found) else origin(found)


def _one(hint: Any, given: Any, path: Path, faults: Faults) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        words = [str(one.value) for one in hint]
        if isinstance(given, str) and given in words:
            return hint(given)
        faults.unknown(path, _WORD, given, words)
        return BAD
    hint = getattr(hint, "__supertype__", hint)
    if hint is bool:
        if isinstance(given, bool):
            return given
        faults.add(path, f"{_shown(given)} 应为 true 或 false", f"{_shown(given)}: expected true or false")
    elif hint is int:
        if isinstance(given, int) and not isinstance(given, bool):
            return given
        faults.add(path, f"{_shown(given)} 应为整数", f"{_shown(given)}: expected a whole number")
    elif hint is float:
        if isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < 1e300:
            return float(given)
        faults.add(path, f"{_shown(given)} 应为有限的数", f"{_shown(given)}: expected a finite number")
    elif not isinstance(given, str):
        faults.add(path, f"{_shown(given)} 应为文字（可加引号）", f"{_shown(given)}: expected text (put it in quotes)")
    elif len(given) > LONGEST_TEXT:
        faults.add(path, f"超过 {LONGEST_TEXT} 字", f"longer than {LONGEST_TEXT} characters")
    elif not re.fullmatch(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]*", given):
        faults.add(path, "含有控制字符", "contains control characters")
    else:
        return given
    return BAD


def _shown(given: Any) -> str:
    text = "null" if given is None else str(given).lower() if isinstance(given, bool) else str(given)
    if isinstance(given, float) and not math.isfinite(given):
        text = "NaN" if math.isnan(given) else "∞"
    return text if len(text) <= 60 else f"{text[:57]}…"
