"""People (人): their tags, what of them may be shown to whom and what for, and how much an elder is at risk."""
