"""海纳尔社区, Kuitun: 1,360 households, 2,607 residents, 44 buildings, valve-controlled water meters, 910 spaces."""

from __future__ import annotations

from device_sim.presets.preset import Preset
from services.domain.ids import CommunityId

PRESET = Preset(
    id=CommunityId("hainaer"),
    name="海纳尔社区",
    city="奎屯市",
    district="团结路片区",
    street="团结路街道",
    latitude=44.43,
    longitude=84.90,
    households=1360,
    residents=2607,
    buildings=44,
    units=110,
    grids=4,
    compounds=("海纳尔小区",),
    spaces=910,
    elders_alone=24,
)
