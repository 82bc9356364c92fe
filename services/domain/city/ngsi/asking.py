"""What a request for entities asks for, read from its parameters, and whether an entity is it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.domain.city.ngsi import pattern, query
from services.domain.city.ngsi.context import short
from services.domain.city.ngsi.entity import Entity, Form
from services.domain.city.ngsi.mapping import TYPES, URN, NgsiType

LIMIT, MOST, FARTHEST = 20, 1_000, 1_000_000
IDS = 200
UNSUPPORTED = (
    "georel", "geometry", "coordinates", "geoproperty", "geometryProperty", "scopeQ", "lang", "csf", "datasetId",
    "join", "joinLevel", "containedBy", "orderBy", "collation", "entityMap", "jsonKeys", "splitEntities",
)  # fmt: skip
KNOWN = (
    "type", "id", "idPattern", "q", "attrs", "pick", "omit", "options", "format", "limit", "offset", "count", "local",
)  # fmt: skip


class Fault(StrEnum):
    """Error types of ETSI GS CIM 009, 5.5.2."""

    INVALID_REQUEST = "InvalidRequest"
    BAD_REQUEST_DATA = "BadRequestData"
    NOT_FOUND = "ResourceNotFound"
    ALREADY_EXISTS = "AlreadyExists"
    UNSUPPORTED = "OperationNotSupported"
    TOO_MANY = "TooManyResults"
    NO_TENANTS = "NoMultiTenantSupport"


class AskedWrongly(ValueError):
    """`zh`, `en`: what is wrong and what to do."""

    def __init__(self, fault: Fault, zh: str, en: str) -> None:
        super().__init__(en)
        self.fault, self.zh, self.en = fault, zh, en


@dataclass(frozen=True, slots=True)
class Representation:
    form: Form = Form.NORMALIZED
    attrs: frozenset[str] = frozenset()
    """With any of these attributes, and only them."""
    pick: frozenset[str] = frozenset()
    omit: frozenset[str] = frozenset()

    def of(self, entity: Entity) -> Entity:
        only = self.attrs | self.pick
        return (entity.only(only) if only else entity).without(self.omit)


@dataclass(frozen=True, slots=True)
class Asked:
    """`kinds`: those that are named and known; `names`: of ids, the part behind the type, by type."""

    kinds: tuple[NgsiType, ...]
    representation: Representation
    names: Mapping[str, frozenset[str]] | None = None
    pattern: pattern.Pattern | None = None
    query: query.Query | None = None
    limit: int = LIMIT
    offset: int = 0
    count: bool = False

    def is_met(self, entity: Entity) -> bool:
        attrs = self.representation.attrs
        if attrs and not attrs & set(entity.attributes):
            return False
        if self.pattern is not None and not self.pattern.matches(entity.id):
            return False
        return self.query is None or query.holds(self.query, entity)


def read(parameters: Mapping[str, str]) -> Asked:
    """Raises AskedWrongly."""
    checked(parameters, KNOWN)
    if not any(parameters.get(name) for name in ("type", "id", "idPattern", "q", "attrs")):
        raise AskedWrongly(
            Fault.BAD_REQUEST_DATA,
            "请至少给出 type、id、idPattern、q 或 attrs 之一",
            "give at least one of type, id, idPattern, q or attrs",
        )
    limit = _number(parameters, "limit", LIMIT, MOST)
    count = _flag(parameters, "count")
    if limit == 0 and not count:
        raise AskedWrongly(Fault.BAD_REQUEST_DATA, "limit=0 须与 count=true 同用", "limit=0 goes with count=true")
    _flag(parameters, "local")
    return Asked(
        kinds=kinds_of(parameters.get("type")),
        representation=representation(parameters),
        names=names_of(_list(parameters, "id")),
        pattern=pattern_of(parameters.get("idPattern")),
        query=query_of(parameters.get("q")),
        limit=limit,
        offset=_number(parameters, "offset", 0, FARTHEST),
        count=count,
    )


def checked(parameters: Mapping[str, str], known: tuple[str, ...]) -> None:
    """Raises AskedWrongly for a parameter that would silently change nothing."""
    for name in parameters:
        if name in UNSUPPORTED:
            raise AskedWrongly(Fault.UNSUPPORTED, f"不支持参数 {name}", f"the parameter {name} is not done here")
        if name not in known:
            raise AskedWrongly(Fault.INVALID_REQUEST, f"没有参数 {name[:40]}", f"there is no parameter {name[:40]}")


def representation(parameters: Mapping[str, str]) -> Representation:
    """Raises AskedWrongly."""
    forms = {"normalized": Form.NORMALIZED, "concise": Form.CONCISE, "simplified": Form.SIMPLIFIED,
             "keyValues": Form.SIMPLIFIED}  # fmt: skip
    asked = [*_list(parameters, "options"), *_list(parameters, "format")]
    for one in asked:
        if one not in forms:
            raise AskedWrongly(
                Fault.UNSUPPORTED if one in ("sysAttrs", "temporalValues") else Fault.INVALID_REQUEST,
                f"不支持 {one[:40]}，可用 {'、'.join(forms)}",
                f"{one[:40]} is not done here; there are {', '.join(forms)}",
            )
    found = {forms[one] for one in asked}
    if len(found) > 1:
        raise AskedWrongly(Fault.INVALID_REQUEST, "只能用一种表示", "one representation at a time")
    attrs, pick, omit = (frozenset(map(short, _list(parameters, name))) for name in ("attrs", "pick", "omit"))
    return Representation(
        found.pop() if found else Form.NORMALIZED, attrs, pick - {"id", "type"}, omit - {"id", "type"}
    )


def kinds_of(text: str | None) -> tuple[NgsiType, ...]:
    """All where none is named. A type that is not known has no entities. Raises AskedWrongly."""
    if not text:
        return tuple(TYPES.values())
    if any(mark in text for mark in ";()"):
        raise AskedWrongly(
            Fault.UNSUPPORTED, "每个实体只有一个类型，请用逗号列出", "an entity has one type here: list them by commas"
        )
    named = {short(one.strip()) for one in text.replace("|", ",").split(",")}
    return tuple(kind for kind in TYPES.values() if kind.name in named)


def names_of(ids: list[str]) -> Mapping[str, frozenset[str]] | None:
    """None where none are asked for. An id that is none of ours names nothing. Raises AskedWrongly."""
    if not ids:
        return None
    if len(ids) > IDS:
        raise AskedWrongly(Fault.BAD_REQUEST_DATA, f"一次至多 {IDS} 个 id", f"{IDS} ids at a time")
    found: dict[str, set[str]] = {kind: set() for kind in TYPES}
    for id in ids:
        if ":" not in id:
            raise AskedWrongly(Fault.BAD_REQUEST_DATA, f"不是 URI：{id[:80]}", f"no URI: {id[:80]}")
        kind, name = split(id) or ("", "")
        if kind:
            found[kind].add(name)
    return {kind: frozenset(names) for kind, names in found.items()}


def split(id: str) -> tuple[str, str] | None:
    """Type and name of an id of ours."""
    rest = id.removeprefix(f"{URN}:")
    kind, _, name = rest.partition(":")
    return (kind, name) if rest != id and kind in TYPES and name else None


def pattern_of(text: str | None) -> pattern.Pattern | None:
    """Raises AskedWrongly."""
    if not text:
        return None
    found = pattern.read(text)
    if found is None:
        raise AskedWrongly(
            Fault.UNSUPPORTED,
            f"idPattern 只支持字面字符、.、.*、.+、^、$，至多 {pattern.MOST} 字符",
            f"idPattern takes characters, '.', '.*', '.+', '^' and '$', {pattern.MOST} at most",
        )
    return found


def query_of(text: str | None) -> query.Query | None:
    """Raises AskedWrongly."""
    if not text:
        return None
    try:
        return query.read(text)
    except query.QueryError as error:
        fault = Fault.UNSUPPORTED if error.unsupported else Fault.BAD_REQUEST_DATA
        raise AskedWrongly(fault, f"q 无法使用：{error}", f"q cannot be used: {error}") from None


def _list(parameters: Mapping[str, str], name: str) -> list[str]:
    return [one.strip() for one in parameters.get(name, "").split(",") if one.strip()]


def _number(parameters: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > most:
        raise AskedWrongly(
            Fault.BAD_REQUEST_DATA, f"{name} 须为 0 至 {most} 的整数", f"{name} is a number, 0 to {most}"
        )
    return int(text)


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    text = parameters.get(name, "false")
    if text not in ("true", "false"):
        raise AskedWrongly(Fault.BAD_REQUEST_DATA, f"{name} 须为 true 或 false", f"{name} is true or false")
    return text == "true"
