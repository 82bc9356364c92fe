"""What the tiles of a cockpit show: small figures of now, each with the time of the newest reading behind it."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from services.api.answers.models import LabelOut, Model


class AirOut(Model):
    """AQI of the particulates after HJ 633-2012, by the table of 24-hour means.

    `basis`: `24h` where the stations have reported for at least 20 hours of the last 24, else `now`: the same table
    over the current readings, which says how the air is and is no official index.
    """

    aqi: int | None = Field(examples=[83])
    """0 to 500; None where no station is heard."""
    level: int | None = Field(ge=1, le=6, examples=[2])
    label: LabelOut | None
    primary: str | None = Field(examples=["pm2_5"])
    """首要污染物, from an AQI over 50 on: `pm2_5` or `pm10`."""
    basis: str = Field(examples=["24h"])


class EnvironmentTile(Model):
    """Medians over the stations heard within the last 15 minutes."""

    ts: datetime | None
    stations: int
    heard: int
    temperature: float | None = Field(examples=[11.4])
    humidity: float | None
    pm2_5: float | None
    pm10: float | None
    noise: float | None
    air: AirOut


class AreaOut(Model):
    """Parking of one area: sensors whose place begins alike."""

    name: str
    spaces: int
    left: int
    unknown: int


class ParkingTile(Model):
    """`left` counts free spaces whose sensor is online; `unknown` those nobody can tell of. Fire lanes are apart."""

    ts: datetime | None
    spaces: int = Field(examples=[181])
    left: int = Field(examples=[37])
    unknown: int
    long_stays: int
    """Taken without a break for longer than `long_stay_h`."""
    long_stay_h: int
    fire_lanes: int
    fire_lanes_taken: int
    areas: list[AreaOut]


class BinOut(Model):
    device_id: str
    name: str
    place: str
    fill: float | None
    ts: datetime | None
    online: bool
    full_at: datetime | None
    """When it will reach `full_from` at the rate since it was last emptied; None: full already, or not within a day."""


class BinsTile(Model):
    """`fullest`: the ten fullest."""

    ts: datetime | None
    bins: int
    full: int
    full_from: float = Field(examples=[80.0])
    next_full_at: datetime | None
    fullest: list[BinOut]


class FacilityOut(Model):
    """`inside`: the counter's own balance, else what came in less what went out since midnight, never below 0."""

    device_id: str
    name: str
    place: str
    online: bool
    ts: datetime | None
    inside: int | None
    capacity: int | None
    """From the facility's over-capacity rule."""
    share: float | None = Field(ge=0, examples=[0.42])
    visits_today: int | None
    """Who came in since local midnight."""


class FacilitiesTile(Model):
    ts: datetime | None
    inside: int
    visits_today: int
    items: list[FacilityOut]


class PvTile(Model):
    """Power of now, from inverters heard within the last 15 minutes; energy since local midnight.

    What is not exported is used on site: `self_use_w` = generation less what goes to the grid (never below 0).
    """

    ts: datetime | None
    plants: int
    heard: int
    power_w: float | None = Field(examples=[31500.0])
    export_w: float | None
    self_use_w: float | None
    self_use_share: float | None = Field(ge=0, le=1)
    """Of what is generated now, how much stays here; None at night."""
    today_kwh: float | None
    yesterday_kwh: float | None
    """The whole of yesterday."""
    charging_w: float | None
    """What charging piles draw now."""
    charging: int
    chargers: int


class UseTile(Model):
    """Electricity, water and gas. `*_before`: yesterday up to the same time of day."""

    ts: datetime | None
    power_w: float | None
    electricity_kwh: float | None
    electricity_kwh_before: float | None
    water_m3: float | None
    water_m3_before: float | None
    gas_m3: float | None
    gas_m3_before: float | None


class TilesOut(Model):
    """Every tile at once; made at most every few seconds for all who ask. A community without such devices has zeros
    and None, never a guess."""

    at: datetime
    environment: EnvironmentTile
    parking: ParkingTile
    bins: BinsTile
    facilities: FacilitiesTile
    pv: PvTile
    use: UseTile
