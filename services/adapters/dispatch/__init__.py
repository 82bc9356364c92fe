"""Who goes: people on duty, chosen for an order, and who stands on each rung of the ladder."""

from services.adapters.dispatch.people import Choice, Reached, choose, people_at

__all__ = ["Choice", "Reached", "choose", "people_at"]
