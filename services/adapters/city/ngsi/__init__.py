"""NGSI-LD entities read from the database: one community at a time, as they are now."""
