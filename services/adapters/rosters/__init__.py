"""Duty rosters in the database: rotas and the shifts they make, changes of shifts, hand-overs, positions, gaps."""

from services.adapters.rosters.common import RosterConflict, RosterRefused, zone_of
from services.adapters.rosters.patterns import Made, StoredPattern, horizon, make_shifts, patterns, put_pattern

__all__ = [
    "Made",
    "RosterConflict",
    "RosterRefused",
    "StoredPattern",
    "horizon",
    "make_shifts",
    "patterns",
    "put_pattern",
    "zone_of",
]
