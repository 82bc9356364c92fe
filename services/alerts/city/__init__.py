"""Delivers city events: loops of the alerts service that take each subscription's next events to its receiver."""

from services.alerts.city.loop import CityDelivery

__all__ = ["CityDelivery"]
