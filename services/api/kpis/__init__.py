"""Key figures for the cockpit, in groups and by month."""
