"""What has changed of an entity since a subscription last looked at it, and whether its subscriber is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from services.domain.city.ngsi.entity import (
    Attribute,
    Entity,
    Form,
    GeoProperty,
    Property,
    Relationship,
    simple,
    text_of,
)
from services.domain.city.ngsi.subscribing import NULL, Subscription, Trigger

Marks: TypeAlias = Mapping[str, str]
"""By attribute: what sort it is, and a digest of its value. When it was observed is not in it: a measurement that says
the same once more is no change."""

_SORTS: Mapping[type, str] = {Property: "P", Relationship: "R", GeoProperty: "G"}


@dataclass(frozen=True, slots=True)
class Seen:
    """An entity as it is now, None: it is not there any more; its marks; and what it is told as, None: nothing."""

    id: str
    marks: Marks | None
    told: Mapping[str, Any] | None


def marks_of(entity: Entity, watched: Collection[str]) -> Marks:
    """Of the attributes that are watched; of all where none are named."""
    return {name: _mark(one) for name, one in entity.attributes.items() if not watched or name in watched}


def _mark(one: Attribute) -> str:
    unit = one.unit if isinstance(one, Property) else None
    text = json.dumps([simple(one), unit], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return _SORTS[type(one)] + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def happened(now: Marks, before: Marks | None) -> frozenset[Trigger]:
    """`before` None: it was not there."""
    if before is None:
        return frozenset({Trigger.ENTITY_CREATED, *([Trigger.ATTRIBUTE_CREATED] if now else [])})
    found = set()
    if now.keys() - before.keys():
        found.add(Trigger.ATTRIBUTE_CREATED)
    if before.keys() - now.keys():
        found.add(Trigger.ATTRIBUTE_DELETED)
    if any(now[name] != before[name] for name in now.keys() & before.keys()):
        found.add(Trigger.ATTRIBUTE_UPDATED)
    return frozenset(found | {Trigger.ENTITY_UPDATED} if found else found)


def compare(asked: Subscription, entity: Entity, before: Marks | None, *, first: bool) -> Seen | None:
    """None: nothing has changed. `first`: the present state is being told, whatever triggers the subscription."""
    now = marks_of(entity, asked.watched)
    if before is not None and dict(before) == now:
        return None
    present = first and before is None
    due = bool(now) or not asked.watched if present else bool(asked.triggers & happened(now, before))
    if not due or not asked.wants(entity):
        return Seen(entity.id, now, None)
    gone = {name: mark[0] for name, mark in (before or {}).items() if name not in now}
    told = _document(asked, entity, gone if Trigger.ATTRIBUTE_DELETED in asked.triggers else {})
    return Seen(entity.id, now, told)


def gone(asked: Subscription, id: str, at: datetime, *, told: bool = True) -> Seen:
    """`told` False: it is there, and not to be seen any more by this subscriber, who is told nothing of it."""
    if not told or Trigger.ENTITY_DELETED not in asked.triggers:
        return Seen(id, None, None)
    return Seen(id, None, {"id": id, "type": id.split(":")[2], "deletedAt": text_of(at)})


def _document(asked: Subscription, entity: Entity, lost: Mapping[str, str]) -> dict[str, Any]:
    form, only = asked.representation.form, asked.representation.pick
    found = asked.representation.of(entity).document(form)
    for name, sort in lost.items():
        if (not only or name in only) and name not in asked.representation.omit:
            found[name] = NULL if form is not Form.NORMALIZED else _null(sort)
    return found


def _null(sort: str) -> dict[str, str]:
    match sort:
        case "R":
            return {"type": "Relationship", "object": NULL}
        case "G":
            return {"type": "GeoProperty", "value": NULL}
        case _:
            return {"type": "Property", "value": NULL}


def notification(
    id: str, subscription: str, at: datetime, data: list[Mapping[str, Any]], context: str | None = None
) -> dict[str, Any]:
    """ETSI GS CIM 009, 5.3.1. `context`: the address of the @context, where it goes into the body."""
    found: dict[str, Any] = {
        "id": id,
        "type": "Notification",
        "subscriptionId": subscription,
        "notifiedAt": text_of(at),
        "data": data,
    }
    return found if context is None else found | {"@context": context}
