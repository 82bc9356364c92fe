"""市南小区, Qingdao: 3,100 households, 7,052 residents, 88 buildings, 257 units, 6 grids."""

from __future__ import annotations

from device_sim.presets.preset import Preset
from services.domain.ids import CommunityId

PRESET = Preset(
    id=CommunityId("shinan"),
    name="市南小区社区",
    city="青岛市",
    district="市南区",
    street="八大湖街道",
    latitude=36.08,
    longitude=120.39,
    households=3100,
    residents=7052,
    buildings=88,
    units=257,
    grids=6,
    compounds=("市南小区",),
    spaces=380,
    elders_alone=44,
    devices={"manhole": 210, "bin": 132, "ebike_camera": 96, "lamp_post": 268},
)
