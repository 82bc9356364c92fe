"""枫树社区, Chengdu: 42 gas alarms and 89 elder alarms are published; households and residents are our guess."""

from __future__ import annotations

from device_sim.presets.preset import Preset
from services.domain.ids import CommunityId

PRESET = Preset(
    id=CommunityId("fengshu"),
    name="枫树社区",
    city="成都市",
    district="成华区",
    street="猛追湾街道",
    latitude=30.67,
    longitude=104.10,
    households=1620,
    residents=3780,
    buildings=40,
    units=108,
    grids=4,
    compounds=("枫树小区",),
    spaces=240,
    elders_share=0.3,
    elders_alone=32,
    devices={"gas_alarm": 42, "sos_button": 89},
)
