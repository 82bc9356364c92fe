"""What the simulator is told from outside, read once by `main`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from device_sim.presets import BY_NAME


class SettingsError(Exception):
    """One line that names the variable and says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class SimSettings:
    """`stories_s`: seconds between random stories, 0 none. `speed`: how many times more often devices report."""

    mqtt_url: str
    home: Path
    preset: str = "gongyuan"
    scale: float = 0.05
    seed: int = 1
    stories_s: float = 0.0
    speed: float = 1.0
    real_meters: bool = False
    backfill: bool = True
    log_level: str = "INFO"


def from_environment(environment: Mapping[str, str] = os.environ) -> SimSettings:
    """Raises SettingsError."""

    def text(name: str, default: str | None = None) -> str:
        value = environment.get(f"LINHUB_{name}", "") or default
        if value is None:
            raise SettingsError(f"LINHUB_{name} is not set")
        return value

    def number(name: str, default: float, low: float, high: float) -> float:
        given = text(name, str(default))
        try:
            value = float(given)
        except ValueError:
            raise SettingsError(f"LINHUB_{name} is wrong: {given!r} is no number") from None
        if not low <= value <= high:
            raise SettingsError(f"LINHUB_{name} is wrong: {given} is not between {low:g} and {high:g}")
        return value

    preset = text("SIM_PRESET", "gongyuan")
    if preset not in BY_NAME:
        raise SettingsError(f"LINHUB_SIM_PRESET is wrong: {preset!r}; there are {', '.join(BY_NAME)}")
    return SimSettings(
        mqtt_url=text("MQTT_URL"),
        home=Path(text("SIM_HOME")),
        preset=preset,
        scale=number("SIM_SCALE", 0.05, 0.001, 1.0),
        seed=int(number("SIM_SEED", 1, 0, 2**31)),
        stories_s=number("SIM_STORIES", 0, 0, 86400),
        speed=number("SIM_SPEED", 1, 0.01, 1000),
        real_meters=text("SIM_REAL_METERS", "0") not in ("0", "false", "no"),
        backfill=text("SIM_BACKFILL", "1") not in ("0", "false", "no"),
        log_level=text("LOG_LEVEL", "INFO").upper(),
    )
