"""YAML text into plain values that know their lines. Nothing is constructed, repeated by reference or nested deeply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from services.domain.rules.faults import Path

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_NOT_FINITE = {".nan": "nan", "nan": "nan", ".inf": "inf", "inf": "inf", "-.inf": "-inf", "-inf": "-inf"}

Mark = tuple[int, int]
"""Line and column, both from 1."""


class SourceError(ValueError):
    """The text is no such YAML as rules are written in; the words say what to do (zh · en)."""

    def __init__(self, mark: Mark, zh: str, en: str) -> None:
        super().__init__(f"{zh} · {en}")
        self.mark, self.zh, self.en = mark, zh, en


@dataclass(slots=True)
class Source:
    """What stood there, and where: the mark of a path is that of its key, or of its entry in a list."""

    value: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)

    def mark(self, path: Path) -> Mark:
        """Of the nearest thing that stands in the text."""
        for length in range(len(path), -1, -1):
            found = self.marks.get(path[:length])
            if found is not None:
                return found
        return 1, 1


def read_source(text: str) -> Source:
    """Raises SourceError."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise SourceError((1, 1), f"超过 {MAX_BYTES // 1024} KiB", f"longer than {MAX_BYTES // 1024} KiB")
    source = Source()
    try:
        events = iter(yaml.parse(text, Loader=LOADER))
        next(events)
        if isinstance(next(events), yaml.StreamEndEvent):
            raise SourceError((1, 1), "内容为空", "there is nothing in it")
        source.value = _node(next(events), events, (), source, 0)
        next(events)
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise SourceError(_mark(after), "只能有一个文档", "there is more than one document")
    except yaml.YAMLError as error:
        raise _unreadable(error) from None
    except UnicodeError:
        raise SourceError((1, 1), "不是 UTF-8 文本", "is not UTF-8 text") from None
    return source


def _unreadable(error: yaml.YAMLError) -> SourceError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    why = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).partition("\n")[0]
    place = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return SourceError(place, f"不是有效的 YAML：{why}", f"not YAML: {why}")


def _mark(event: yaml.Event) -> Mark:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _node(event: yaml.Event, events: Iterator[yaml.Event], path: Path, source: Source, depth: int) -> Any:
    source.marks.setdefault(path, _mark(event))
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise SourceError(_mark(event), "不支持锚点与引用（& *），请写全", "no anchors and aliases (& *): write it out")
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise SourceError(_mark(event), f"不支持标签 {tag}", f"no tags here: {tag}")
    if depth > MAX_DEPTH:
        raise SourceError(_mark(event), "嵌套过深", "nested too deep")
    if isinstance(event, yaml.MappingStartEvent):
        return _mapping(events, path, source, depth)
    if isinstance(event, yaml.SequenceStartEvent):
        found: list[Any] = []
        while not isinstance(inner := next(events), yaml.SequenceEndEvent):
            found.append(_node(inner, events, (*path, len(found)), source, depth + 1))
        return found
    assert isinstance(event, yaml.ScalarEvent)  # noqa: S101 - nothing else is left
    return _scalar(event)


def _mapping(events: Iterator[yaml.Event], path: Path, source: Source, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while not isinstance(key := next(events), yaml.MappingEndEvent):
        if not isinstance(key, yaml.ScalarEvent) or key.anchor is not None or key.tag is not None:
            raise SourceError(_mark(key), "名称应为文字", "a name must be text")
        name = str(key.value)
        if name in found:
            raise SourceError(_mark(key), f"{name} 写了两次", f"{name} is given twice")
        source.marks[(*path, name)] = _mark(key)
        found[name] = _node(next(events), events, (*path, name), source, depth + 1)
    return found


def _scalar(event: yaml.ScalarEvent) -> Any:
    """`on`, `off`, `yes` and `22:30` stay text, as in YAML 1.2."""
    text = str(event.value)
    if event.style is not None and event.style != "":
        return text
    if text in ("true", "false"):
        return text == "true"
    if text in ("", "~", "null"):
        return None
    if text.lower() in _NOT_FINITE:
        return float(_NOT_FINITE[text.lower()])
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if re.fullmatch(r"[-+]?\d{1,18}", text) else float(text)
