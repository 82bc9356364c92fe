"""Real communities by name: one file each, with the figures that were published of it."""

from __future__ import annotations

from device_sim.presets import bagudun, fengshu, gongyuan, hainaer, linfen, minzhu, mudan, shinan
from device_sim.presets.preset import Preset

PRESETS: tuple[Preset, ...] = (
    gongyuan.PRESET,
    mudan.PRESET,
    bagudun.PRESET,
    linfen.PRESET,
    shinan.PRESET,
    hainaer.PRESET,
    fengshu.PRESET,
    minzhu.PRESET,
)
BY_NAME: dict[str, Preset] = {preset.id: preset for preset in PRESETS}
