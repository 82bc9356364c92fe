"""When lamps burn, by the sun and the clock: on below one height of the sun, off above another, dimmed by night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from services.domain.sun import elevation_deg
from services.domain.vocabulary import Label

MINUTE_MS = 60_000
DAY_MS = 86_400_000
FULL = 100
LOWEST_DEG, HIGHEST_DEG = -12.0, 6.0
"""Nautical twilight, and a sun that still dazzles: beyond these nobody lights a street."""
DIMS_MOST = 12


@dataclass(frozen=True, slots=True)
class Lamps:
    """`dims`: from this local time on, so bright, in the order of the night (noon to noon)."""

    on_deg: float = -0.833
    """Sunset as almanacs count it: the upper edge of the sun, with refraction at the horizon (NOAA)."""
    off_deg: float = -0.833
    dims: tuple[tuple[time, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Where:
    latitude: float
    longitude: float
    zone: ZoneInfo


def wrong(on_deg: float, off_deg: float, dims: tuple[tuple[time, int], ...]) -> Label | None:
    """What cannot be in a schedule; None: it is good."""
    for name, degrees in (("on_deg", on_deg), ("off_deg", off_deg)):
        if not LOWEST_DEG <= degrees <= HIGHEST_DEG:
            return Label(
                f"{name} 应在 {LOWEST_DEG:g} 到 {HIGHEST_DEG:g} 度之间",
                f"{name} lies between {LOWEST_DEG:g} and {HIGHEST_DEG:g} degrees",
            )
    if len(dims) > DIMS_MOST or len({at for at, _ in dims}) < len(dims):
        return Label(
            f"调光时刻最多 {DIMS_MOST} 个且不重复", f"At most {DIMS_MOST} times of dimming, none of them twice"
        )
    if any(at.tzinfo is not None or not 0 <= level <= FULL for at, level in dims):
        return Label("调光为当地时间与 0 到 100 的亮度", "Dimming is a local time and a brightness from 0 to 100")
    return None


def light_at(lamps: Lamps, where: Where, ts_ms: int) -> int:
    """How bright, 0 to 100. Follows from the moment alone, so whoever was away knows it as well as anybody."""
    now = elevation_deg(ts_ms, where.latitude, where.longitude)
    rises = elevation_deg(ts_ms + MINUTE_MS, where.latitude, where.longitude) > now
    if now >= (lamps.off_deg if rises else lamps.on_deg):
        return 0
    night = _of_night(datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone(where.zone).time())
    past = [(_of_night(at), level) for at, level in lamps.dims if _of_night(at) <= night]
    return max(past)[1] if past else FULL


def next_change(lamps: Lamps, where: Where, ts_ms: int) -> tuple[int, int] | None:
    """(when, how bright then), to the minute; None: not within a day and a half, as beyond the polar circles."""
    light = light_at(lamps, where, ts_ms)
    at = ts_ms - ts_ms % MINUTE_MS
    for minute in range(1, 36 * 60 + 1):
        then = light_at(lamps, where, at + minute * MINUTE_MS)
        if then != light:
            return at + minute * MINUTE_MS, then
    return None


def command_for(light: int) -> tuple[str, Mapping[str, Any]]:
    """The command that makes a lamp so bright."""
    if light == 0:
        return "off", {}
    return ("on", {}) if light == FULL else ("dim", {"brightness": light})


def _of_night(at: time) -> int:
    """Minutes since noon: a night is one stretch, though it has two dates."""
    return (at.hour * 60 + at.minute - 12 * 60) % (24 * 60)
