"""Real series: read as they are shipped, laid on the year, turned into what the meters measure."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from device_sim import real
from device_sim.life import Surroundings, live
from device_sim.presets import BY_NAME
from device_sim.presets.generate import generate
from device_sim.real import KWH_PER_M3, RealMeters, RealMetersMissing, read_year, samples_folder
from device_sim.world import CHINA
from services.domain.registry import Community, Device


def series(
    path: Path, hours: int, step_h: float, value: float, head: str = "start,value", zone: str = "+00:00"
) -> None:
    start = datetime(2021, 1, 1)
    lines = [head]
    for n in range(round(hours / step_h)):
        at = (start + timedelta(hours=n * step_h)).isoformat(sep=" ") + zone
        lines.append(f"{n},{at},{value}" if head.startswith(",") else f"{at},{value}")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package that looks as the real one does, with flat series: 0.5 kWh an hour, 0.3 a half-hour, 2 of gas."""
    folder = tmp_path / "eemeter" / "eemeter" / "samples"
    folder.mkdir(parents=True)
    (tmp_path / "eemeter" / "__init__.py").write_text("raise RuntimeError('its code must not run')\n")
    year = 366 * 24
    series(folder / real.ELECTRICITY[0], year, 1, 0.5)
    series(folder / real.ELECTRICITY[1], year, 0.5, 0.3, zone="")
    series(folder / real.ELECTRICITY[2], year, 0.5, 0.3, zone="")
    series(folder / real.GAS[0], year, 1, 2.0)
    series(folder / real.TEMPERATURE, year, 1, 7.25, head=",dt,tempC", zone="")
    return tmp_path


@pytest.fixture
def community() -> Community:
    return generate(BY_NAME["gongyuan"], 0.05)


def of(community: Community, kind: str) -> Device:
    return next(d for d in community.devices if d.kind == kind and d.household_id)


def test_real_meters_missing_says_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "find_spec", lambda _: None)
    with pytest.raises(RealMetersMissing, match=r"pip install --no-deps -r requirements-real\.lock"):
        samples_folder()


def test_real_meters_are_found_without_running_the_package(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(package))
    assert samples_folder() == package / "eemeter" / "eemeter" / "samples"


def test_real_series_become_power_and_gas_flow(package: Path, community: Community) -> None:
    meters = RealMeters(package / "eemeter" / "eemeter" / "samples")
    at = int(datetime(2026, 11, 22, 19, 30, tzinfo=CHINA).timestamp() * 1000)
    power = {
        meters.forced(device, at)["power"]
        for device in community.devices
        if device.kind == "electricity_meter" and device.household_id
    }
    assert power == {500.0, 600.0}
    assert meters.forced(of(community, "gas_meter"), at)["flow"] == pytest.approx(2.0 / KWH_PER_M3, abs=1e-4)
    assert meters.outdoor_c(at) == 7.25
    common = next(d for d in community.devices if d.kind == "electricity_meter" and not d.household_id)
    assert meters.forced(common, at) == {}
    assert meters.forced(of(community, "water_meter"), at) == {}


def test_real_meter_counts_the_energy_of_the_series(package: Path, community: Community) -> None:
    meters = RealMeters(package / "eemeter" / "eemeter" / "samples")
    device = of(community, "gas_meter")
    surroundings = Surroundings(community, forced=meters.forced, outdoor_c=meters.outdoor_c)
    life, start = live(device, 1), 1_795_309_200_000
    first = life.look(surroundings, start).values["total_m3"]
    for n in range(1, 49):
        last = life.look(surroundings, start + n * 1_800_000).values["total_m3"]
    assert (last - first) * KWH_PER_M3 == pytest.approx(48.0, rel=0.01)


def test_real_series_keep_their_hour_of_the_year(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    lines = ["start,value"]
    lines += [f"{datetime(2020, 1, 1) + timedelta(hours=n)},{n}" for n in range(366 * 24)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    year = read_year(path, rate=True)
    assert year.at(datetime(2024, 3, 1, 17, 40)) == (31 + 29) * 24 + 17
    assert year.at(datetime(2024, 1, 1, 0, 0), shift_days=-1) == 365 * 24
