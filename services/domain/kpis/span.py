"""The local days that figures are asked of, and by what they may be grouped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.domain.vocabulary import Label

DIMENSIONS: dict[str, Label] = {
    "team": Label("队伍", "Team"),
    "grid": Label("网格", "Grid"),
    "person": Label("人员", "Person"),
    "class": Label("类别", "Class"),
    "severity": Label("等级", "Severity"),
    "source": Label("来源", "Source"),
    "category": Label("服务类别", "Category"),
    "day": Label("日期", "Day"),
    "building": Label("楼栋", "Building"),
    "rule": Label("规则", "Rule"),
    "device": Label("设备", "Device"),
}
"""What orders can be grouped and filtered by; `day` is the local day they were opened on."""
SOURCES: dict[str, Label] = {
    "alert": Label("告警", "Alert"),
    "resident": Label("居民上报", "Resident"),
    "patrol": Label("巡查", "Patrol"),
    "platform": Label("城市平台", "City platform"),
    "staff": Label("工作人员", "Staff"),
}


@dataclass(frozen=True, slots=True)
class Days:
    """Local days, both included."""

    first: date
    last: date

    @classmethod
    def month(cls, text: str) -> Days:
        """`2026-10`. Raises ValueError."""
        try:
            first = datetime.strptime(text, "%Y-%m").date()
            following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r} 不是月份，应为 2026-10 · is not a month; expected e.g. 2026-10") from None
        return cls(first, following - timedelta(days=1))

    @property
    def month_before(self) -> Days:
        """The month before the one this begins in."""
        last = self.first.replace(day=1) - timedelta(days=1)
        return Days(last.replace(day=1), last)

    def bounds(self, timezone: str) -> tuple[datetime, datetime]:
        """From the beginning of the first day to the beginning of the day after the last, in UTC."""
        zone = ZoneInfo(timezone)
        begin = datetime.combine(self.first, time(), zone)
        end = datetime.combine(self.last + timedelta(days=1), time(), zone)
        return begin.astimezone(UTC), end.astimezone(UTC)

    @property
    def days(self) -> tuple[date, ...]:
        return tuple(self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))
