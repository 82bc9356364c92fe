"""The catalogue of city events: everything that is appended to the outbox is in it, and its schemas hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import services
from services.domain.city import BY_TYPE, CATALOGUE, INTERNAL, TEST, DataClass
from services.domain.city.asyncapi import asyncapi
from services.domain.city.schemas import schema_of
from services.domain.commands.states import CommandState
from services.domain.orders.states import Move

ROOT = Path(services.__file__).parent
FILLED: Mapping[str, tuple[str, ...]] = {
    "entry.move.value": tuple(move.value for move in Move),
    "row['state']": tuple(state.value for state in CommandState),
}
"""What a name inside an f-string of a type may be. A new one stops the test until somebody says it here."""


class Appended:
    """Every type that code of ours gives to an `Outgoing`: constants, f-strings, and arguments followed to callers."""

    def __init__(self, paths: list[Path]) -> None:
        self.types: dict[str, str] = {}
        self.unknown: list[str] = []
        for path in paths:
            self._read(path)

    def _read(self, path: Path) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in _functions(tree):
            for call in _calls(function, "Outgoing"):
                if _name(call.func) == "Outgoing" and call.args:
                    where = f"{path.relative_to(ROOT)}:{call.lineno}"
                    self._take(call.args[0], function, tree, where)

    def _take(self, said: ast.expr, function: ast.AST, tree: ast.Module, where: str) -> None:
        if isinstance(said, ast.Constant):
            self.types[str(said.value)] = where
        elif isinstance(said, ast.IfExp):
            self._take(said.body, function, tree, where)
            self._take(said.orelse, function, tree, where)
        elif isinstance(said, ast.JoinedStr):
            self._fill(said, function, tree, where)
        elif isinstance(said, ast.Name):
            given = list(_given(said.id, function, tree))
            if not given:
                self.unknown.append(f"{where}: {said.id}")
            for one, caller in given:
                self._take(one, caller, tree, where)
        else:
            self.unknown.append(f"{where}: {ast.unparse(said)}")

    def _fill(self, said: ast.JoinedStr, function: ast.AST, tree: ast.Module, where: str) -> None:
        head = "".join(str(part.value) for part in said.values if isinstance(part, ast.Constant))
        [hole] = [part.value for part in said.values if isinstance(part, ast.FormattedValue)]
        words: list[str] = list(FILLED.get(ast.unparse(hole), ()))
        if isinstance(hole, ast.Name):
            words = [str(one.value) for one, _ in _given(hole.id, function, tree) if isinstance(one, ast.Constant)]
        if not words:
            self.unknown.append(f"{where}: {ast.unparse(said)}")
        for word in words:
            self.types[head + word] = where


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def _calls(inside: ast.AST, name: str) -> Iterator[ast.Call]:
    return (one for one in ast.walk(inside) if isinstance(one, ast.Call) and _name(one.func) == name)


def _name(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _given(name: str, function: ast.AST, tree: ast.Module) -> Iterator[tuple[ast.expr, ast.AST]]:
    """What a name of a function is: what it is set to in it, or what it is called with in the same module."""
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    for one in ast.walk(function):
        if isinstance(one, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in one.targets):
            yield one.value, function
    names = [argument.arg for argument in function.args.args]
    if name not in names:
        return
    place = names.index(name)
    for caller in _functions(tree):
        for call in _calls(caller, function.name):
            for word in call.keywords:
                if word.arg == name:
                    yield word.value, caller
            if len(call.args) > place:
                yield call.args[place], caller


@cache
def appended() -> Appended:
    paths = [path for path in ROOT.rglob("*.py") if "node_modules" not in path.parts]
    return Appended([path for path in paths if "Outgoing(" in path.read_text(encoding="utf-8")])


def test_everything_that_is_appended_to_the_outbox_is_published_or_says_why_not() -> None:
    found = appended()
    assert found.unknown == []
    assert len(found.types) > 40, "the code was not read"
    lacking = {type: where for type, where in found.types.items() if type not in BY_TYPE and type not in INTERNAL}
    assert lacking == {}, "say in services/domain/city/catalogue.py what becomes of them"


def test_nothing_in_the_catalogue_is_never_appended() -> None:
    assert {*BY_TYPE, *INTERNAL} - set(appended().types) == set()


def test_sql_of_services_appends_nothing_by_itself() -> None:
    said = [path for path in ROOT.rglob("*.sql") if "outbox_append" in path.read_text(encoding="utf-8")]
    assert said == []


def test_reader_of_the_code_finds_a_type_nobody_has_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = tmp_path / "new.py"
    new.write_text(
        "def tell(kind):\n    return Outgoing(kind, 'c', 's', '', {})\n\ndef one():\n    tell('valve.closed')\n"
    )
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    assert set(Appended([new]).types) == {"valve.closed"} and "valve.closed" not in BY_TYPE
    new.write_text("def tell(row):\n    return Outgoing(f'valve.{row.what}', 'c', 's', '', {})\n")
    assert Appended([new]).unknown


def test_nothing_is_both_published_and_kept() -> None:
    assert not BY_TYPE.keys() & INTERNAL.keys()
    assert len(BY_TYPE) == len(CATALOGUE)
    assert all(INTERNAL.values())


@pytest.mark.parametrize("kind", (*CATALOGUE, TEST), ids=lambda kind: kind.name)
def test_schema_is_one_of_the_dialect_and_names_its_type(kind) -> None:  # type: ignore[no-untyped-def]
    schema = schema_of(kind)
    Draft202012Validator.check_schema(schema)
    assert re.fullmatch(r"cn\.linhub\.[a-z]+\.[a-z_]+\.v[1-9]\d*", kind.name)
    assert schema["$id"].endswith(kind.name) and "$ref" not in str(schema)
    gated = kind.model.gated()
    assert not set(schema["required"]) & set(gated)
    for name, needs in gated.items():
        assert schema["properties"][name]["x-data-class"] == needs.value


def test_a_field_of_health_is_in_no_payload() -> None:
    """What an alert about health says is under a rule of its own, not a field that a grant alone would open."""
    assert not any(DataClass.HEALTH in one.model.gated().values() for one in CATALOGUE)


def test_asyncapi_names_every_message_of_every_way() -> None:
    document = asyncapi("https://linhub.example.cn", "/api/v1")
    assert document["servers"]["api"]["host"] == "linhub.example.cn"
    for channel in document["channels"].values():
        names = set(channel["messages"])
        assert {one.name for one in CATALOGUE} <= names
    for name in document["components"]["messages"]:
        Draft202012Validator.check_schema(document["components"]["schemas"][name]["schema"])
