"""Held back, never lost: why an alert sends nobody for now, one file a reason; the alert itself always is."""
