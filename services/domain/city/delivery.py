"""What becomes of an attempt to deliver an event: taken, tried again and when, given up, or the way is closed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

GIVE_UP = timedelta(days=3)
"""So long an event that was tried is tried again."""
REFUSALS = 8
REFUSED_FOR = timedelta(hours=1)
"""What a receiver refuses as such is given up after so many refusals, and not before this."""
FIRST_S = 1.0
LONGEST_S = 3600.0
LONGEST_ASKED_S = 86_400.0
"""A `Retry-After` beyond this is taken for a mistake and cut."""
LEAST_S = 0.25

_REFUSED = frozenset({400, 413, 415, 422, 0x95, 0x99})
"""It has read the event and will not have it; of MQTT: too large, or no such payload. 401, 403 and 404 are about the
way, not the event."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one request came to: an HTTP status, or the reason code of a PUBACK (0, 16, or 128 and above: no answer of
    HTTP has such a one), or why there was none. `asked_s`: its Retry-After."""

    status: int | None
    error: str | None = None
    asked_s: float | None = None

    @property
    def taken(self) -> bool:
        return self.status is not None and (self.status == 0 or 200 <= self.status < 300)


@dataclass(frozen=True, slots=True)
class Head:
    """The event whose turn it is: how often it was tried, and since when it could have been delivered."""

    failures: int
    refusals: int
    due_since: datetime
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Taken:
    pass


@dataclass(frozen=True, slots=True)
class Again:
    """`refused`: counts as a refusal of this event."""

    at: datetime
    refused: bool


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Goes to the dead letters; the next one is tried at `at`."""

    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Closed:
    """The receiver says that it is gone for good (410)."""

    why: str


Outcome = Taken | Again | GivenUp | Closed


def judge(attempt: Attempt, head: Head, now: datetime, chance: float) -> Outcome:
    """`chance`: evenly random from 0 to 1. `head`: as it stood before this attempt."""
    if attempt.taken:
        return Taken()
    if attempt.status == 410:
        return Closed("410 Gone")
    wait = timedelta(seconds=wait_s(head.failures, chance, attempt.asked_s))
    refused = attempt.status in _REFUSED
    said = str(attempt.status) if attempt.status is not None else attempt.error or "no answer"
    if now - head.due_since >= GIVE_UP:
        return GivenUp(f"expired: {said}", now + wait)
    failing = now - (head.failing_since or now)
    if refused and head.refusals + 1 >= REFUSALS and failing >= REFUSED_FOR:
        return GivenUp(f"refused: {said}", now)
    return Again(now + wait, refused)


def wait_s(failures: int, chance: float, asked_s: float | None = None) -> float:
    """Full jitter: anything up to a limit that doubles with each failure; never sooner than was asked for."""
    limit = LONGEST_S if failures > 20 else min(LONGEST_S, FIRST_S * 2**failures)
    return max(LEAST_S, chance * limit, min(asked_s or 0.0, LONGEST_ASKED_S))


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date. None for anything else."""
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
