"""Rules, plans and silences as people change them, and what a change would do."""
