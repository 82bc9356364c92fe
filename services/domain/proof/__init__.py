"""Proof before paging, pure: cases of rules, what an engine came to over some time, and two of these compared."""
