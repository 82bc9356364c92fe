"""Notices in the database: the outbox read into a queue, the queue worked off, what was not delivered taken further."""
