"""The tiles of a cockpit, from the latest states and from curves that are kept: none of them searches history."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from services.adapters.rules import load_defaults
from services.api.answers import shapes
from services.api.answers.models import LabelOut
from services.api.data import store
from services.api.data.store import Row
from services.api.data.tile_models import (
    AirOut,
    AreaOut,
    BinOut,
    BinsTile,
    EnvironmentTile,
    FacilitiesTile,
    FacilityOut,
    ParkingTile,
    PvTile,
    TilesOut,
    UseTile,
)
from services.api.store.database import Connection
from services.domain.air import air
from services.domain.devices import BY_NAME
from services.domain.filling import full_at
from services.domain.forecast.bands import median
from services.domain.forecast.seasonal import midnight
from services.domain.people.privacy import Shown
from services.domain.registry import FIRE_LANE
from services.domain.rules.parameters import ThresholdParameters

HEARD = timedelta(minutes=15)
LONG_STAY_H = 72
_DAY_HOURS = 20
"""HJ 633 takes a day's mean from 20 hours on."""
_FULLEST = 10
_KINDS = ("environment", "parking_sensor", "bin", "people_counter", "pv_inverter", "charger")
_NUMBER = re.compile(r"[\s\-–_#]*\d+[号位]*$")


def limit_of(kind: str, rule_id: str) -> float | None:
    """The limit of a default rule that watches a threshold."""
    return _LIMITS.get((kind, rule_id))


_LIMITS = {
    (kind, str(rule.id)): float(rule.parameters.limit)
    for kind, rules in load_defaults().items()
    for rule in rules
    if isinstance(rule.parameters, ThresholdParameters)
}


async def tiles(connection: Connection, community_id: str, now: datetime) -> TilesOut:
    place = await connection.fetchrow(store.Q["place_of_community"], community_id)
    day = midnight(now.astimezone(ZoneInfo(place["timezone"])).date(), ZoneInfo(place["timezone"]))
    by: dict[str, list[Row]] = defaultdict(list)
    for row in await connection.fetch(store.Q["states_of_kinds"], community_id, list(_KINDS)):
        by[row["kind"]].append(row)
    return TilesOut(
        at=now,
        environment=await environment(connection, community_id, by["environment"], now),
        parking=parking(by["parking_sensor"], now),
        bins=await _bins(connection, community_id, by["bin"], now),
        facilities=await facilities(connection, community_id, by["people_counter"], day, now),
        pv=await _pv(connection, community_id, by["pv_inverter"], by["charger"], day, now),
        use=await _use(connection, community_id, day, now),
    )


def _value(row: Row, metric: str) -> float | None:
    return shapes.values(row["kind"], row["vals"], Shown.NONE).get(metric)


def _heard(rows: Iterable[Row], now: datetime, within: timedelta = HEARD) -> list[Row]:
    return [row for row in rows if row["vals_ts"] is not None and now - row["vals_ts"] <= within]


def _newest(rows: Iterable[Row]) -> datetime | None:
    return max((row["vals_ts"] for row in rows if row["vals_ts"] is not None), default=None)


def _total(rows: Sequence[Row], metric: str) -> float | None:
    known = [value for row in rows if (value := _value(row, metric)) is not None]
    return round(sum(known), 3) if known else None


async def environment(connection: Connection, community_id: str, rows: Sequence[Row], now: datetime) -> EnvironmentTile:
    heard = _heard(rows, now)

    def middle(metric: str) -> float | None:
        known = [value for row in heard if (value := _value(row, metric)) is not None]
        return round(median(known), 1) if known else None

    means: dict[str, float | None] = {}
    for metric in ("pm2_5", "pm10"):
        row = await connection.fetchrow(store.Q["air_of_a_day"], community_id, metric, now - timedelta(hours=24), now)
        means[metric] = row["mean"] if row["hours"] >= _DAY_HOURS else None
    of_day = None not in means.values() and bool(heard)
    found = air(means["pm2_5"], means["pm10"]) if of_day else air(middle("pm2_5"), middle("pm10"))
    return EnvironmentTile(
        ts=_newest(rows),
        stations=len(rows),
        heard=len(heard),
        temperature=middle("temperature"),
        humidity=middle("humidity"),
        pm2_5=middle("pm2_5"),
        pm10=middle("pm10"),
        noise=middle("noise"),
        air=AirOut(
            aqi=found.aqi if found else None,
            level=found.level if found else None,
            label=LabelOut(zh=found.label.zh, en=found.label.en) if found else None,
            primary=found.primary if found else None,
            basis="24h" if of_day else "now",
        ),
    )


def parking(rows: Sequence[Row], now: datetime) -> ParkingTile:
    lanes = [row for row in rows if FIRE_LANE in row["tags"]]
    spaces = [row for row in rows if FIRE_LANE not in row["tags"]]
    areas: dict[str, list[Row]] = defaultdict(list)
    for row in spaces:
        areas[_NUMBER.sub("", row["place"]) or "停车位"].append(row)
    long = timedelta(hours=LONG_STAY_H)
    return ParkingTile(
        ts=_newest(rows),
        spaces=len(spaces),
        left=sum(_taken(row) == 0 for row in spaces),
        unknown=sum(_taken(row) is None for row in spaces),
        long_stays=sum(
            _taken(row) == 1 and row["last_event"] == "entered" and now - row["last_event_ts"] > long for row in spaces
        ),
        long_stay_h=LONG_STAY_H,
        fire_lanes=len(lanes),
        fire_lanes_taken=sum(_taken(row) == 1 for row in lanes),
        areas=[
            AreaOut(
                name=name,
                spaces=len(members),
                left=sum(_taken(row) == 0 for row in members),
                unknown=sum(_taken(row) is None for row in members),
            )
            for name, members in sorted(areas.items())
        ],
    )


def _taken(row: Row) -> float | None:
    """None: offline, or never said."""
    return _value(row, "occupied") if row["online"] else None


async def _bins(connection: Connection, community_id: str, rows: Sequence[Row], now: datetime) -> BinsTile:
    limit = limit_of("bin", "bin.full") or 80.0
    slot = BY_NAME["bin"].position("fill")
    numbers = [row["device_no"] for row in rows]
    points: dict[int, list[tuple[datetime, float]]] = defaultdict(list)
    args = (community_id, numbers, (slot or 0) + 1, now - timedelta(hours=24), now)
    for one in await connection.fetch(store.Q["fills"], *args):
        points[one["device_no"]].append((one["ts"], one["value"]))
    made = [
        BinOut(
            device_id=row["id"],
            name=row["name"],
            place=row["place"],
            fill=_value(row, "fill"),
            ts=row["vals_ts"],
            online=row["online"],
            full_at=full_at(points[row["device_no"]], limit),
        )
        for row in rows
    ]
    made.sort(key=lambda one: -1.0 if one.fill is None else one.fill, reverse=True)
    return BinsTile(
        ts=_newest(rows),
        bins=len(rows),
        full=sum(one.fill is not None and one.fill >= limit for one in made),
        full_from=limit,
        next_full_at=min((one.full_at for one in made if one.full_at is not None and one.full_at > now), default=None),
        fullest=made[:_FULLEST],
    )


async def facilities(
    connection: Connection, community_id: str, rows: Sequence[Row], day: datetime, now: datetime
) -> FacilitiesTile:
    numbers = [row["device_no"] for row in rows]
    came = await _used_today(connection, community_id, numbers, "in", day, now)
    left = await _used_today(connection, community_id, numbers, "out", day, now)
    limits = await capacities(connection, community_id)
    items = []
    for row in rows:
        no = row["device_no"]
        counted = _value(row, "inside")
        if counted is None and no in came:
            counted = max(0.0, came[no] - left.get(no, 0.0))
        inside = None if counted is None or not row["online"] else round(counted)
        capacity = limits.get(row["id"], limits[""])
        items.append(
            FacilityOut(
                device_id=row["id"],
                name=row["name"],
                place=row["place"],
                online=row["online"],
                ts=row["vals_ts"],
                inside=inside,
                capacity=capacity,
                share=round(inside / capacity, 3) if inside is not None and capacity else None,
                visits_today=round(came[no]) if no in came else None,
            )
        )
    items.sort(key=lambda one: (-(one.share or 0.0), one.device_id))
    return FacilitiesTile(
        ts=_newest(rows),
        inside=sum(one.inside or 0 for one in items),
        visits_today=sum(one.visits_today or 0 for one in items),
        items=items,
    )


async def capacities(connection: Connection, community_id: str) -> dict[str, int | None]:
    """By device id, where one has a figure of its own; '': everybody else's."""
    rule = "people_counter.over_capacity"
    whole = limit_of("people_counter", rule)
    found: dict[str, int | None] = {"": int(whole) if whole else None}
    for row in await connection.fetch(store.Q["overrides_of"], community_id, rule):
        own = _plain(row["parameters"]).get("limit")
        if isinstance(own, int | float) and own > 0:
            found[row["subject"].removeprefix("device:")] = int(own)
    return found


def _plain(stored: Any) -> dict[str, Any]:
    return stored if isinstance(stored, dict) else {}


async def _used_today(
    connection: Connection, community_id: str, numbers: list[int], metric: str, day: datetime, now: datetime
) -> dict[int, float]:
    if not numbers:
        return {}
    args = (community_id, "people_counter", numbers, metric, day, now, "hour")
    total: dict[int, float] = defaultdict(float)
    for row in await connection.fetch(store.Q["used_by_device"], *args):
        total[row["device_no"]] += row["used"] or 0.0
    return dict(total)


async def _pv(
    connection: Connection, community_id: str, plants: Sequence[Row], chargers: Sequence[Row], day: datetime,
    now: datetime,
) -> PvTile:  # fmt: skip
    heard = _heard(plants, now)
    power, export = _total(heard, "power"), _total(heard, "grid_export")
    stays = None if power is None or export is None else max(0.0, power - max(0.0, export))
    before = await _sum(connection, community_id, "pv", day - timedelta(days=1), day)
    today = await _sum(connection, community_id, "pv", day, now)
    charging = _heard(chargers, now)
    return PvTile(
        ts=_newest(plants),
        plants=len(plants),
        heard=len(heard),
        power_w=power,
        export_w=None if export is None else max(0.0, export),
        self_use_w=stays,
        self_use_share=round(stays / power, 3) if stays is not None and power and power > 0 else None,
        today_kwh=_kwh(today),
        yesterday_kwh=_kwh(before),
        charging_w=_total(charging, "power"),
        charging=sum((_value(row, "power") or 0.0) > 0 for row in charging),
        chargers=len(chargers),
    )


async def _use(connection: Connection, community_id: str, day: datetime, now: datetime) -> UseTile:
    row = await connection.fetchrow(store.Q["sum_now"], community_id, "electricity_meter", "power", now - HEARD)
    found = {}
    for name in ("power", "water", "gas"):
        found[name] = (
            await _sum(connection, community_id, name, day, now),
            await _sum(connection, community_id, name, day - timedelta(days=1), now - timedelta(days=1)),
        )
    return UseTile(
        ts=row["ts"],
        power_w=row["total"],
        electricity_kwh=_kwh(found["power"][0]),
        electricity_kwh_before=_kwh(found["power"][1]),
        water_m3=_round(found["water"][0]),
        water_m3_before=_round(found["water"][1]),
        gas_m3=_round(found["gas"][0]),
        gas_m3_before=_round(found["gas"][1]),
    )


async def _sum(connection: Connection, community_id: str, curve: str, begin: datetime, end: datetime) -> float | None:
    """Of the quarters that began in between."""
    total: float | None = await connection.fetchval(store.Q["quarters_sum"], community_id, curve, begin, end)
    return total


def _kwh(watts: float | None) -> float | None:
    """Of quarters of an hour."""
    return None if watts is None else round(watts / 4000, 2)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
