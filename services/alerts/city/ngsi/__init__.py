"""Notifies subscribers of NGSI-LD: entities are views, so what changed is found by looking, and told as it is now."""

from services.alerts.city.ngsi.loop import NgsiDelivery

__all__ = ["NgsiDelivery"]
