"""A year of a simulated community in which everything that goes wrong is known, against what the alert engine said."""
