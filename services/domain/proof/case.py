"""A test case of rules as it is written: a small world, what its devices say, and exactly the alerts of it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.domain.rules.spans import read_span

ZONE = "Asia/Shanghai"
_CLOCK = re.compile(r"(?:d(?P<day>\d+) )?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?")


def _span_ms(written: object) -> int:
    seconds = read_span(written)
    if seconds is None or (not isinstance(written, str) and seconds != 0):
        raise ValueError(f"{written!r} is no span; write 90s, 5m, 1h30m or 2d")
    return round(seconds * 1000)


def _moment(written: object) -> int | str:
    """ms after the start, or a time of day `[dN ]HH:MM[:SS]`, which the case works out from its start."""
    if isinstance(written, str) and (match := _CLOCK.fullmatch(written)):
        if int(match["hour"]) > 23 or int(match["minute"]) > 59:
            raise ValueError(f"{written!r} is no time of day")
        return written
    return _span_ms(written)


def _texts(written: object) -> object:
    return [written] if isinstance(written, str) else written


Span = Annotated[int, BeforeValidator(_span_ms)]
Moment = Annotated[int | str, BeforeValidator(_moment)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WrittenDevice(_Written):
    """`alive`: it is heard all the time by heartbeats that say nothing, so it is never offline."""

    kind: str
    interval: Span | None = None
    gateway: str | None = None
    building: str | None = "b1"
    unit: str | None = "u1"
    household: str | None = "h1"
    grid: str | None = "g1"
    person: str | None = None
    person_tags: Texts = ()
    tags: Texts = ()
    alive: bool = False


class _Said(_Written):
    """`device` left out: the first of the world. `arrives`: when the server receives it; left out: at once."""

    device: str | None = None
    at: Moment = 0


class WrittenSeries(_Said):
    """`step` left out: the device's interval. `arrives`: a time for each reading; `delay`: the same for all."""

    step: Span | None = None
    values: dict[str, str | float | bool]
    delay: Span = 0
    arrives: tuple[Moment, ...] = ()


class WrittenEvent(_Said):
    event: str
    arrives: Moment | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class WrittenStatus(_Said):
    online: bool
    session: int = 1
    arrives: Moment | None = None


class WrittenClock(_Said):
    """A message refused because its time was `ahead` of the server's."""

    ahead: Span


class WrittenFlood(_Said):
    count: int = 100


class WrittenReply(_Said):
    """The answer to a command: a sign of life without a value."""

    arrives: Moment | None = None


class WrittenLag(_Written):
    """Messages of the community reached the rules `delay` after they were received; `delay: 0`: up to date."""

    at: Moment
    delay: Span


class WrittenHappening(_Written):
    """An event of the platform itself (`log_gap`)."""

    at: Moment
    event: str
    data: dict[str, Any] = Field(default_factory=dict)


class WrittenAlert(_Written):
    """`cleared` left out: it still stands at the end. What else is left out is not looked at."""

    rule: str
    device: str | None = None
    building: str | None = None
    subject: str | None = None
    fired: Moment
    onset: Moment | None = None
    cleared: Moment | None = None
    severity: str | None = None
    severities: Texts | None = None
    repeated: int | None = None
    held: Texts | None = None
    shadow: bool | None = None
    value: float | None = None


class WrittenWorld(_Written):
    devices: dict[str, WrittenDevice] = Field(default_factory=dict)
    away: dict[str, Moment] = Field(default_factory=dict)
    """Household → until when nobody is at home."""
    latitude: float = 29.7
    longitude: float = 116.0
    zone: str = ZONE


class WrittenCase(_Written):
    """`about`: the rules it is there for. `rules`: documents that alone are in force, in place of the defaults."""

    name: str
    about: Texts = ()
    start: str | None = None
    """Local time, `2026-11-22 08:00`."""
    until: Moment | None = None
    """How long is watched; left out: to the last thing that arrives."""
    world: WrittenWorld | None = None
    rules: tuple[dict[str, Any], ...] = ()
    series: tuple[WrittenSeries, ...] = ()
    events: tuple[WrittenEvent, ...] = ()
    statuses: tuple[WrittenStatus, ...] = ()
    clocks: tuple[WrittenClock, ...] = ()
    floods: tuple[WrittenFlood, ...] = ()
    replies: tuple[WrittenReply, ...] = ()
    lags: tuple[WrittenLag, ...] = ()
    platform: tuple[WrittenHappening, ...] = ()
    expect: tuple[WrittenAlert, ...] = ()


class WrittenFile(_Written):
    """`kind`: the world has one device of this kind, called `device`, where none is described."""

    kind: str | None = None
    start: str = "2026-11-18 08:00"
    world: WrittenWorld | None = None
    rules: tuple[dict[str, Any], ...] = ()
    cases: tuple[WrittenCase, ...]


def start_ms(written: str, zone: str) -> int:
    """Raises ValueError."""
    local = datetime.fromisoformat(written)
    return round((local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone))).timestamp() * 1000)


def moment_ms(moment: int | str, start: int, zone: str) -> int:
    """Epoch ms. A time of day is that of the day of the start (`d2 07:00`: of the second day)."""
    if isinstance(moment, int):
        return start + moment
    match = _CLOCK.fullmatch(moment)
    assert match is not None  # noqa: S101 - it was read before
    day = datetime.fromtimestamp(start / 1000, ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    days = int(match["day"] or 1) - 1
    seconds = int(match["hour"]) * 3600 + int(match["minute"]) * 60 + int(match["second"] or 0)
    return round(day.timestamp() * 1000) + days * 86_400_000 + seconds * 1000
