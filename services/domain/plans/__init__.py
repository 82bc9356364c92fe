"""Linkage plans (预案): one alert, several actions, in order and with an end."""
