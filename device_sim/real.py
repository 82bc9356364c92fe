"""Real hourly electricity and gas use with outdoor temperature, replayed by the meters of households.

The series are the UK samples shipped in the PyPI package `eemeter` 4.1.1 (kWh per hour or half-hour, °C). Only its data
files are read; its code is not run, so none of its dependencies is needed.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from device_sim.world import CHINA
from services.domain.registry import Device

PACKAGE = "eemeter"
INSTALL = "pip install --no-deps -r requirements-real.lock"
KWH_PER_M3 = 39.5 / 3.6
"""Gas is sampled in kWh; at a gross calorific value of 39.5 MJ/m³ (the UK's grid) a cubic metre holds 10.97."""
ELECTRICITY = tuple(f"uk-electricity-hdd-only-hourly-sample-{n}.csv.gz" for n in range(3))
GAS = ("uk-gas-hdd-only-hourly-sample-0.csv.gz",)
TEMPERATURE = "uk-tempC-sample-0.csv.gz"
HALF_HOURS = 366 * 48
WEEKS = 3
"""Households that share a sample live it up to so many weeks apart, so that they do not switch on in step."""


class RealMetersMissing(Exception):
    """The package is not installed, or not the version that holds the samples; the message is what to type."""


@dataclass(frozen=True, slots=True)
class Year:
    """One series over a year: its value in each half-hour, by day of the year and time of day."""

    values: tuple[float, ...]

    def at(self, local: datetime, shift_days: int = 0) -> float:
        day = (local.timetuple().tm_yday - 1 + shift_days) % 366
        return self.values[day * 48 + local.hour * 2 + local.minute // 30]


def samples_folder() -> Path:
    """Where the package's samples lie. Raises RealMetersMissing. Nothing of the package is imported."""
    spec = find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "eemeter" / "samples"
        if all((folder / name).is_file() for name in (*ELECTRICITY, *GAS, TEMPERATURE)):
            return folder
    raise RealMetersMissing(f"the real meter series are not installed; run: {INSTALL}")


def read_year(path: Path, *, rate: bool) -> Year:
    """A `start,value` or `,dt,tempC` file as one year; the latest year's value stands where several overlap.

    `rate`: the values are amounts per step, and become amounts per hour. Gaps keep the value before them.
    """
    with gzip.open(path, "rb") as packed:
        rows = list(csv.DictReader(io.TextIOWrapper(packed, encoding="utf-8")))
    time_key, value_key = ("start", "value") if "start" in rows[0] else ("dt", "tempC")
    points = []
    for row in rows:
        if row[value_key] not in ("", "nan"):
            at = datetime.fromisoformat(row[time_key])
            points.append((at.replace(tzinfo=None), float(row[value_key])))
    step_h = min((b[0] - a[0]).total_seconds() for a, b in pairwise(points[:200])) / 3600
    slots: list[float | None] = [None] * HALF_HOURS
    for at, value in points:
        first = (at.timetuple().tm_yday - 1) * 48 + at.hour * 2 + at.minute // 30
        for extra in range(max(1, round(step_h * 2))):
            slots[(first + extra) % HALF_HOURS] = value / step_h if rate else value
    last = next(value for value in slots if value is not None)
    filled = []
    for slot in slots:
        last = last if slot is None else slot
        filled.append(last)
    return Year(tuple(filled))


class RealMeters:
    """What the real series say of a household's meter now: the same day and local hour of theirs."""

    def __init__(self, folder: Path) -> None:
        self._electricity = [read_year(folder / name, rate=True) for name in ELECTRICITY]
        self._gas = [read_year(folder / name, rate=True) for name in GAS]
        self._temperature = read_year(folder / TEMPERATURE, rate=False)

    @classmethod
    def installed(cls) -> RealMeters:
        """Raises RealMetersMissing."""
        return cls(samples_folder())

    def outdoor_c(self, ts_ms: int) -> float:
        return self._temperature.at(_local(ts_ms))

    def forced(self, device: Device, ts_ms: int) -> Mapping[str, float]:
        """Power in W or gas flow in m³/h of a household's meter; nothing for any other device."""
        if device.household_id is None or device.kind not in ("electricity_meter", "gas_meter"):
            return {}
        pick = zlib.crc32(device.household_id.encode())
        shift = (pick // 16 % (2 * WEEKS + 1) - WEEKS) * 7
        if device.kind == "electricity_meter":
            kw = self._electricity[pick % len(self._electricity)].at(_local(ts_ms), shift)
            return {"power": round(kw * 1000, 1)}
        kw = self._gas[pick % len(self._gas)].at(_local(ts_ms), shift)
        return {"flow": round(kw / KWH_PER_M3, 4)}


def _local(ts_ms: int) -> datetime:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone(CHINA)
