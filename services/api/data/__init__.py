"""Figures out of telemetry: curves by the quarter, forecasts, facilities, exports, and the past."""
