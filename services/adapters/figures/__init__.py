"""The counts behind the key figures, read from the database."""

from services.adapters.figures.store import Asked, Behind, Private, behind, cockpit, tallies, tally

__all__ = ["Asked", "Behind", "Private", "behind", "cockpit", "tallies", "tally"]
