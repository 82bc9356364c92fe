"""What a community is and does, pure: no IO, no clock, no environment; `now` is always an argument."""
