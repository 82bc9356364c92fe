"""Duty rosters (值班表): rotas as data, the shifts they make, stand-ins and swaps, who is on duty, where nobody is."""

from services.domain.rosters.gaps import Stretch, gaps, merged, required, without
from services.domain.rosters.pattern import EMERGENCY_TEAMS, Cover, Pattern, PatternError, Post, ShiftTime, Turn
from services.domain.rosters.rota import planned, shifts_of_day
from services.domain.rosters.shifts import (
    LONGEST_SHIFT,
    Change,
    Clash,
    Shift,
    clashes,
    fitted,
    on_duty,
    stand_in,
    swapped,
)

__all__ = [
    "EMERGENCY_TEAMS",
    "LONGEST_SHIFT",
    "Change",
    "Clash",
    "Cover",
    "Pattern",
    "PatternError",
    "Post",
    "Shift",
    "ShiftTime",
    "Stretch",
    "Turn",
    "clashes",
    "fitted",
    "gaps",
    "merged",
    "on_duty",
    "planned",
    "required",
    "shifts_of_day",
    "stand_in",
    "swapped",
    "without",
]
