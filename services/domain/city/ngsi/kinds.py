"""What the Smart Data Models call our kinds of devices, and what their alerts are about; all values are theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SECURITY, ENVIRONMENT = "security", "environment"


@dataclass(frozen=True, slots=True)
class Described:
    """`category`, `controlled`: of the value lists of the model Device."""

    category: str
    controlled: tuple[str, ...]
    battery_in_percent: bool = False


def _sensor(*controlled: str, battery: bool = False) -> Described:
    return Described("sensor", controlled, battery)


DEVICES: Mapping[str, Described] = {
    "bin": _sensor("fillingLevel", "temperature"),
    "charger": Described("actuator", ("power", "energy", "temperature")),
    "ebike_camera": _sensor("motion"),
    "electricity_meter": Described("meter", ("electricityConsumption", "power")),
    "environment": _sensor("airPollution", "temperature", "humidity", "noiseLevel"),
    "gas_alarm": _sensor("airPollution", battery=True),
    "gas_meter": Described("meter", ("gasConsumption",)),
    "gate": Described("actuator", ("gateOpening",)),
    "highthrow_camera": _sensor("motion"),
    "lamp_post": Described("actuator", ("light", "power")),
    "loudspeaker": Described("actuator", ("noiseLevel",)),
    "manhole": _sensor("waterLevel", "motion", battery=True),
    "parking_sensor": _sensor("occupancy", battery=True),
    "people_counter": _sensor("occupancy"),
    "perimeter_camera": _sensor("motion"),
    "pv_inverter": Described("meter", ("power", "energy", "temperature")),
    "siren": Described("actuator", ("noiseLevel",)),
    "smoke_detector": _sensor("smoke", "temperature", battery=True),
    "tunnel_sensor": _sensor("airPollution", "waterLevel", "temperature"),
    "water_meter": Described("meter", ("waterConsumption", "waterFlow")),
}

NOT_DEVICES: Mapping[str, str] = {
    "door_magnet": "it says when somebody comes and goes",
    "gateway": "it passes on what others measure; the model asks for what a device senses or controls",
    "patrol_vehicle": "where it is, is where somebody at work is",
    "sos_button": "it is of one person",
    "wristband": "it is of one person, and what it says is their health",
}
"""Kinds that are no entities of the type Device, and why."""

ALERT_CATEGORY: Mapping[str, str] = {
    "bin": ENVIRONMENT,
    "environment": ENVIRONMENT,
    "manhole": ENVIRONMENT,
    "tunnel_sensor": ENVIRONMENT,
    "water_meter": ENVIRONMENT,
}
"""Of alerts by the kind of their device; all others are about security. None is called health: such are not shown."""

ALERT_SUBCATEGORY: Mapping[str, str] = {
    "environment": "airPollution",
    "perimeter_camera": "suspiciousAction",
    "smoke_detector": "fireRisk",
}
"""Where the model has a word for all alerts of a kind; elsewhere it is left out rather than bent."""
