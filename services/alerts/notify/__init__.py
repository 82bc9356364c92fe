"""Tells people: a loop of the alerts service that reads the outbox into notices and sends what is due."""

from services.alerts.notify.loop import Notifier

__all__ = ["Notifier"]
