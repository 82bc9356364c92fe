"""Reads test cases of rules from YAML files, each with the line on which it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from services.domain.proof.case import WrittenFile


class BadFile(ValueError):
    """Which file, where and what is wrong, one line each."""


@dataclass(frozen=True, slots=True)
class CaseFile:
    """`lines`: where each case begins, from 1."""

    path: Path
    written: WrittenFile
    lines: tuple[int, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's words: `on` is a metric and 22:30 a time of day; a key that stands twice is an error."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":bool", ":int", ":float", ":timestamp"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?\d+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?$"), list("-+0123456789")
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key, _ in node.value:
        name = loader.construct_object(key)  # type: ignore[no-untyped-call]
        if name in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{name!r} stands twice", key.start_mark)
        seen.add(name)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_cases(path: Path) -> CaseFile:
    """Raises BadFile."""
    try:
        text = path.read_text(encoding="utf-8")
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            content = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()  # type: ignore[no-untyped-call]
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror or error}") from None
    except (yaml.MarkedYAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise BadFile(f"{path}{where}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(content, dict):
        raise BadFile(f"{path}: expected `kind` and `cases`")
    try:
        written = WrittenFile.model_validate(content)
    except ValidationError as error:
        raise BadFile("\n".join(_fault(path, node, fault) for fault in error.errors())) from None
    return CaseFile(path, written, tuple(_case_lines(node)))


def _case_lines(root: Any) -> list[int]:
    cases = next((value for key, value in root.value if key.value == "cases"), None)
    return [node.start_mark.line + 1 for node in cases.value] if cases is not None else []


def _fault(path: Path, root: Any, fault: Any) -> str:
    """`file:line: cases[2].events[0].at: what is wrong`."""
    node, place = root, ""
    for step in fault["loc"]:
        if isinstance(step, int) and isinstance(node, yaml.SequenceNode) and step < len(node.value):
            node = node.value[step]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == step), node)
        place += f"[{step}]" if isinstance(step, int) else f".{step}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{path}:{node.start_mark.line + 1}: {place.removeprefix('.')}: {message}"
