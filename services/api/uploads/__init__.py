"""Files that people send: forms read to disk within bounds, then looked at and kept."""
