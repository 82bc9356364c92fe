"""Who goes: people on duty, chosen for an order, and who stands on each rung of the ladder."""

from services.adapters.dispatch.people import Choice, choose, people_at
from services.domain.dispatch import Reached

__all__ = ["Choice", "Reached", "choose", "people_at"]
