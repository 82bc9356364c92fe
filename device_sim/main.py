"""The simulator as a process: reads its settings, brings the community to life, says good-bye on SIGTERM."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from device_sim.broker import Broker
from device_sim.fleet import Fleet
from device_sim.life import Surroundings
from device_sim.presets import BY_NAME
from device_sim.presets.generate import generate
from device_sim.real import RealMeters, RealMetersMissing
from device_sim.settings import SettingsError, SimSettings, from_environment
from device_sim.theatre.players import Players

log = logging.getLogger("device_sim")

PV_REFERENCE_M2 = 1000.0
"""The roof that the catalogue's inverter has at scale 1."""


class _JsonLines(logging.Formatter):
    """One JSON object a line, as the services write."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "service": "simulator",
            "event": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel("WARNING")


def read_credentials(home: Path) -> dict[str, str]:
    """Device id to broker secret. Raises SettingsError with what to do."""
    path = home / "sim" / "credentials.json"
    try:
        return {str(device): str(secret) for device, secret in json.loads(path.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing; run `linhub seed`") from None
    except (OSError, ValueError, AttributeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}; run `linhub seed`") from None


def seeded_scale(home: Path, preset: str) -> float | None:
    """The scale this community was seeded at; None where it is not known."""
    try:
        return float(json.loads((home / "sim" / "seeds.json").read_text(encoding="utf-8"))[preset]["scale"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def compose(settings: SimSettings) -> Fleet:
    """The fleet of these settings, inside a running loop. Raises SettingsError, RealMetersMissing."""
    preset = BY_NAME[settings.preset]
    seeded = seeded_scale(settings.home, settings.preset)
    if seeded is not None and seeded != settings.scale:
        raise SettingsError(
            f"{settings.preset} was seeded at scale {seeded:g}, not {settings.scale:g}: its meters hang on other gateways "
            f"there; run `linhub seed --preset {settings.preset} --scale {settings.scale:g}`"
        )
    community = generate(preset, settings.scale, settings.seed)
    credentials = read_credentials(settings.home)
    missing = [d.id for d in community.devices if d.gateway_id is None and d.id not in credentials]
    if missing:
        raise SettingsError(
            f"{len(missing)} devices of {settings.preset} at scale {settings.scale:g} have no credentials "
            f"({missing[0]} …); run `linhub seed --preset {settings.preset} --scale {settings.scale:g}`"
        )
    try:
        broker = Broker.at(settings.mqtt_url)
    except ValueError as error:
        raise SettingsError(f"LINHUB_MQTT_URL is wrong: {error}") from None
    inverters = sum(device.kind == "pv_inverter" for device in community.devices)
    real = RealMeters.installed() if settings.real_meters else None
    surroundings = Surroundings(
        community,
        seed=settings.seed,
        pv_scale=preset.pv_roof_m2 * settings.scale / PV_REFERENCE_M2 / inverters,
        forced=real.forced if real else None,
        outdoor_c=real.outdoor_c if real else None,
    )
    return Fleet(
        community,
        broker,
        credentials,
        surroundings,
        home=settings.home,
        speed=settings.speed,
        with_backfill=settings.backfill,
    )


async def run(settings: SimSettings, stop: asyncio.Event, on_ready: Callable[[Fleet], None] = lambda _: None) -> None:
    """Lives until `stop`; `on_ready` gets the fleet when it sets out to connect. Raises as `compose` does."""
    allow_connections()
    fleet = compose(settings)
    log.info(
        "%s at scale %g: %d devices on %d connections",
        settings.preset,
        settings.scale,
        fleet.progress.devices,
        fleet.progress.stations,
    )
    on_ready(fleet)
    async with asyncio.TaskGroup() as group:
        group.create_task(fleet.run(stop))
        if settings.stories_s:
            group.create_task(Players(fleet, settings.stories_s).run(stop))


def allow_connections() -> None:
    """A socket a device: as many open files as the machine permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _main(settings: SimSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)


def main() -> None:
    try:
        settings = from_environment()
        configure_logging(settings.log_level)
        asyncio.run(_main(settings))
    except (SettingsError, RealMetersMissing) as error:
        sys.stderr.write(f"linhub: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
