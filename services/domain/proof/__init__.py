"""Proof before paging, pure: cases of rules, what an engine came to over a stretch of time, and two of these compared."""
