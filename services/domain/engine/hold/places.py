"""Where the subject of an alert lies, as far as something within the same place can reach."""

from __future__ import annotations

from services.domain.engine.subjects import Subject
from services.domain.rules.rule import Within


def place_of(subject: Subject, within: Within) -> str | None:
    """The key of the gateway, household, … that the subject lies in; None where it lies in none."""
    device = subject.device
    match within:
        case Within.DEVICE:
            return subject.key
        case Within.GATEWAY:
            if subject.gateway is not None:
                return subject.gateway.key
            sort, _, number = subject.key.partition(":")
            return f"device:{number}" if sort == "gateway" else subject.key
        case Within.HOUSEHOLD:
            return device.household_id if device else None
        case Within.UNIT:
            return device.unit_id if device else None
        case Within.BUILDING:
            return subject.building_id
        case Within.GRID:
            return subject.grid_id
        case Within.COMMUNITY:
            return subject.community_id


def household_of(subject: Subject) -> str | None:
    return subject.device.household_id if subject.device else None
