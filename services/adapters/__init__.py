"""Shared IO: the database, the broker, logs and metrics. Nothing here knows which service uses it."""
