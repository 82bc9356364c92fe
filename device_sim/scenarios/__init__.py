"""Stories (情景): one file each, what devices do and which alert and order must come of it."""

from __future__ import annotations

from device_sim.scenarios import (
    band_removed,
    bin_overflow,
    bounced_order,
    ebike_in_lift,
    elder_fall,
    fire_lane_blocked,
    gas_leak,
    gas_leak_first_of_three,
    high_throw,
    manhole_open,
    nobody_accepts,
    power_cut_storm,
    resident_report,
    smoke_fire,
    sos,
    storm,
    vitals_high,
    water_burst,
    water_edge,
)
from device_sim.theatre.story import Story

STORIES: tuple[Story, ...] = (
    gas_leak.STORY,
    smoke_fire.STORY,
    elder_fall.STORY,
    sos.STORY,
    vitals_high.STORY,
    band_removed.STORY,
    bin_overflow.STORY,
    high_throw.STORY,
    manhole_open.STORY,
    ebike_in_lift.STORY,
    fire_lane_blocked.STORY,
    water_burst.STORY,
    water_edge.STORY,
    power_cut_storm.STORY,
    gas_leak_first_of_three.STORY,
    nobody_accepts.STORY,
    bounced_order.STORY,
    resident_report.STORY,
    storm.STORY,
)
BY_NAME: dict[str, Story] = {story.name: story for story in STORIES}
