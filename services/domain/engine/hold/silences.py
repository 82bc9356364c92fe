"""Silences and maintenance windows: what somebody decided not to be told of, from when to when, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from services.domain.vocabulary import Severity


class Matched(Protocol):
    """What a matcher looks at."""

    @property
    def rule_id(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def device_id(self) -> str | None: ...
    @property
    def building_id(self) -> str | None: ...
    @property
    def grid_id(self) -> str | None: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def life_safety(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which alerts; an empty set says nothing, all that say something must hold. Never one of life safety."""

    rules: tuple[str, ...] = ()
    """Shell patterns over rule ids and families."""
    kinds: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    """Public ids."""
    buildings: frozenset[str] = frozenset()
    grids: frozenset[str] = frozenset()
    households: frozenset[str] = frozenset()
    severity: Severity | None = None
    """At most this bad."""

    @property
    def says_something(self) -> bool:
        return bool(self.rules or self.kinds or self.devices or self.buildings or self.grids or self.households)

    def matches(self, alert: Matched, household_id: str | None) -> bool:
        return (
            not alert.life_safety
            and self.says_something
            and (not self.rules or any(_fits(pattern, alert) for pattern in self.rules))
            and (not self.kinds or alert.kind in self.kinds)
            and (not self.devices or alert.device_id in self.devices)
            and (not self.buildings or alert.building_id in self.buildings)
            and (not self.grids or alert.grid_id in self.grids)
            and (not self.households or household_id in self.households)
            and (self.severity is None or alert.severity.rank <= self.severity.rank)
        )


def _fits(pattern: str, alert: Matched) -> bool:
    return fnmatchcase(alert.rule_id, pattern) or fnmatchcase(alert.family, pattern)


@dataclass(frozen=True, slots=True)
class Recurring:
    """Hours of certain days by the community's clock. Ending at or before its beginning: past midnight; it belongs to
    the day on which it begins."""

    begins: time
    ends: time
    weekdays: frozenset[int] = frozenset()
    """ISO: Monday is 1."""
    dates: frozenset[date] = frozenset()

    def window(self, at: datetime) -> tuple[datetime, datetime] | None:
        """The window that holds this moment; None where none does."""
        for day in (at.date() - timedelta(days=1), at.date()):
            if day.isoweekday() not in self.weekdays and day not in self.dates:
                continue
            begins = datetime.combine(day, self.begins, at.tzinfo)
            last = day if self.ends > self.begins else day + timedelta(days=1)
            ends = datetime.combine(last, self.ends, at.tzinfo)
            if begins <= at < ends:
                return begins, ends
        return None


@dataclass(frozen=True, slots=True)
class Silence:
    """`sort`: silence or maintenance. In force from `from_ms` to before `to_ms`, where it recurs only in its hours."""

    id: str
    community_id: str
    sort: str
    matcher: Matcher
    from_ms: int
    to_ms: int
    zone: ZoneInfo
    recurring: Recurring | None = None

    @property
    def reason(self) -> str:
        return f"{self.sort}:{self.id}"

    def until(self, at_ms: int) -> int | None:
        """When the window that holds this moment closes, epoch ms; None while it is not in force."""
        if not self.from_ms <= at_ms < self.to_ms:
            return None
        if self.recurring is None:
            return self.to_ms
        window = self.recurring.window(datetime.fromtimestamp(at_ms / 1000, self.zone))
        return None if window is None else min(self.to_ms, round(window[1].timestamp() * 1000))


def matcher_of(stored: Mapping[str, Any]) -> Matcher:
    """From its JSON form, whose names are those of the fields."""
    sets = {
        name: frozenset(stored.get(name) or ()) for name in ("kinds", "devices", "buildings", "grids", "households")
    }
    severity = stored.get("severity")
    return Matcher(tuple(stored.get("rules") or ()), **sets, severity=Severity(severity) if severity else None)


def recurring_of(stored: Mapping[str, Any] | None) -> Recurring | None:
    """From its JSON form: {"weekdays": [1..7] or "dates": [iso], "from": "HH:MM", "to": "HH:MM"}."""
    if not stored:
        return None
    return Recurring(
        time.fromisoformat(stored["from"]),
        time.fromisoformat(stored["to"]),
        frozenset(int(day) for day in stored.get("weekdays") or ()),
        frozenset(date.fromisoformat(day) for day in stored.get("dates") or ()),
    )


def silence_of(row: Mapping[str, Any], zone: ZoneInfo) -> Silence:
    """From a row of `silence`, its JSON parsed; one that was ended early closes then."""
    ends = min(row["ends_at"], row["ended_at"] or row["ends_at"])
    return Silence(
        str(row["id"]),
        row["community_id"],
        row["sort"],
        matcher_of(row["matcher"]),
        _ms(row["starts_at"]),
        _ms(ends),
        zone,
        recurring_of(row["recurs"]),
    )


def _ms(at: datetime) -> int:
    return round(at.astimezone(UTC).timestamp() * 1000)
