"""The @context: every term of our entities, so that nobody has to fetch another to read them."""

from __future__ import annotations

from typing import Any

from services.domain.city.ngsi.mapping import TYPES

NGSI = "https://uri.etsi.org/ngsi-ld/"
MODELS = "https://smartdatamodels.org/"

_CORE: dict[str, Any] = {
    "id": "@id",
    "type": "@type",
    "Property": f"{NGSI}Property",
    "Relationship": f"{NGSI}Relationship",
    "GeoProperty": f"{NGSI}GeoProperty",
    "Subscription": f"{NGSI}Subscription",
    "Notification": f"{NGSI}Notification",
    "EntityTypeList": f"{NGSI}EntityTypeList",
    "DateTime": f"{NGSI}DateTime",
    "value": f"{NGSI}hasValue",
    "object": {"@id": f"{NGSI}hasObject", "@type": "@id"},
    "observedAt": {"@id": f"{NGSI}observedAt", "@type": "DateTime"},
    "unitCode": f"{NGSI}unitCode",
    "Point": "https://purl.org/geojson/vocab#Point",
    "coordinates": {"@id": "https://purl.org/geojson/vocab#coordinates", "@container": "@list"},
}
"""Of the core context of ETSI GS CIM 009, what our payloads use: the same terms for the same things."""

_ELSEWHERE: dict[str, str] = {
    "location": f"{NGSI}location",
    "status": f"{NGSI}status",
    "data": f"{NGSI}data",
    "description": "http://purl.org/dc/terms/description",
    "address": f"{MODELS}address",
    "areaServed": f"{MODELS}areaServed",
    "dataProvider": f"{MODELS}dataProvider",
    "name": f"{MODELS}name",
    "dateObserved": f"{MODELS}dateObserved",
    "validFrom": f"{MODELS}validFrom",
}
"""Attributes that several models share."""

_MEMBERS = ("streetAddress",)


def context() -> dict[str, Any]:
    """Attributes that models call the same and mean differently (`category`, `refDevice`) stand within their type."""
    terms: dict[str, Any] = dict(_CORE) | _ELSEWHERE | {one: f"{MODELS}{one}" for one in _MEMBERS}
    users: dict[str, set[str]] = {}
    for kind in TYPES.values():
        for name in kind.attributes:
            users.setdefault(name, set()).add(kind.subject)
    for kind in TYPES.values():
        own = {name: f"{MODELS}{kind.subject}/{name}" for name in kind.attributes if name not in _ELSEWHERE}
        alone = {name: uri for name, uri in own.items() if len(users[name]) == 1 and name not in _CORE}
        within = {name: uri for name, uri in own.items() if name not in alone}
        terms[kind.name] = {"@id": kind.uri, "@context": within} if within else kind.uri
        terms |= alone
    return {"@context": {"@version": 1.1, "@vocab": f"{NGSI}default-context/", **terms}}


def short(name: str) -> str:
    """A type or attribute as we call it, whether it was given as a term or as the address that the term stands for."""
    if "/" not in name:
        return name
    for kind in TYPES.values():
        if name == kind.uri:
            return kind.name
    if name in _NAMES:
        return _NAMES[name]
    head, _, last = name.rpartition("/")
    return last if head.startswith(MODELS.rstrip("/")) else name


_NAMES = {uri: name for name, uri in _ELSEWHERE.items()}
