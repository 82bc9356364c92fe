"""Units as vendors write them, and how one becomes another."""

from __future__ import annotations

_SCALES: dict[str, dict[str, float]] = {
    "power": {"W": 1, "kW": 1e3, "MW": 1e6, "mW": 1e-3},
    "energy": {"kWh": 1, "Wh": 1e-3, "MWh": 1e3, "J": 1 / 3.6e6, "kJ": 1 / 3600, "MJ": 1 / 3.6, "GJ": 1e3 / 3.6},
    "voltage": {"V": 1, "mV": 1e-3, "kV": 1e3},
    "current": {"A": 1, "mA": 1e-3},
    "share": {"%": 1, "%RH": 1, "%EL": 1, "/": 100, "‰": 0.1},
    "explosive": {"%LEL": 1},
    "fraction": {"ppm": 1, "ppb": 1e-3},
    "volume": {"m³": 1, "m3": 1, "L": 1e-3, "l": 1e-3, "mL": 1e-6},
    "flow": {"m³/h": 1, "m3/h": 1, "L/h": 1e-3, "L/min": 0.06, "L/s": 3.6, "l/s": 3.6, "m3/s": 3600},
    "length": {"m": 1, "cm": 1e-2, "mm": 1e-3, "km": 1e3},
    "speed": {"km/h": 1, "m/s": 3.6},
    "pressure": {"mmHg": 1, "kPa": 7.500617, "Pa": 7.500617e-3},
    "density": {"µg/m³": 1, "μg/m³": 1, "ug/m3": 1, "mg/m³": 1e3, "mg/m3": 1e3},
    "angle": {"°": 1, "deg": 1, "lon": 1, "lat": 1, "rad": 57.29577951308232},
    "level": {"dB": 1, "dBA": 1, "dB(A)": 1},
    "obscuration": {"dB/m": 1},
    "rate": {"bpm": 1, "beat/min": 1, "beats/min": 1, "1/min": 1, "Hz": 60},
    "temperature": {"°C": 1, "℃": 1, "Cel": 1, "degC": 1, "K": 1, "°F": 5 / 9, "degF": 5 / 9},
    "count": {"": 1, "1": 1, "count": 1},
}
_ZERO = {"K": -273.15, "°F": -160 / 9, "degF": -160 / 9}
"""°C at the unit's zero."""
_QUANTITY = {unit: quantity for quantity, units in _SCALES.items() for unit in units}


def known(unit: str) -> bool:
    return unit in _QUANTITY


def conversion(given: str, wanted: str) -> tuple[float, float] | None:
    """(factor, offset): wanted = given × factor + offset; None where the one is no measure of the other."""
    quantity = _QUANTITY.get(given)
    if quantity is None or quantity != _QUANTITY.get(wanted):
        return None
    factor = _SCALES[quantity][given] / _SCALES[quantity][wanted]
    offset = (_ZERO.get(given, 0.0) - _ZERO.get(wanted, 0.0)) / _SCALES[quantity][wanted]
    return factor, offset
