"""How long a session lives: without being used, and at most, by role."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.domain.vocabulary import Role

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_ENTRY = re.compile(r"^\s*([a-z]+)\s*=\s*(\d+)([mhd])\s*/\s*(\d+)([mhd])\s*$")
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Lifetime:
    idle_s: float
    most_s: float


DEFAULTS: Mapping[Role, Lifetime] = {
    Role.ADMIN: Lifetime(0.5 * _DAY, 7 * _DAY),
    # A desk's login stands on walls and through long weekends.
    Role.DESK: Lifetime(4 * _DAY, 90 * _DAY),
    Role.STREET: Lifetime(0.5 * _DAY, 30 * _DAY),
    Role.PLATFORM: Lifetime(0.5 * _DAY, 30 * _DAY),
    Role.STAFF: Lifetime(7 * _DAY, 90 * _DAY),
    Role.GRID: Lifetime(7 * _DAY, 90 * _DAY),
    Role.RESIDENT: Lifetime(30 * _DAY, 180 * _DAY),
    Role.MERCHANT: Lifetime(30 * _DAY, 180 * _DAY),
    Role.VISITOR: Lifetime(1 * _DAY, 7 * _DAY),
    Role.DISPLAY: Lifetime(30 * _DAY, 365 * _DAY),
}


def lifetimes(changes: str) -> dict[Role, Lifetime]:
    """`desk=4d/90d, staff=12h/30d` over the defaults. Raises ValueError that says which entry is wrong."""
    chosen = dict(DEFAULTS)
    for entry in filter(str.strip, changes.split(",")):
        found = _ENTRY.match(entry)
        if found is None or found[1] not in set(Role):
            raise ValueError(f"{entry.strip()!r} is not like desk=4d/90d: role, idle limit, absolute limit; m, h or d")
        idle_s, most_s = float(found[2]) * _UNITS[found[3]], float(found[4]) * _UNITS[found[5]]
        if not 0 < idle_s <= most_s:
            raise ValueError(f"{entry.strip()!r}: the idle limit is above 0 and not above the absolute one")
        chosen[Role(found[1])] = Lifetime(idle_s, most_s)
    return chosen
