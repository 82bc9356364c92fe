"""When notices go: quiet hours, whose turn it is, when it is tried again, and when many become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.domain.vocabulary import Severity

RETRIES: dict[bool, tuple[float, ...]] = {
    True: (2.0, 5.0, 15.0),
    False: (30.0, 120.0, 600.0, 1800.0, 3600.0),
}
"""Seconds between rounds through a person's channels, by whether it is critical; after the last it has failed."""

SINGLES = 3
"""So many that are not critical go to one person within WINDOW_S one by one; what is more becomes one."""
WINDOW_S = 60.0


def retry_after_s(severity: Severity, rounds: int) -> float | None:
    """How long to wait after so many rounds that failed; None: it has failed for good."""
    waits = RETRIES[severity is Severity.CRITICAL]
    return waits[rounds - 1] if rounds <= len(waits) else None


def turn_wait_s(severity: Severity) -> float:
    """How long one has to answer before the next in turn is told; critical ones are told all at once."""
    match severity:
        case Severity.CRITICAL:
            return 0.0
        case Severity.MAJOR:
            return 120.0
        case _:
            return 300.0


def ack_wait_s(severity: Severity) -> float | None:
    """How long a delivered critical notice waits for somebody to say that they know; None: it does not."""
    return 120.0 if severity is Severity.CRITICAL else None


def quiet_until(now: datetime, start: time | None, end: time | None, timezone: str) -> datetime | None:
    """When these quiet hours end, if `now` lies in them; from `start` up to, not with, `end`; over midnight as well.

    Equal ends mean none: whoever wants to hear nothing removes the channel.
    """
    if start is None or end is None or start == end:
        return None
    zone = ZoneInfo(timezone)
    here = now.astimezone(zone)
    clock = here.time().replace(tzinfo=None)
    inside = start <= clock < end if start < end else clock >= start or clock < end
    if not inside:
        return None
    day = here.date() if clock < end else here.date() + timedelta(days=1)
    return max(now, datetime.combine(day, end, zone).astimezone(now.tzinfo))


@dataclass(frozen=True, slots=True)
class Bundles:
    """What to do with what is due to one person: go one by one, go as one, or wait for the window to end."""

    singles: tuple[int, ...] = ()
    together: tuple[int, ...] = ()
    wait: tuple[int, ...] = ()


def bundles(due: Sequence[Severity], sent_lately: int) -> Bundles:
    """By position in `due`, the gravest and oldest first. Critical ones go at once, always, and count for nothing."""
    critical = tuple(place for place, one in enumerate(due) if one is Severity.CRITICAL)
    others = tuple(place for place, one in enumerate(due) if one is not Severity.CRITICAL)
    if len(others) <= max(0, SINGLES - sent_lately):
        return Bundles(singles=critical + others)
    if sent_lately:
        return Bundles(singles=critical, wait=others)
    return Bundles(singles=critical, together=others)
