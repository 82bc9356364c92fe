"""The boundaries of every rule kind: one file a kind, each a table of cases."""
