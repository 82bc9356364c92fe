"""Named SQL: every statement lives in a `queries.sql` beside its store, under a `-- name: …` line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_NAME = re.compile(r"^-- name: ([a-z0-9_]+)\s*$", re.MULTILINE)


class Queries(Mapping[str, str]):
    """The statements of one file. Asking for a name that is not there raises KeyError at import, not at run time."""

    def __init__(self, path: Path) -> None:
        parts = _NAME.split(path.read_text(encoding="utf-8"))
        names, texts = parts[1::2], parts[2::2]
        if len(set(names)) != len(names):
            raise ValueError(f"{path}: a name stands twice")
        self._statements: dict[str, str] = dict(zip(names, (text.strip() for text in texts), strict=True))

    @classmethod
    def beside(cls, module_file: str) -> Queries:
        return cls(Path(module_file).with_name("queries.sql"))

    def __getitem__(self, name: str) -> str:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)
