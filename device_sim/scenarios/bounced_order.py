"""退单一次，强制派单: a bin is full; whoever is sent gives the order back, and whoever has it then must do it."""

from __future__ import annotations

from device_sim.scenarios.bin_overflow import STORY as BIN
from device_sim.theatre.acts.bounce import bounce
from device_sim.theatre.story import Story
from services.domain.vocabulary import Label

STORY = Story(
    name="bounced_order",
    label=Label("退单一次，强制派单", "An order is given back"),
    need=BIN.need,
    script=BIN.script,
    calm=BIN.calm,
    act=bounce,
    expected=BIN.expected,
)
