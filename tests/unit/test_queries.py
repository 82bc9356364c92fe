"""Named statements: every name that the code asks for is in the file it is asked of, in what measures too."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench
import services
from services.adapters.queries import Queries


def asked(module: str) -> Iterator[tuple[str, str, int]]:
    """(holder, statement, line) of every `Q["name"]` written out in the module."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        match node:
            case ast.Subscript(ast.Name(holder), ast.Constant(str() as statement)):
                yield holder, statement, node.lineno


def modules() -> list[str]:
    return [
        found.name
        for package in (bench, services)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    ]


def test_every_statement_that_is_asked_for_by_name_is_there() -> None:
    missing, looked_at = [], 0
    for name in modules():
        for holder, statement, line in asked(name):
            queries = getattr(importlib.import_module(name), holder, None)
            if isinstance(queries, Queries):
                looked_at += 1
                if statement not in queries:
                    missing.append(f"{name}:{line} asks {holder} for {statement!r}")
    assert missing == []
    assert looked_at > 300


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "queries.sql"
    file.write_text("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n")
    with pytest.raises(ValueError, match="stands twice"):
        Queries(file)
