"""临汾路380弄, Shanghai: 1,864 households, 4,771 residents, 67 building groups."""

from __future__ import annotations

from device_sim.presets.preset import Preset
from services.domain.ids import CommunityId

PRESET = Preset(
    id=CommunityId("linfen"),
    name="临汾路380弄社区",
    city="上海市",
    district="静安区",
    street="临汾路街道",
    latitude=31.31,
    longitude=121.45,
    households=1864,
    residents=4771,
    buildings=67,
    units=134,
    grids=4,
    compounds=("临汾路380弄",),
    spaces=260,
    elders_share=0.35,
    elders_alone=52,
)
