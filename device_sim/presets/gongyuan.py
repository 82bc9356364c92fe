"""公园社区, Jiujiang: 2,510 households, 5,612 residents, 5 grids, 202 AI cameras, 181 spaces, 1,000 m² of PV."""

from __future__ import annotations

from device_sim.presets.preset import Preset
from services.domain.ids import CommunityId

PRESET = Preset(
    id=CommunityId("gongyuan"),
    name="公园社区",
    city="九江市",
    district="浔阳区",
    street="甘棠街道",
    latitude=29.72,
    longitude=115.99,
    households=2510,
    residents=5612,
    buildings=52,
    units=140,
    grids=5,
    compounds=("公园里小区", "湖滨小区"),
    spaces=181,
    elders_alone=38,
    pv_roof_m2=1000.0,
    # 202 AI cameras: high-altitude throwing, dangerous water, lifts
    devices={"highthrow_camera": 148, "perimeter_camera": 34, "ebike_camera": 20, "pv_inverter": 4},
)
