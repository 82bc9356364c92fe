"""Skills (技能) as data: what whoever goes should know, by the kind of device or the category of a report."""

from __future__ import annotations

from collections.abc import Mapping

from services.domain.vocabulary import Label

SKILLS: Mapping[str, Label] = {
    "gas": Label("燃气", "gas"),
    "fire": Label("消防", "fire"),
    "first_aid": Label("急救", "first aid"),
    "electric": Label("电工", "electrician"),
    "plumbing": Label("水暖", "plumbing"),
    "lift": Label("电梯", "lifts"),
    "network": Label("弱电", "low-voltage systems"),
    "vehicles": Label("车辆秩序", "vehicles"),
    "water_rescue": Label("水上救护", "water rescue"),
    "greening": Label("绿化", "greening"),
}

WANTED: Mapping[str, tuple[str, ...]] = {
    # kinds of the device catalogue
    "gas_alarm": ("gas", "fire"),
    "gas_meter": ("gas",),
    "smoke_detector": ("fire",),
    "ebike_camera": ("fire",),
    "wristband": ("first_aid",),
    "sos_button": ("first_aid",),
    "water_meter": ("plumbing",),
    "manhole": ("plumbing",),
    "tunnel_sensor": ("plumbing",),
    "electricity_meter": ("electric",),
    "lamp_post": ("electric",),
    "pv_inverter": ("electric",),
    "charger": ("electric",),
    "gate": ("network",),
    "gateway": ("network",),
    "loudspeaker": ("network",),
    "siren": ("network",),
    "people_counter": ("network",),
    "parking_sensor": ("vehicles",),
    "perimeter_camera": ("water_rescue",),
    # categories of what residents report (domain/reports/categories.yaml); orders of staff may name them as well
    "lift_trapped": ("lift",),
    "lift_fault": ("lift",),
    "gas_smell": ("gas", "fire"),
    "smoke_fire": ("fire",),
    "fire_lane": ("fire", "vehicles"),
    "wired_charging": ("fire",),
    "ebike_indoors": ("fire",),
    "power_cut": ("electric",),
    "loose_cable": ("electric",),
    "street_lamp": ("electric",),
    "corridor_lamp": ("electric",),
    "water_cut": ("plumbing",),
    "water_leak": ("plumbing",),
    "drain_blocked": ("plumbing",),
    "heating": ("plumbing",),
    "standing_water": ("plumbing",),
    "door_access": ("network",),
    "barrier": ("network",),
    "illegal_parking": ("vehicles",),
    "water_zone": ("water_rescue",),
    "greenery": ("greening",),
    "help": ("first_aid",),
    "elder_help": ("first_aid",),
}
"""Kind or category → skills, any of which will do. What is not here asks for none."""


def skills_for(kind: str, category: str | None) -> frozenset[str]:
    """The category says more than the kind: it is what somebody saw."""
    if category is not None and category in WANTED:
        return frozenset(WANTED[category])
    return frozenset(WANTED.get(kind, ()))
