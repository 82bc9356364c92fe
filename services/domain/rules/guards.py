"""Guards: CEL expressions over one item, its device and its household. The only file that knows the CEL library.

`values.power > 0.0 && !household.away && hour >= 22`. Errors follow the CEL specification: `error || true` is true,
`error && false` is false, everything else that meets an error is one. An error, a metric that this item does not carry
included, means that the guard is not known. What an expression can cost is bounded when it is read: its length, one
macro at most, and no function that could run long (regular expressions, times, conversions of the whole item).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind

MAX_CHARS = 1000
VARIABLES = ("values", "event", "data", "device", "household", "hour", "workday")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "device": ("id", "kind", "tags", "place", "floor", "building", "grid"),
    "household": ("tags", "away"),
}
_MACROS = frozenset({"all", "exists", "exists_one"})
"""Those that only look; `map` and `filter` build lists."""
_FUNCTIONS = _MACROS | {"has", "size", "contains", "startsWith", "endsWith", "int", "double", "string", "min", "max"}
_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*)
    |(?P<string>[rRbB]{0,2}(?:'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))
    |(?P<number>(?:0[xX][0-9a-fA-F]+|\d+\.\d+(?:[eE][+-]?\d+)?|\d+(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_STOP = (KeyboardInterrupt, SystemExit, GeneratorExit)
_PARSED_AT = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")


class GuardError(ValueError):
    """The expression cannot be used; `at` is where in it, in characters from 0."""

    def __init__(self, source: str, at: int, why: str) -> None:
        line = source.count("\n", 0, at) + 1
        column = at - source.rfind("\n", 0, at)
        super().__init__(f"guard, line {line}, column {column}: {why}")
        self.at, self.line, self.column, self.why = at, line, column, why


class _Program(Protocol):
    """A compiled expression of the library."""

    def execute(self, context: dict[str, Any]) -> Any: ...
    def references(self) -> dict[str, list[str]]: ...


@dataclass(frozen=True, slots=True)
class _Token:
    sort: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Guard:
    """A compiled guard. `uses`: variable → the fields of it that are read; () where it is read as a whole."""

    source: str
    uses: Mapping[str, tuple[str, ...]]
    _program: _Program

    def holds(self, variable: Callable[[str, tuple[str, ...]], Any]) -> bool | None:
        """`variable(name, fields)` gives the value of one that is used (of a map, those fields that there are).

        None: not known, because something it needs is missing, or what came out is no truth value.
        """
        values = {name: variable(name, fields) for name, fields in self.uses.items()}
        try:
            result = self._program.execute(values)
        except _STOP:
            raise
        except BaseException:
            # Whatever the library makes of missing keys, wrong types or overflow: an error is not known. A panic in its
            # Rust code is no Exception.
            return None
        return result if isinstance(result, bool) else None


def compile_guard(source: str) -> Guard:
    """GuardError where it is no CEL, too long, or could run long. Whether the names in it exist, `check_guard` says."""
    return _compiled(source)[0]


def check_guard(source: str, kind: DeviceKind, *, reads_values: bool = True, reads_events: bool = True) -> None:
    """Raises GuardError where the guard makes no sense for devices of this kind: an unknown metric or field, something
    that can not be true or false, or what the rule's items never carry."""
    guard, tokens = _compiled(source)
    metrics = tuple(metric.name for metric in kind.metrics)
    fields = tuple(sorted({name for event in kind.events for name in event.fields}))
    known = {"values": metrics, "data": fields, **_FIELDS}
    for name, read in guard.uses.items():
        if (name == "values" and not reads_values) or (name in ("event", "data") and not reads_events):
            raise GuardError(source, _place(tokens, name), f"this rule is never handed {name!r}")
        for field in read:
            if name in known and field not in known[name]:
                raise GuardError(
                    source,
                    _place(tokens, name, field),
                    f"{kind.name} has no {name}.{field}; known: {_list(known[name])}",
                )
    for at, event in _events_named(tokens):
        if event not in [known_event.name for known_event in kind.events]:
            names = _list(tuple(known_event.name for known_event in kind.events))
            raise GuardError(source, at, f"{kind.name} has no event {event!r}; known: {names}")
    sample: dict[str, Any] = {
        "values": dict.fromkeys(metrics, 1.0),
        "device": {"id": "", "kind": kind.name, "tags": [], "place": "", "floor": 1, "building": "", "grid": ""},
        "household": {"tags": [], "away": False},
        "event": kind.events[0].name if kind.events else "",
        "data": {},
        "hour": 0.0,
        "workday": True,
    }
    try:
        result = guard._program.execute({name: sample[name] for name in guard.uses})
    except TypeError as error:
        raise GuardError(source, 0, f"types do not fit: {error}") from error
    except Exception:
        return
    if not isinstance(result, bool):
        raise GuardError(source, 0, f"is neither true nor false, but {type(result).__name__}")


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


@lru_cache(maxsize=4096)
def _compiled(source: str) -> tuple[Guard, tuple[_Token, ...]]:
    # Imported where the first guard is met: the library loads its command line too, a quarter of a second.
    import cel

    if len(source) > MAX_CHARS:
        raise GuardError(source, MAX_CHARS, f"longer than {MAX_CHARS} characters")
    if not source.strip():
        raise GuardError(source, 0, "empty")
    tokens = tuple(_tokens(source))
    try:
        program: _Program = cel.compile(source)
    except ValueError as error:
        raise _unparsed(source, str(error)) from None
    except _STOP:
        raise
    except BaseException as error:
        raise GuardError(source, 0, f"cannot be read: {error}") from None
    _refuse_costly(source, tokens)
    _refuse_senseless(source, tokens)
    bound = set(_bound(source, tokens))
    uses = {}
    for name in program.references()["variables"]:
        if name in VARIABLES:
            uses[name] = _fields_read(source, tokens, name)
        elif name not in bound:
            raise GuardError(source, _place(tokens, name), f"unknown name {name!r}; known: {_list(VARIABLES)}")
    return Guard(source, uses, program), tokens


def _tokens(source: str) -> Iterator[_Token]:
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if found is None:
            raise GuardError(source, at, f"unexpected {source[at]!r}")
        if found.lastgroup not in (None, "blank"):
            yield _Token(str(found.lastgroup), found.group(), at)
        at = found.end()


def _unparsed(source: str, said: str) -> GuardError:
    """Where the library says that it stumbled."""
    found = _PARSED_AT.search(said)
    if found is None:
        return GuardError(source, 0, said.splitlines()[0])
    lines = source.split("\n")
    line = min(int(found[1]), len(lines))
    at = sum(len(text) + 1 for text in lines[: line - 1]) + int(found[2]) - 1
    return GuardError(source, min(at, len(source)), found[3])


def _refuse_costly(source: str, tokens: tuple[_Token, ...]) -> None:
    called = list(_called(tokens))
    for token in called:
        if token.text not in _FUNCTIONS:
            raise GuardError(
                source, token.at, f"unknown function {token.text!r}; known: {_list(tuple(sorted(_FUNCTIONS)))}"
            )
    built = next((token for token in tokens if token.text == "{"), None)
    if built is not None:
        raise GuardError(source, built.at, "no maps and messages here")
    macros = [token for token in called if token.text in _MACROS]
    if len(macros) > 1:
        raise GuardError(source, macros[1].at, "more than one loop over a list")


def _called(tokens: tuple[_Token, ...]) -> Iterator[_Token]:
    for token, after in pairwise(tokens):
        if token.sort == "name" and after.text == "(" and token.text != "in":
            yield token


def _bound(source: str, tokens: tuple[_Token, ...]) -> Iterator[str]:
    """What macros call the thing in their hand."""
    for macro, opened, name in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if macro.text in _MACROS and opened.text == "(" and name.sort == "name":
            if name.text in VARIABLES:
                raise GuardError(source, name.at, f"{name.text!r} is taken")
            yield name.text


def _refuse_senseless(source: str, tokens: tuple[_Token, ...]) -> None:
    """`values.on == true` is false for ever: metrics are numbers, also of switches and states."""
    for index, token in enumerate(tokens):
        if token.text not in ("==", "!="):
            continue
        before, after = tokens[max(0, index - 3) : index], tokens[index + 1 : index + 4]
        for side, other in ((before[:1], after[:1]), (after[:1], before[-1:])):
            named = side and side[0].text == "values"
            if named and other and (other[0].text in ("true", "false") or other[0].sort == "string"):
                raise GuardError(
                    source, other[0].at, "values are numbers, also of switches (1.0) and states (0.0, 1.0 …)"
                )


def _events_named(tokens: tuple[_Token, ...]) -> Iterator[tuple[int, str]]:
    """String literals that `event` is compared with."""
    for first, sign, second in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if sign.text in ("==", "!="):
            for one, other in ((first, second), (second, first)):
                if one.text == "event" and other.sort == "string":
                    yield other.at, other.text.strip("\"'")


def _fields_read(source: str, tokens: tuple[_Token, ...], name: str) -> tuple[str, ...]:
    """Which fields of a map are read. It has to be said by name, so that only these are ever handed over."""
    if name not in ("values", "data", "device", "household"):
        return ()
    read: dict[str, None] = {}
    for index, token in enumerate(tokens):
        if token.text != name or token.sort != "name" or (index and tokens[index - 1].text == "."):
            continue
        after = tokens[index + 1 : index + 3]
        if len(after) == 2 and after[0].text == "." and after[1].sort == "name":
            read[after[1].text] = None
        elif len(after) == 2 and after[0].text == "[" and after[1].sort == "string" and after[1].text[0] in "\"'":
            read[after[1].text.strip("\"'")] = None
        else:
            raise GuardError(source, token.at, f"say which field of {name!r} is meant: {name}.name")
    return tuple(read)


def _place(tokens: tuple[_Token, ...], name: str, field: str | None = None) -> int:
    for index, token in enumerate(tokens):
        free = token.text == name and token.sort == "name" and (index == 0 or tokens[index - 1].text != ".")
        if free and field is None:
            return token.at
        if free and index + 2 < len(tokens) and tokens[index + 2].text.strip("\"'") == field:
            return tokens[index + 2].at
    return 0
