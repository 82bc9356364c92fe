"""What of a person may be shown: consents as flags, the purposes a read may have, names and numbers with a mask."""

from __future__ import annotations

from enum import IntFlag, StrEnum

from services.domain.vocabulary import Label, Role


class Shown(IntFlag):
    """What of a device's health data somebody is shown: their role allows it, and the wearer consents to it now.

    The bits are those of the database's `consents_now`.
    """

    NONE = 0
    VITALS = 1
    LOCATION = 2
    ALL = 3


class ConsentTo(StrEnum):
    VITALS = "vitals"
    LOCATION = "location"
    FAMILY = "family"
    """That the household sees what the person consents to."""


class Purpose(StrEnum):
    """Why somebody reads health data; there are no others (PIPL, article 28: a specific purpose and a need)."""

    DUTY = "duty"
    EMERGENCY = "emergency"
    VISIT = "visit"
    SELF = "self"
    FAMILY = "family"
    EXPORT = "export"
    RULES = "rules"
    CITY = "city"
    """By a grant of a city platform's subscription; nobody who asks can give it."""


PURPOSES: dict[Purpose, Label] = {
    Purpose.DUTY: Label("值守", "On duty"),
    Purpose.EMERGENCY: Label("紧急处置", "Emergency"),
    Purpose.VISIT: Label("关怀探访", "Care visit"),
    Purpose.SELF: Label("本人查看", "The person themselves"),
    Purpose.FAMILY: Label("家属查看", "Family"),
    Purpose.EXPORT: Label("个人信息导出", "Export of personal data"),
    Purpose.RULES: Label("个性化阈值", "Setting limits of one's own"),
    Purpose.CITY: Label("城市平台订阅", "A city platform's subscription"),
}
CONSENTS: dict[ConsentTo, Label] = {
    ConsentTo.VITALS: Label("体征（心率、血压、血氧、步数）", "Vitals: heart rate, blood pressure, oxygen, steps"),
    ConsentTo.LOCATION: Label("位置", "Position"),
    ConsentTo.FAMILY: Label("同住家属可看", "Shared with the household"),
}

_KEEPERS = frozenset({Purpose.DUTY, Purpose.EMERGENCY, Purpose.VISIT, Purpose.RULES})
_OWN = frozenset({Purpose.SELF, Purpose.FAMILY})
PURPOSES_OF: dict[Role, frozenset[Purpose]] = {
    Role.GRID: frozenset({Purpose.DUTY, Purpose.EMERGENCY, Purpose.VISIT}),
    Role.DESK: _KEEPERS,
    Role.ADMIN: _KEEPERS | {Purpose.EXPORT},
    Role.RESIDENT: _OWN,
    Role.MERCHANT: _OWN,
}
"""What each role can be reading for; a role that is not here reads no health data at all."""


def masked_name(name: str) -> str:
    """The family name and a star for each other letter: 王秀英 → 王**; names of two words keep the first letter."""
    return f"{name[:1]}{'*' * max(1, min(2, len(name) - 1))}" if name else ""


def masked_phone(phone: str | None) -> str | None:
    """138****1234; what is too short to leave anything keeps its last two digits."""
    if not phone:
        return None
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 11 else f"****{phone[-2:]}"
