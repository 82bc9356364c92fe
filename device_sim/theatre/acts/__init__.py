"""How stories go that are more than one alert and one order: one file an act."""
