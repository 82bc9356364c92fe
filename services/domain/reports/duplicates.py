"""Whether two reports are about one trouble: the same family of categories, the same place, not long apart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.domain.reports.categories import Category, Within


@dataclass(frozen=True, slots=True)
class Spot:
    """Where and when something was reported. x and y are metres on the community's plan."""

    at: datetime
    building_id: str | None = None
    unit_id: str | None = None
    household_id: str | None = None
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """An open order as one of its reports (or whoever opened it) tells of it."""

    order_id: UUID
    spot: Spot


def apart_m(one: Spot, other: Spot) -> float | None:
    """None: one of them has no pin."""
    if one.x is None or one.y is None or other.x is None or other.y is None:
        return None
    return math.hypot(one.x - other.x, one.y - other.y)


def same(category: Category, one: Spot, other: Spot) -> bool:
    """Whether these two, of one family of categories, are about one trouble. The same whichever way round it is asked.

    Where both name the room that the category speaks of, that decides. A coarser room that differs decides too: a leak
    in another building is another leak, however near the pins lie. Otherwise the distance does.
    """
    if abs(one.at - other.at) > timedelta(seconds=category.window_s):
        return False
    if category.within is not Within.NOTHING:
        for level in _up_to(category.within):
            mine, others = _room(one, level), _room(other, level)
            if mine is not None and others is not None:
                if mine != others:
                    return False
                if level is category.within:
                    return True
    distance = apart_m(one, other)
    return distance is not None and category.radius_m > 0 and distance <= category.radius_m


def _up_to(within: Within) -> tuple[Within, ...]:
    levels = (Within.BUILDING, Within.UNIT, Within.HOUSEHOLD)
    return levels[: levels.index(within) + 1]


def _room(spot: Spot, level: Within) -> str | None:
    match level:
        case Within.BUILDING:
            return spot.building_id
        case Within.UNIT:
            return spot.unit_id
        case Within.HOUSEHOLD:
            return spot.household_id
        case Within.NOTHING:
            return None


def find(category: Category, spot: Spot, standing: Iterable[Standing]) -> UUID | None:
    """The open order a new report joins: the nearest that fits, the latest among equals; None: it opens its own."""
    fits = [one for one in standing if same(category, spot, one.spot)]
    if not fits:
        return None
    return min(fits, key=lambda one: (apart_m(spot, one.spot) or 0.0, -one.spot.at.timestamp(), one.order_id)).order_id
