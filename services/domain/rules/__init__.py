"""Alert rules: one file a kind, each a pure step over readings, events and time."""
