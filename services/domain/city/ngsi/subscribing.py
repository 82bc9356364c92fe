"""A subscription of NGSI-LD (ETSI GS CIM 009, 5.2.12) read from what a client sent, with everything that is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.domain.city.ngsi import pattern, query
from services.domain.city.ngsi.asking import (
    Representation,
    kinds_of,
    names_of,
    pattern_of,
    query_of,
    representation,
)
from services.domain.city.ngsi.context import short
from services.domain.city.ngsi.entity import Entity
from services.domain.city.ngsi.mapping import TYPES, NgsiType
from services.domain.city.ngsi.members import check, flag, names_in, object_of, refused, text_in, wrong

NULL = "urn:ngsi-ld:null"
"""Stands for "take it away" in a change, and for "it is gone" in a notification."""
HIDDEN = "***"
"""In the place of a receiver's header, which is written and never shown."""
JSON, LD_JSON = "application/json", "application/ld+json"
SELECTORS, WATCHED, HEADERS = 20, 50, 10
MOST_THROTTLING_S = 86_400.0
_ID = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]{0,30}:[A-Za-z0-9._~:@!$&'()*+,;=%-]{1,200}\Z")
_HEADER = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")
_HEADER_VALUE = re.compile(r"^[\x21-\x7e](?:[\x20-\x7e]{0,2046}[\x21-\x7e])?\Z")
_OURS = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
    "keep-alive", "link", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    "user-agent", "webhook-id", "webhook-signature", "webhook-timestamp",
})  # fmt: skip
"""Headers that say how a message is framed, or what we say of it ourselves."""

_KNOWN = (
    "id", "type", "subscriptionName", "description", "entities", "watchedAttributes", "q", "isActive", "expiresAt",
    "throttling", "notification", "notificationTrigger", "jsonldContext", "localOnly", "@context",
)  # fmt: skip
TOLD = ("status", "createdAt", "modifiedAt", "deletedAt")
"""What we say of a subscription; a client may send back what it was shown, and changes nothing by it."""
_UNSUPPORTED = (
    "geoQ", "scopeQ", "csf", "temporalQ", "timeInterval", "lang", "datasetId", "splitEntities", "containedBy", "join",
    "joinLevel",
)  # fmt: skip
_NOTIFICATION = ("attributes", "pick", "omit", "format", "endpoint")
_NOTIFICATION_TOLD = (
    "status", "timesSent", "timesFailed", "lastNotification", "lastSuccess", "lastFailure", "lastErrorReason",
)  # fmt: skip
_NOTIFICATION_UNSUPPORTED = ("showChanges", "sysAttrs", "join", "joinLevel", "onlyChangedAttributes")
_ENDPOINT = ("uri", "accept", "receiverInfo")
_ENDPOINT_UNSUPPORTED = ("notifierInfo", "timeout", "cooldown")


class Trigger(StrEnum):
    ENTITY_CREATED = "entityCreated"
    ENTITY_UPDATED = "entityUpdated"
    ENTITY_DELETED = "entityDeleted"
    ATTRIBUTE_CREATED = "attributeCreated"
    ATTRIBUTE_UPDATED = "attributeUpdated"
    ATTRIBUTE_DELETED = "attributeDeleted"


USUAL = frozenset({Trigger.ATTRIBUTE_CREATED, Trigger.ATTRIBUTE_UPDATED})
"""Where a subscription does not say what triggers it."""


@dataclass(frozen=True, slots=True)
class Selector:
    """`names`: of ids, the part behind the type, by type; None: any."""

    kinds: tuple[NgsiType, ...]
    names: Mapping[str, frozenset[str]] | None = None
    pattern: pattern.Pattern | None = None

    def takes(self, kind: str, name: str, id: str) -> bool:
        if all(one.name != kind for one in self.kinds):
            return False
        if self.names is not None:
            return name in self.names.get(kind, ())
        return self.pattern is None or self.pattern.matches(id)


@dataclass(frozen=True, slots=True)
class Subscription:
    """`watched`: none named means all. `headers`: for the receiver, a secret. `throttling_s`: the least between two."""

    selectors: tuple[Selector, ...]
    watched: frozenset[str]
    query: query.Query | None
    triggers: frozenset[Trigger]
    representation: Representation
    uri: str
    accept: str
    headers: tuple[tuple[str, str], ...] = ()
    throttling_s: float = 0.0
    expires_at: datetime | None = None
    active: bool = True
    context: str = ""
    """The address of the @context that notifications are written in."""

    @property
    def kinds(self) -> tuple[NgsiType, ...]:
        named = {kind.name for one in self.selectors for kind in one.kinds}
        return tuple(kind for kind in TYPES.values() if kind.name in named)

    def selects(self, kind: str, name: str, id: str) -> bool:
        return any(one.takes(kind, name, id) for one in self.selectors)

    def wants(self, entity: Entity) -> bool:
        return self.query is None or query.holds(self.query, entity)


# -- reading -------------------------------------------------------------------------------------------------------


def read(document: Mapping[str, Any]) -> Subscription:
    """Without `id`. Raises AskedWrongly."""
    check("", document, (*_KNOWN, *TOLD), _UNSUPPORTED)
    if document.get("type") != "Subscription":
        wrong('type 须为 "Subscription"', 'type has to be "Subscription"')
    for name, most in (("subscriptionName", 200), ("description", 1_000)):
        if name in document:
            text_in(document, name, most)
    entities, watched = document.get("entities"), names_in(document, "watchedAttributes", WATCHED)
    if entities is None and not watched:
        wrong("请给出 entities 或 watchedAttributes", "give entities or watchedAttributes")
    if not flag(document, "localOnly", True):
        refused("localOnly: false")
    notification = object_of(document, "notification")
    endpoint = _endpoint(notification)
    return Subscription(
        selectors=_selectors(entities),
        watched=frozenset(map(short, watched)),
        query=query_of(text_in(document, "q", query.LONGEST)) if "q" in document else None,
        triggers=_triggers(document),
        representation=_representation(notification),
        uri=text_in(endpoint, "uri", 2_048),
        accept=_accept(endpoint),
        headers=_headers(endpoint),
        throttling_s=_throttling(document),
        expires_at=_time(document, "expiresAt"),
        active=flag(document, "isActive", True),
        context=text_in(document, "jsonldContext", 2_048) if "jsonldContext" in document else "",
    )


def read_id(document: Mapping[str, Any]) -> str | None:
    """None: we are to give it one. Raises AskedWrongly."""
    if "id" not in document:
        return None
    id = document["id"]
    if not isinstance(id, str) or not _ID.match(id):
        wrong(
            "id 须为 URI（如 urn:ngsi-ld:Subscription:1），不含 / 与空白，至多 200 字符",
            "id is a URI such as urn:ngsi-ld:Subscription:1, without / and blanks, 200 characters at most",
        )
    return str(id)


def merged(document: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Each member that is named replaces the whole of its like (5.5.8); `urn:ngsi-ld:null` takes it away. Raises
    AskedWrongly."""
    change = {name: value for name, value in change.items() if name not in (*TOLD, "@context")}
    if not change:
        wrong("没有要修改的内容", "there is nothing to change")
    if change.get("id", document.get("id")) != document.get("id"):
        wrong("id 不能修改", "the id of a subscription cannot be changed")
    # Which address our @context is named by is said anew.
    together = {**{name: value for name, value in document.items() if name != "jsonldContext"}, **change}
    for name, value in change.items():
        if value == NULL and name != "id":
            del together[name]
    return together


def check_future(one: Subscription, now: datetime) -> None:
    """Raises AskedWrongly."""
    if one.expires_at is not None and one.expires_at <= now:
        wrong("expiresAt 已过", "expiresAt is over")


def kept(document: Mapping[str, Any], context: str) -> dict[str, Any]:
    """What is written down of it: without secrets and what we say ourselves; the @context is ours (`context`), since we
    fetch no other. Raises AskedWrongly."""
    if document.get("jsonldContext", context) != context:
        refused("jsonldContext")
    found = {name: value for name, value in document.items() if name not in (*TOLD, "@context")}
    notification = {name: value for name, value in found["notification"].items() if name not in _NOTIFICATION_TOLD}
    endpoint = {name: value for name, value in notification["endpoint"].items() if name != "receiverInfo"}
    return found | {"notification": notification | {"endpoint": endpoint}, "jsonldContext": context}


# -- members -------------------------------------------------------------------------------------------------------


def _selectors(given: object) -> tuple[Selector, ...]:
    if given is None:
        return (Selector(tuple(TYPES.values())),)
    if not isinstance(given, list) or not 0 < len(given) <= SELECTORS:
        wrong(f"entities 须为 1 至 {SELECTORS} 项的数组", f"entities is an array of 1 to {SELECTORS} items")
    return tuple(_selector(one) for one in given)


def _selector(given: object) -> Selector:
    if not isinstance(given, Mapping):
        wrong("entities 的每一项须为对象", "each of entities has to be an object")
    check("entities.", given, ("type", "id", "idPattern"), ())
    kinds = kinds_of(None if given.get("type") == "*" else text_in(given, "type", 500))
    if not kinds:
        there = ", ".join(TYPES)
        wrong(f"没有该实体类型，可用：{there}", f"there is no such type of entity; there are: {there}")
    ids = given.get("id")
    if ids is not None:
        several = [ids] if isinstance(ids, str) else ids
        if not isinstance(several, list) or not several or not all(isinstance(one, str) for one in several):
            wrong("entities.id 须为 URI 或 URI 数组", "entities.id is a URI or an array of them")
        return Selector(kinds, names_of(several))
    found = pattern_of(text_in(given, "idPattern", 500)) if "idPattern" in given else None
    return Selector(kinds, None, found)


def _triggers(given: Mapping[str, Any]) -> frozenset[Trigger]:
    known = [one.value for one in Trigger]
    named = names_in(given, "notificationTrigger", len(known))
    for one in named:
        if one not in known:
            there = ", ".join(known)
            wrong(f"没有触发方式 {one[:40]}，可用：{there}", f"there is no trigger {one[:40]}; there are: {there}")
    return frozenset(map(Trigger, named)) or USUAL


def _representation(notification: Mapping[str, Any]) -> Representation:
    check("notification.", notification, (*_NOTIFICATION, *_NOTIFICATION_TOLD), _NOTIFICATION_UNSUPPORTED)
    form = {"format": text_in(notification, "format", 40)} if "format" in notification else {}
    if form and "," in form["format"]:
        wrong("只能用一种表示", "one representation at a time")
    named = {name: frozenset(map(short, names_in(notification, name, 50))) for name in ("attributes", "pick", "omit")}
    only = named["attributes"] | named["pick"]
    return Representation(representation(form).form, frozenset(), only - {"id", "type"}, named["omit"] - {"id", "type"})


def _endpoint(notification: Mapping[str, Any]) -> Mapping[str, Any]:
    endpoint = object_of(notification, "endpoint")
    check("endpoint.", endpoint, _ENDPOINT, _ENDPOINT_UNSUPPORTED)
    if text_in(endpoint, "uri", 2_048).lower().startswith(("mqtt:", "mqtts:")):
        refused("endpoint.uri: mqtt")
    return endpoint


def _accept(endpoint: Mapping[str, Any]) -> str:
    found = endpoint.get("accept", JSON)
    if found == "application/geo+json":
        refused("endpoint.accept: application/geo+json")
    if found not in (JSON, LD_JSON):
        wrong(f"endpoint.accept 可为 {JSON} 或 {LD_JSON}", f"endpoint.accept is {JSON} or {LD_JSON}")
    return str(found)


def _headers(endpoint: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    given = endpoint.get("receiverInfo", [])
    if not isinstance(given, list) or len(given) > HEADERS:
        wrong(f"receiverInfo 须为至多 {HEADERS} 项的数组", f"receiverInfo is an array of {HEADERS} at most")
    found: dict[str, str] = {}
    for one in given:
        if not isinstance(one, Mapping) or set(one) != {"key", "value"}:
            wrong("receiverInfo 每项须有 key 与 value", "each of receiverInfo has a key and a value")
        key, value = one["key"], one["value"]
        if value == HIDDEN:
            wrong("receiverInfo 的值不回显，请重新填写", "values of receiverInfo are not shown: give them anew")
        if not isinstance(key, str) or not _HEADER.match(key) or key.lower() in _OURS:
            wrong("receiverInfo 的 key 不能用作请求头", "a key of receiverInfo cannot be a header here")
        if not isinstance(value, str) or not _HEADER_VALUE.match(value):
            wrong("receiverInfo 的 value 须为可打印 ASCII 文本", "a value of receiverInfo is printable ASCII")
        if key.lower() in found:
            wrong("receiverInfo 的 key 重复", "a key of receiverInfo stands twice")
        found[key.lower()] = value
    return tuple(found.items())


def _throttling(given: Mapping[str, Any]) -> float:
    found = given.get("throttling", 0.0)
    known = isinstance(found, int | float) and not isinstance(found, bool)
    if "throttling" in given and (not known or not 0 < found <= MOST_THROTTLING_S):
        most = f"{MOST_THROTTLING_S:g}"
        wrong(f"throttling 须大于 0 且不超过 {most} 秒", f"throttling is more than 0 and {most} s at most")
    return float(found)


def _time(given: Mapping[str, Any], name: str) -> datetime | None:
    if name not in given:
        return None
    text = text_in(given, name, 40)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        wrong(f"{name} 须为带时区的时间", f"{name} is a time with its zone, such as 2026-12-31T23:59:59Z")
    return found
