"""八古墩社区, Wuhan: 3,147 households, 7,918 residents, bin-overflow cameras, four field teams, patrol vehicles."""

from __future__ import annotations

from device_sim.presets.preset import Preset
from services.domain.ids import CommunityId

PRESET = Preset(
    id=CommunityId("bagudun"),
    name="八古墩社区",
    city="武汉市",
    district="江汉区",
    street="汉兴街道",
    latitude=30.61,
    longitude=114.25,
    households=3147,
    residents=7918,
    buildings=58,
    units=164,
    grids=6,
    compounds=("八古墩小区", "幸福里小区"),
    spaces=360,
    elders_alone=46,
    devices={"bin": 168, "patrol_vehicle": 6},
)
