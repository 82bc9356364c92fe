"""Conditions of plans and their steps: CEL over the alert, its device, its place and the time. The one file of plans
that knows the CEL library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

FIELDS: Mapping[str, tuple[str, ...]] = {
    "alert": ("rule", "family", "kind", "severity", "rank", "life_safety", "open"),
    "device": ("id", "name", "tags"),
    "place": ("building", "unit", "household", "grid", "floor", "person_tags"),
    "hour": (),
    "weekday": (),
}
LONGEST = 500
_FUNCTIONS = frozenset({"size", "contains", "startsWith", "endsWith", "has"})
"""What cannot run long. No loops: there is nothing to loop over but tags, and `in` looks them up."""
_STRINGS = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*\(")
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*)((?:\s*\.\s*[A-Za-z_]\w*)?)(?!\s*\()")
_WORDS = frozenset({"true", "false", "null", "in"})
_SAMPLE: Mapping[str, Any] = {
    "alert": {
        "rule": "", "family": "", "kind": "", "severity": "critical", "rank": 3, "life_safety": True, "open": True
    },
    "device": {"id": "", "name": "", "tags": []},
    "place": {"building": "", "unit": "", "household": "", "grid": "", "floor": 1, "person_tags": []},
    "hour": 0.0,
    "weekday": 1,
}  # fmt: skip


class ConditionError(ValueError):
    """The expression cannot be used; the text says why."""


@lru_cache(maxsize=1024)
def _program(source: str) -> Any:
    # Imported with the first condition: the library loads its command line too, a quarter of a second.
    import cel

    if not source.strip():
        raise ConditionError("空的条件 · the condition is empty")
    if len(source) > LONGEST:
        raise ConditionError(f"超过 {LONGEST} 个字符 · longer than {LONGEST} characters")
    bare = _STRINGS.sub("''", source)
    for name in _CALL.findall(bare):
        if name not in _FUNCTIONS and name not in _WORDS:
            known = ", ".join(sorted(_FUNCTIONS))
            raise ConditionError(f"没有函数 {name} · no function {name}; there are: {known}")
    for name, field in _NAME.findall(bare):
        if name in _WORDS:
            continue
        if name not in FIELDS:
            raise ConditionError(f"没有变量 {name} · nothing called {name}; there are: {', '.join(FIELDS)}")
        named = field.strip().lstrip(".").strip()
        if FIELDS[name] and named not in FIELDS[name]:
            known = ", ".join(FIELDS[name])
            raise ConditionError(f"{name} 没有 {named or '?'} · {name} has no {named or '?'}; there are: {known}")
    try:
        return cel.compile(source)
    except ValueError as error:
        raise ConditionError(f"不是有效的 CEL：{error} · not CEL: {error}") from None


def check(source: str) -> None:
    """Raises ConditionError where it is no condition."""
    try:
        result = _program(source).execute(dict(_SAMPLE))
    except ConditionError:
        raise
    except TypeError as error:
        raise ConditionError(f"类型不符：{error} · types do not fit: {error}") from None
    except Exception as error:
        raise ConditionError(f"无法求值：{error} · cannot be evaluated: {error}") from None
    if not isinstance(result, bool):
        raise ConditionError(f"结果不是真假值，而是 {type(result).__name__} · is neither true nor false")


def holds(source: str | None, given: Mapping[str, Any]) -> bool | None:
    """None: it cannot be told, because something it needs is not there."""
    if source is None:
        return True
    try:
        result = _program(source).execute(dict(given))
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException:
        # A panic in the library's Rust code is no Exception; whatever it is, the condition is not known to hold.
        return None
    return result if isinstance(result, bool) else None
