"""The mapping onto the Smart Data Models: which types there are, who may see them, and how each is made.

Models, attributes and value lists are those of the Smart Data Models programme (smartdatamodels.org): Device 0.0.9,
Alert 0.0.3, ParkingSpot 0.1.0, OffStreetParking 0.1.3, WasteContainer 0.3.0, WaterConsumptionObserved 0.0.2 and
AirQualityObserved 0.1.4. Unit codes: UN/CEFACT Recommendation 20.

A drawn plan says metres, not where north is, so everything is located where its community is; where on the plan it is
stands beside it in words and, of devices, in `relativePosition`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from services.domain.access import Permission
from services.domain.city.ngsi.entity import Attribute, Entity, GeoProperty, Property, Relationship
from services.domain.city.ngsi.kinds import ALERT_CATEGORY, ALERT_SUBCATEGORY, DEVICES, SECURITY
from services.domain.city.ngsi.things import AlertThing, DeviceThing, ParkingThing, Site, Thing
from services.domain.city.vocabulary import DataClass
from services.domain.registry import FIRE_LANE
from services.domain.vocabulary import Severity

URN = "urn:ngsi-ld"
PROVIDER = "LinHub"
CROWD = 10
"""Of fewer parking spaces than this nothing is told: of a few, somebody knows whose is free."""

SEVERITY: Mapping[Severity, str] = {
    Severity.INFO: "informational",
    Severity.MINOR: "low",
    Severity.MAJOR: "high",
    Severity.CRITICAL: "critical",
}
TILTED_DEG = 45.0
"""A bin that leans further than this has fallen."""
BURNING_C = 60.0
"""As the default rule of bins has it."""

Granted = Collection[DataClass]
Attributes = dict[str, Attribute]


@dataclass(frozen=True, slots=True)
class NgsiType:
    """`kinds`: of the devices it is made of, one entity each. `requires`: grants without which none of it is shown.

    `needs`: what the account, or its key, must be allowed besides listening to city events.
    """

    name: str
    subject: str
    """The group of models it is in; with the name, its address as a term."""
    needs: Permission
    kinds: tuple[str, ...]
    make: Callable[[Site, Thing, Granted], Entity | None]
    attributes: tuple[str, ...]
    """Every attribute it can have; a test holds the mapping to it."""
    requires: frozenset[DataClass] = frozenset()

    @property
    def uri(self) -> str:
        return f"https://smartdatamodels.org/{self.subject}/{self.name}"

    def id_of(self, name: str) -> str:
        return f"{URN}:{self.name}:{name}"

    def shown(self, granted: Granted) -> bool:
        return self.requires <= set(granted)


def _point(site: Site) -> GeoProperty:
    return GeoProperty(site.longitude, site.latitude)


def _common(site: Site) -> Attributes:
    return {"location": _point(site), "areaServed": Property(site.name), "dataProvider": Property(PROVIDER)}


def _address(place: str) -> Property:
    return Property({"streetAddress": place})


def _measured(thing: DeviceThing, metric: str, unit: str | None = None, scale: float = 1.0) -> Property | None:
    value = thing.values.get(metric)
    if value is None:
        return None
    return Property(round(value * scale, 6), thing.ts, unit)


def _device(site: Site, thing: Thing, granted: Granted) -> Entity | None:
    """Of a device at home, no place unless location is granted; never what it measures, and not when it spoke."""
    if not isinstance(thing, DeviceThing) or thing.kind not in DEVICES:
        return None
    known = DEVICES[thing.kind]
    # When a device at home last spoke can say when somebody there last did something.
    seen_at, ts = (None, None) if thing.at_home else (thing.last_seen_at, thing.ts)
    found = _common(site) | {
        "deviceCategory": Property([known.category]),
        "category": Property([known.category]),
        "controlledProperty": Property(list(known.controlled)),
        "deviceState": Property("online" if thing.online else "offline", seen_at),
    }
    if not thing.at_home or DataClass.LOCATION in granted:
        found["name"] = Property(thing.name)
        found["address"] = _address(thing.place)
        found["relativePosition"] = Property(f"{thing.x:g} m, {thing.y:g} m")
    if seen_at is not None:
        found["dateLastValueReported"] = Property(seen_at)
    battery = thing.values.get("battery")
    if battery is not None and known.battery_in_percent:
        found["batteryLevel"] = Property(round(battery / 100, 4), ts)
    said = {name: value for name, value in thing.values.items() if name != "battery"}
    if said and not thing.at_home:
        found["value"] = Property(";".join(f"{name}={value:g}" for name, value in said.items()), thing.ts)
    return Entity(DEVICE.id_of(thing.id), DEVICE.name, found)


def _alert(site: Site, thing: Thing, granted: Granted) -> Entity | None:
    if not isinstance(thing, AlertThing):
        return None
    source = f"{URN}:Community:{site.id}"
    if DataClass.DEVICE in granted and thing.device_id is not None and thing.kind in DEVICES:
        source = DEVICE.id_of(thing.device_id)
    found = _common(site) | {
        "category": Property(ALERT_CATEGORY.get(thing.kind, SECURITY)),
        "severity": Property(SEVERITY[thing.severity]),
        "alertSource": Relationship(source),
        "dateIssued": Property(thing.fired_at),
        "validFrom": Property(thing.onset_at),
        "data": Property(
            {
                "kind": thing.kind,
                "state": thing.state,
                "team": thing.team,
                "lifeSafety": thing.life_safety,
                "occurrences": thing.occurrences,
                **({"municipalCase": dict(thing.case)} if thing.case is not None else {}),
            },
            thing.last_at,
        ),
    }
    if (sub := ALERT_SUBCATEGORY.get(thing.kind)) is not None:
        found["subCategory"] = Property(sub)
    if thing.cleared_at is not None:
        found["validTo"] = Property(thing.cleared_at)
    if DataClass.LOCATION in granted:
        found["address"] = _address(thing.place)
    if DataClass.TEXT in granted:
        found["name"] = Property(f"{thing.title.zh} · {thing.title.en}")
        found["description"] = Property(f"{thing.why.zh} · {thing.why.en}")
    return Entity(ALERT.id_of(thing.id), ALERT.name, found)


def _is_space(thing: DeviceThing) -> bool:
    return FIRE_LANE not in thing.tags and not thing.at_home


def _spot(site: Site, thing: Thing, granted: Granted) -> Entity | None:
    if not isinstance(thing, DeviceThing) or thing.kind != "parking_sensor" or not _is_space(thing):
        return None
    taken = thing.values.get("occupied") if thing.online else None
    status = "unknown" if taken is None else "occupied" if taken else "free"
    found = _common(site) | {
        "name": Property(thing.name),
        "address": _address(thing.place),
        "category": Property(["offStreet"]),
        "status": Property(status, thing.ts if taken is not None else None),
        "refParkingSite": Relationship(OFF_STREET_PARKING.id_of(site.id)),
        "refDevice": Relationship((DEVICE.id_of(thing.id),)),
    }
    return Entity(PARKING_SPOT.id_of(thing.id), PARKING_SPOT.name, found)


def parking_of(things: Collection[DeviceThing]) -> ParkingThing:
    """All spaces as one; what is not heard is not known to be free."""
    spaces = [one for one in things if one.kind == "parking_sensor" and _is_space(one)]
    heard = [one for one in spaces if one.online and "occupied" in one.values]
    free = sum(one.values["occupied"] == 0 for one in heard)
    return ParkingThing(len(spaces), len(heard), free, max((one.ts for one in heard if one.ts), default=None))


def _parking(site: Site, thing: Thing, granted: Granted) -> Entity | None:
    if not isinstance(thing, ParkingThing) or thing.spaces < CROWD:
        return None
    found = _common(site) | {
        "name": Property(site.name),
        "totalSpotNumber": Property(thing.spaces),
    }
    if thing.known:
        found["availableSpotNumber"] = Property(thing.free, thing.ts)
        found["occupiedSpotNumber"] = Property(thing.known - thing.free, thing.ts)
        found["occupancy"] = Property(round((thing.known - thing.free) / thing.known, 4), thing.ts)
    if thing.ts is not None:
        found["observationDateTime"] = Property(thing.ts)
    return Entity(OFF_STREET_PARKING.id_of(site.id), OFF_STREET_PARKING.name, found)


def _bin(site: Site, thing: Thing, granted: Granted) -> Entity | None:
    if not isinstance(thing, DeviceThing) or thing.kind != "bin" or thing.at_home:
        return None
    found = _common(site) | {"name": Property(thing.name), "address": _address(thing.place)}
    measured = {
        "fillingLevel": _measured(thing, "fill", "C62", 0.01),
        "temperature": _measured(thing, "temperature", "CEL"),
    }
    found |= {name: one for name, one in measured.items() if one is not None}
    found["status"] = Property(_bin_status(thing), thing.ts)
    if thing.ts is not None:
        found["binLoggedTime"] = Property(thing.ts)
    if DataClass.DEVICE in granted:
        found["refDevice"] = Relationship((DEVICE.id_of(thing.id),))
    return Entity(WASTE_CONTAINER.id_of(thing.id), WASTE_CONTAINER.name, found)


def _bin_status(thing: DeviceThing) -> str:
    if not thing.online or not thing.values:
        return "unknown"
    if thing.values.get("temperature", 0.0) >= BURNING_C:
        return "burning"
    return "dropped" if thing.values.get("tilt", 0.0) >= TILTED_DEG else "ok"


def _water(site: Site, thing: Thing, granted: Granted) -> Entity | None:
    """Of meters that serve a building or the grounds. What a home uses says when somebody is there: never shown."""
    if not isinstance(thing, DeviceThing) or thing.kind != "water_meter" or thing.at_home:
        return None
    found = _common(site) | {"name": Property(thing.name), "address": _address(thing.place)}
    if (total := _measured(thing, "total_m3", "MTQ")) is not None:
        found["waterConsumption"] = total
    return Entity(WATER_CONSUMPTION.id_of(thing.id), WATER_CONSUMPTION.name, found)


def _air(site: Site, thing: Thing, granted: Granted) -> Entity | None:
    if not isinstance(thing, DeviceThing) or thing.kind != "environment" or thing.at_home or thing.ts is None:
        return None
    found = _common(site) | {
        "name": Property(thing.name),
        "address": _address(thing.place),
        "dateObserved": Property(thing.ts),
    }
    measured = {
        "pm25": _measured(thing, "pm2_5", "GQ"),
        "pm10": _measured(thing, "pm10", "GQ"),
        "temperature": _measured(thing, "temperature", "CEL"),
        "relativeHumidity": _measured(thing, "humidity", "C62", 0.01),
    }
    found |= {name: one for name, one in measured.items() if one is not None}
    if DataClass.DEVICE in granted:
        found["refDevice"] = Relationship(DEVICE.id_of(thing.id))
    return Entity(AIR_QUALITY.id_of(thing.id), AIR_QUALITY.name, found)


_SHARED = ("location", "areaServed", "dataProvider", "name", "address")
_BY_DEVICE = frozenset({DataClass.DEVICE})

AIR_QUALITY = NgsiType(
    "AirQualityObserved",
    "dataModel.Environment",
    Permission.DEVICES,
    ("environment",),
    _air,
    (*_SHARED, "dateObserved", "pm25", "pm10", "temperature", "relativeHumidity", "refDevice"),
)
ALERT = NgsiType(
    "Alert",
    "dataModel.Alert",
    Permission.ALERTS,
    (),
    _alert,
    (*_SHARED, "category", "subCategory", "severity", "alertSource", "dateIssued", "validFrom", "validTo", "data",
     "description"),
)  # fmt: skip
DEVICE = NgsiType(
    "Device",
    "dataModel.Device",
    Permission.DEVICES,
    tuple(DEVICES),
    _device,
    (*_SHARED, "deviceCategory", "category", "controlledProperty", "deviceState", "relativePosition",
     "dateLastValueReported", "batteryLevel", "value"),
    _BY_DEVICE,
)  # fmt: skip
OFF_STREET_PARKING = NgsiType(
    "OffStreetParking",
    "dataModel.Parking",
    Permission.DEVICES,
    ("parking_sensor",),
    _parking,
    ("location", "areaServed", "dataProvider", "name", "totalSpotNumber", "availableSpotNumber",
     "occupiedSpotNumber", "occupancy", "observationDateTime"),
)  # fmt: skip
PARKING_SPOT = NgsiType(
    "ParkingSpot",
    "dataModel.Parking",
    Permission.DEVICES,
    ("parking_sensor",),
    _spot,
    (*_SHARED, "category", "status", "refParkingSite", "refDevice"),
    _BY_DEVICE,
)
WASTE_CONTAINER = NgsiType(
    "WasteContainer",
    "dataModel.WasteManagement",
    Permission.DEVICES,
    ("bin",),
    _bin,
    (*_SHARED, "fillingLevel", "temperature", "status", "binLoggedTime", "refDevice"),
)
WATER_CONSUMPTION = NgsiType(
    "WaterConsumptionObserved",
    "dataModel.WaterConsumption",
    Permission.READINGS,
    ("water_meter",),
    _water,
    (*_SHARED, "waterConsumption"),
)

TYPES: Mapping[str, NgsiType] = {
    one.name: one
    for one in (
        AIR_QUALITY,
        ALERT,
        DEVICE,
        OFF_STREET_PARKING,
        PARKING_SPOT,
        WASTE_CONTAINER,
        WATER_CONSUMPTION,
    )
}
"""By name, in the order in which entities are listed."""


def entity_of(kind: NgsiType, site: Site, thing: Thing, granted: Granted) -> Entity | None:
    """None: there is nothing to be shown of it as this type, under these grants."""
    return kind.make(site, thing, granted) if kind.shown(granted) else None
