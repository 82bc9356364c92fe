"""Writes rules as documents: always in the same order, what is as by default left out save for figures; read back, they
are the same rules.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from services.domain.rules.document import KIND, RULES, WHEN, kind_name
from services.domain.rules.fields import shapes
from services.domain.rules.parameters import Parameters
from services.domain.rules.rule import Rule
from services.domain.rules.spans import number, write_span, write_time

WIDTH = 116
FIRST = ("id", "version", "title", "severity", "team", "family", WHEN)
_UNTOLD = {"version", "opens_order", "to_hour", "guard_at_least"}
_PLAIN = re.compile(r"[^\W\d_](?:[\w./%·，。、“”（）：；-]|\s(?=[\w（“]))*")
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"}


def write_rule(kind: str, rule: Rule) -> str:
    """One rule as a document of its own."""
    return "".join(f"{line}\n" for line in (f"{KIND}: {kind}", *_lines(plain_rule(rule))))


def write_document(kind: str, rules: Iterable[Rule]) -> str:
    """All rules of a kind, an empty line between them."""
    blocks = []
    for rule in rules:
        first, *rest = _lines(plain_rule(rule))
        blocks.append("\n".join((f"  - {first}", *(f"    {line}" for line in rest))))
    return f"{KIND}: {kind}\n{RULES}:\n" + "\n\n".join(blocks) + "\n"


def plain_rule(rule: Rule) -> dict[str, Any]:
    """The rule as plain values under the names of the document; what is as by default is left out."""
    plain = _plain(rule)
    plain[WHEN] = {kind_name(type(rule.parameters)): plain_parameters(rule.parameters)}
    plain["version"] = rule.version
    return {name: plain[name] for name in (*FIRST, *(key for key in plain if key not in FIRST)) if name in plain}


def plain_parameters(parameters: Parameters) -> dict[str, Any]:
    return _plain(parameters)


def _plain(thing: Any) -> dict[str, Any]:
    """Fields that are not as by default, spans and times of day as people write them."""
    found: dict[str, Any] = {}
    defaults = {one.name: one for one in dataclasses.fields(thing)}
    for shape in shapes(type(thing)):
        if shape.name == "parameters":
            continue
        value, usual = getattr(thing, shape.name), defaults[shape.name]
        if not shape.required:
            default = usual.default if usual.default_factory is dataclasses.MISSING else usual.default_factory()
            told = isinstance(default, float | int) and default and shape.name not in _UNTOLD
            if value == default and not told:
                continue
        if value is not None and shape.sort == "span":
            found[shape.written] = write_span(value)
        elif value is not None and shape.sort == "time":
            found[shape.written] = write_time(value)
        else:
            found[shape.written] = _value(value)
    return found


def _value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return _plain(value)
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_value(one) for one in value]
    return value


def _lines(plain: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in plain.items():
        line = f"{key}: {flow(value)}"
        if key == WHEN:
            word, fields = next(iter(value.items()))
            lines.append(f"{WHEN}:")
            line = f"  {word}: {flow(fields)}"
            if len(line) > WIDTH:
                lines.append(f"  {word}:")
                lines += [f"    {name}: {flow(one)}" for name, one in fields.items()]
                continue
        lines.append(line)
    return lines


def flow(value: Any) -> str:
    """A plain value in one line of YAML."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return number(value)
        case str():
            return _text(value)
        case dict():
            return "{" + ", ".join(f"{key}: {flow(one)}" for key, one in value.items()) + "}"
        case _:
            return "[" + ", ".join(map(flow, value)) + "]"


def _text(text: str) -> str:
    """Bare where nobody can take it for anything else."""
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    if re.fullmatch(r"\d+[dhms]", text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else _escaped(one) for one in quoted)


def _escaped(one: str) -> str:
    return f"\\u{ord(one):04x}" if ord(one) < 0x10000 else f"\\U{ord(one):08x}"
