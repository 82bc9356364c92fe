"""The query language of NGSI-LD (ETSI GS CIM 009, 4.9): `q` read into a tree, and an entity asked by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from services.domain.city.ngsi.entity import Attribute, Entity, Property, simple, text_of

LONGEST, TERMS = 2_000, 50
_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[;|()])
        |(?P<path>!?[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*(?:\[[A-Za-z0-9_.]+\])?)
         (?P<op>!~=|~=|==|!=|>=|<=|>|<)?)""",
    re.VERBOSE,
)
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"|[^;|()",]+')
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?\Z")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,}(?:Z|[-+][0-9]{2}:[0-9]{2})?\Z")
Value: TypeAlias = "str | float | bool | datetime"


class QueryError(ValueError):
    """It is no query. `unsupported`: it is one, and asks for what is not done here."""

    def __init__(self, why: str, *, unsupported: bool = False) -> None:
        super().__init__(why)
        self.unsupported = unsupported


@dataclass(frozen=True, slots=True)
class Range:
    low: Value
    high: Value


@dataclass(frozen=True, slots=True)
class Path:
    """`within`: members of the value; `beside`: what stands beside it (observedAt, unitCode)."""

    name: str
    beside: str | None = None
    within: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """`op` None: whether it is there. `wanted`: any of these."""

    path: Path
    op: str | None
    wanted: tuple[Value | Range, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class All:
    of: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Any_:
    of: tuple[Query, ...]


Query: TypeAlias = "Term | All | Any_"


# -- reading -------------------------------------------------------------------------------------------------------


def read(text: str) -> Query:
    """`;` binds closer than `|`. Raises QueryError."""
    if len(text) > LONGEST:
        raise QueryError(f"longer than {LONGEST} characters")
    return _Reader(text).whole()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._terms = 0

    def whole(self) -> Query:
        found = self._any(0)
        if self._text[self._at :].strip():
            raise self._lost()
        return found

    def _lost(self) -> QueryError:
        return QueryError(f"not understood from character {self._at + 1} on")

    def _mark(self) -> str:
        rest = self._text[self._at :].lstrip()
        return rest[:1]

    def _take(self) -> None:
        self._at = len(self._text) - len(self._text[self._at :].lstrip()) + 1

    def _any(self, depth: int) -> Query:
        found = [self._all(depth)]
        while self._mark() == "|":
            self._take()
            found.append(self._all(depth))
        return found[0] if len(found) == 1 else Any_(tuple(found))

    def _all(self, depth: int) -> Query:
        found = [self._one(depth)]
        while self._mark() == ";":
            self._take()
            found.append(self._one(depth))
        return found[0] if len(found) == 1 else All(tuple(found))

    def _one(self, depth: int) -> Query:
        if self._mark() == "(":
            if depth > 10:
                raise QueryError("parentheses deeper than 10")
            self._take()
            found = self._any(depth + 1)
            if self._mark() != ")":
                raise self._lost()
            self._take()
            return found
        token = _TOKEN.match(self._text, self._at)
        if token is None or token["path"] is None:
            raise self._lost()
        self._terms += 1
        if self._terms > TERMS:
            raise QueryError(f"more than {TERMS} terms")
        self._at = token.end()
        name, op = token["path"], token["op"]
        if op in ("~=", "!~="):
            raise QueryError("patterns (~=, !~=) are not done here", unsupported=True)
        if name.startswith("!"):
            if op is not None:
                raise self._lost()
            return Term(_path(name[1:]), None, negated=True)
        return Term(_path(name), op, self._wanted(op) if op is not None else ())

    def _wanted(self, op: str) -> tuple[Value | Range, ...]:
        found = [self._value()]
        while self._mark() == ",":
            self._take()
            found.append(self._value())
        if op not in ("==", "!=") and (len(found) > 1 or isinstance(found[0], Range)):
            raise QueryError(f"{op} compares with one value")
        return tuple(found)

    def _value(self) -> Value | Range:
        token = _VALUE.match(self._text, self._at)
        if token is None or not token[0].strip():
            raise self._lost()
        self._at = token.end()
        text = token[0].strip()
        if text.startswith('"'):
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        low, dots, high = text.partition("..")
        if dots:
            return Range(_literal(low), _literal(high))
        return _literal(text)


def _path(text: str) -> Path:
    head, bracket, inner = text.partition("[")
    within = tuple(inner[:-1].split(".")) if bracket else ()
    name, _, rest = head.partition(".")
    if rest in ("observedAt", "unitCode"):
        return Path(name, rest, within)
    return Path(name, None, (*rest.split("."), *within) if rest else within)


def _literal(text: str) -> Value:
    if _TIME.match(text):
        try:
            read = datetime.fromisoformat(text)
        except ValueError:
            raise QueryError(f"no time: {text[:40]}") from None
        return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
    if _NUMBER.match(text):
        return float(text)
    if text in ("true", "false"):
        return text == "true"
    if not text:
        raise QueryError("a value is missing")
    return text


# -- asking --------------------------------------------------------------------------------------------------------


def holds(query: Query, entity: Entity) -> bool:
    match query:
        case All(of):
            return all(holds(one, entity) for one in of)
        case Any_(of):
            return any(holds(one, entity) for one in of)
        case Term(path, op, wanted, negated):
            attribute = entity.attributes.get(path.name)
            found = None if attribute is None else _at(attribute, path)
            if op is None:
                return (found is not None) is not negated
            if found is None:
                return False
            return _compared(found, op, wanted)


def _at(attribute: Attribute, path: Path) -> Any:
    found: Any
    if path.beside is not None:
        if not isinstance(attribute, Property):
            return None
        found = attribute.observed_at if path.beside == "observedAt" else attribute.unit
        return text_of(found) if isinstance(found, datetime) else found
    found = simple(attribute)
    for name in path.within:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _compared(found: Any, op: str, wanted: tuple[Value | Range, ...]) -> bool:
    """Of a list, any of its members is the one that is asked for."""
    if op == "!=":
        return not _compared(found, "==", wanted)
    if isinstance(found, list):
        return any(_compared(one, op, wanted) for one in found)
    return any(_one(found, op, value) for value in wanted)


def _one(found: Any, op: str, wanted: Value | Range) -> bool:
    if isinstance(wanted, Range):
        return _one(found, ">=", wanted.low) and _one(found, "<=", wanted.high)
    if isinstance(wanted, datetime):
        try:
            found = datetime.fromisoformat(found) if isinstance(found, str) else None
        except ValueError:
            return False
        if found is None or found.tzinfo is None:
            return False
    same = isinstance(found, bool) is isinstance(wanted, bool)
    if isinstance(wanted, float):
        same = same and isinstance(found, int | float)
    elif isinstance(wanted, str):
        same = isinstance(found, str)
    if not same:
        return False
    match op:
        case "==":
            return bool(found == wanted)
        case ">":
            return bool(found > wanted)
        case "<":
            return bool(found < wanted)
        case ">=":
            return bool(found >= wanted)
        case _:
            return bool(found <= wanted)
