"""An NGSI-LD entity and its three representations: normalized, concise, simplified (key-values)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeAlias

Json: TypeAlias = Any


class Form(StrEnum):
    """ETSI GS CIM 009, 4.5: how attributes are written."""

    NORMALIZED = "normalized"
    CONCISE = "concise"
    SIMPLIFIED = "simplified"


@dataclass(frozen=True, slots=True)
class Property:
    """`unit`: a code of UN/CEFACT Recommendation 20. A `datetime` is written as a typed value."""

    value: Json
    observed_at: datetime | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Relationship:
    """To one entity, or to several."""

    object: str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GeoProperty:
    """A point; GeoJSON puts the longitude first."""

    longitude: float
    latitude: float

    @property
    def geometry(self) -> dict[str, Json]:
        return {"type": "Point", "coordinates": [self.longitude, self.latitude]}


Attribute: TypeAlias = Property | Relationship | GeoProperty


def text_of(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Entity:
    id: str
    type: str
    attributes: Mapping[str, Attribute]

    def only(self, names: Collection[str]) -> Entity:
        return replace(self, attributes={name: one for name, one in self.attributes.items() if name in names})

    def without(self, names: Collection[str]) -> Entity:
        return replace(self, attributes={name: one for name, one in self.attributes.items() if name not in names})

    def document(self, form: Form = Form.NORMALIZED, context: str | None = None) -> dict[str, Json]:
        """`context`: the address of the @context, where it goes into the body."""
        write = {Form.NORMALIZED: _normalized, Form.CONCISE: _concise, Form.SIMPLIFIED: _simplified}[form]
        found = {"id": self.id, "type": self.type, **{name: write(one) for name, one in self.attributes.items()}}
        return found if context is None else found | {"@context": context}


def simple(one: Attribute) -> Json:
    """The bare value, as key-values has it and queries compare it."""
    return _simplified(one)


def _simplified(one: Attribute) -> Json:
    match one:
        case Property(value):
            return text_of(value) if isinstance(value, datetime) else value
        case Relationship(object):
            return list(object) if isinstance(object, tuple) else object
        case GeoProperty():
            return one.geometry


def _typed(value: Json) -> Json:
    return {"@type": "DateTime", "@value": text_of(value)} if isinstance(value, datetime) else value


def _beside(one: Property) -> dict[str, Json]:
    found: dict[str, Json] = {}
    if one.unit is not None:
        found["unitCode"] = one.unit
    if one.observed_at is not None:
        found["observedAt"] = text_of(one.observed_at)
    return found


def _normalized(one: Attribute) -> Json:
    match one:
        case Property():
            return {"type": "Property", "value": _typed(one.value), **_beside(one)}
        case Relationship():
            return {"type": "Relationship", "object": _simplified(one)}
        case GeoProperty():
            return {"type": "GeoProperty", "value": one.geometry}


def _concise(one: Attribute) -> Json:
    """What says nothing beside its value is its value; a geometry is known by its own type."""
    match one:
        case Property():
            beside, value = _beside(one), _typed(one.value)
            # An object would be taken for an attribute itself, were its value not named.
            return {"value": value, **beside} if beside or isinstance(value, dict) else value
        case Relationship():
            return {"object": _simplified(one)}
        case GeoProperty():
            return one.geometry
