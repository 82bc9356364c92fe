"""牡丹社区, Shenyang: 3,094 households, 10,187 residents (4,365 aged 60+), 43 wristbands, more than 300 cameras."""

from __future__ import annotations

from device_sim.presets.preset import Preset
from services.domain.ids import CommunityId

PRESET = Preset(
    id=CommunityId("mudan"),
    name="牡丹社区",
    city="沈阳市",
    district="皇姑区",
    street="三台子街道",
    latitude=41.86,
    longitude=123.41,
    households=3094,
    residents=10187,
    buildings=62,
    units=186,
    grids=6,
    compounds=("牡丹小区",),
    spaces=420,
    elders_share=4365 / 10187,
    elders_alone=43,
    devices={"wristband": 43, "highthrow_camera": 186, "perimeter_camera": 54, "ebike_camera": 62},
)
