"""What is known of a real community: its published figures, and how many devices of each kind it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.domain.ids import CommunityId


@dataclass(frozen=True, slots=True)
class Preset:
    """One reference community at full size. What a case collection published stands in `devices` and the figures;

    the rest follows from `proportional`, which is ours.
    """

    id: CommunityId
    name: str
    city: str
    district: str
    street: str
    latitude: float
    longitude: float
    households: int
    residents: int
    buildings: int
    units: int
    grids: int
    compounds: tuple[str, ...]
    spaces: int
    """Parking spaces, each with a sensor."""
    elders_share: float = 0.2
    """Residents aged 60 and over, as a share."""
    elders_alone: int = 40
    """Households of one elder (独居老人); each has a wristband, a door magnet and an SOS button."""
    pv_roof_m2: float = 400.0
    devices: Mapping[str, int] = field(default_factory=dict)
    """Published numbers of devices by kind; they win over `proportional`."""

    def counts(self) -> dict[str, int]:
        """Devices of each kind outside the flats' meters, at full size."""
        return {**self.proportional(), **self.devices}

    def proportional(self) -> dict[str, int]:
        return {
            "gas_alarm": self.households // 10,
            "smoke_detector": self.units * 3,
            "wristband": self.elders_alone,
            "door_magnet": self.elders_alone,
            "sos_button": self.elders_alone,
            "highthrow_camera": self.buildings,
            "perimeter_camera": 8,
            "ebike_camera": max(1, self.units // 3),
            "bin": self.households // 25,
            "gate": 6,
            "manhole": self.households // 18,
            "lamp_post": self.households // 12,
            "environment": self.grids,
            "pv_inverter": max(2, round(self.pv_roof_m2 / 250)),
            "charger": max(2, self.spaces // 12),
            "people_counter": 4,
            "tunnel_sensor": 6,
            "loudspeaker": self.grids * 2,
            "siren": max(2, self.buildings // 6),
            "patrol_vehicle": 2,
        }
