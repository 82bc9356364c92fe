"""City events: what of the outbox city platforms may hear of, in which shape, under which grants."""

from services.domain.city.catalogue import BY_NAME, BY_TYPE, CATALOGUE, INTERNAL, TEST, CityEventType
from services.domain.city.envelope import CityEvent, OutboxRow, make, test_event
from services.domain.city.filters import Filter
from services.domain.city.vocabulary import DataClass, EventMark, Format, SubscriptionState, Way

__all__ = [
    "BY_NAME",
    "BY_TYPE",
    "CATALOGUE",
    "INTERNAL",
    "TEST",
    "CityEvent",
    "CityEventType",
    "DataClass",
    "EventMark",
    "Filter",
    "Format",
    "OutboxRow",
    "SubscriptionState",
    "Way",
    "make",
    "test_event",
]
