"""Linkage plans: read from text, kept by version and community, their runs and commands in the database."""
