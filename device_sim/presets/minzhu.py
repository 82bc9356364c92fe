"""民主村社区, Chongqing: 3,962 households, 8,744 residents; public temperature, humidity, air quality, parking left."""

from __future__ import annotations

from device_sim.presets.preset import Preset
from services.domain.ids import CommunityId

PRESET = Preset(
    id=CommunityId("minzhu"),
    name="民主村社区",
    city="重庆市",
    district="九龙坡区",
    street="谢家湾街道",
    latitude=29.52,
    longitude=106.52,
    households=3962,
    residents=8744,
    buildings=74,
    units=198,
    grids=7,
    compounds=("民主村一期", "民主村二期"),
    spaces=520,
    elders_alone=48,
    devices={"environment": 16},
)
