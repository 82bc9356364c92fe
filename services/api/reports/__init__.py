"""Residents' reports: how they come in, and what of them is said to whom."""
