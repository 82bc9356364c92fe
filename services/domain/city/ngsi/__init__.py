"""NGSI-LD views (ETSI GS CIM 009) of a community: entities by the Smart Data Models, made of what is known now."""

from services.domain.city.ngsi.entity import Entity, Form
from services.domain.city.ngsi.mapping import TYPES, NgsiType, entity_of
from services.domain.city.ngsi.things import AlertThing, DeviceThing, ParkingThing, Site, Thing

__all__ = [
    "TYPES",
    "AlertThing",
    "DeviceThing",
    "Entity",
    "Form",
    "NgsiType",
    "ParkingThing",
    "Site",
    "Thing",
    "entity_of",
]
