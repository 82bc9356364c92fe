"""Words the whole product shares: severities, teams, roles, and labels in Chinese and English."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Label:
    """The same words in Chinese and in English, as a person reads them."""

    zh: str
    en: str


class Severity(StrEnum):
    """How bad, least first; compare with `rank`."""

    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Team(StrEnum):
    """Who goes: the field teams of a community, then the rungs above them."""

    GENERAL = "general"
    ENVIRONMENT = "environment"
    PATROL = "patrol"
    MAINTENANCE = "maintenance"
    CLEANING = "cleaning"
    GRID = "grid"
    DESK = "desk"
    STREET = "street"
    DEPARTMENT = "department"
    """A department of the street or district (部门), above the street office on the ladder; its people have the role of
    the street office."""


class Role(StrEnum):
    """What a person or a program may be; each is bound to a scope (community, street, 网格, household)."""

    RESIDENT = "resident"
    MERCHANT = "merchant"
    VISITOR = "visitor"
    STAFF = "staff"
    GRID = "grid"
    DESK = "desk"
    STREET = "street"
    PLATFORM = "platform"
    ADMIN = "admin"
    DISPLAY = "display"
    """A screen on a wall, paired by a code: it shows, and does nothing."""


SEVERITY_LABELS: dict[Severity, Label] = {
    Severity.INFO: Label("提示", "Info"),
    Severity.MINOR: Label("一般", "Minor"),
    Severity.MAJOR: Label("重要", "Major"),
    Severity.CRITICAL: Label("紧急", "Critical"),
}

TEAM_LABELS: dict[Team, Label] = {
    Team.GENERAL: Label("综合服务队", "General service"),
    Team.ENVIRONMENT: Label("环境治理队", "Environment"),
    Team.PATROL: Label("防控巡查队", "Safety patrol"),
    Team.MAINTENANCE: Label("养护维修队", "Maintenance"),
    Team.CLEANING: Label("保洁", "Cleaning"),
    Team.GRID: Label("网格员", "Grid members"),
    Team.DESK: Label("社区值班", "Community desk"),
    Team.STREET: Label("街道", "Street office"),
    Team.DEPARTMENT: Label("部门", "Department"),
}

ROLE_LABELS: dict[Role, Label] = {
    Role.RESIDENT: Label("居民", "Resident"),
    Role.MERCHANT: Label("商户", "Merchant"),
    Role.VISITOR: Label("访客", "Visitor"),
    Role.STAFF: Label("物业员工", "Property staff"),
    Role.GRID: Label("网格员", "Grid member"),
    Role.DESK: Label("社区值班", "Community desk"),
    Role.STREET: Label("街道办", "Street office"),
    Role.PLATFORM: Label("城市平台", "City platform"),
    Role.ADMIN: Label("管理员", "Administrator"),
    Role.DISPLAY: Label("大屏", "Display"),
}
