"""City events: a subscription's events read from the outbox, signed, and how far each has come."""
