"""Forecasts: made once an hour and kept, shown beside what came, and scored by what was said before the day began."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from services.api.answers.models import LabelOut, Point
from services.api.data import curves, store
from services.api.data.curves import HOUR, KEPT_HOURS, Curve, floor
from services.api.data.forecast_models import BandPoint, ErrorOut, ForecastOut
from services.api.store.database import AWAY, Connection, Database
from services.api.store.tenancy import SERVICE
from services.domain.forecast import NEEDED_DAYS, Band, score, seasonal, solar
from services.domain.forecast.seasonal import days_of, midnight, naive

log = structlog.get_logger(__name__)

AHEAD_H = 48
WORDS: dict[str, tuple[LabelOut, str]] = {
    "power": (LabelOut(zh="用电量", en="Electricity"), "kWh"),
    "water": (LabelOut(zh="用水量", en="Water"), "m³"),
    "gas": (LabelOut(zh="用气量", en="Gas"), "m³"),
    "pv": (LabelOut(zh="光伏发电量", en="Solar generation"), "kWh"),
    "parking": (LabelOut(zh="停车占用", en="Parking taken"), ""),
    "visits": (LabelOut(zh="设施到访人次", en="Visits to facilities"), ""),
}
_READY = LabelOut(zh="预测可用", en="Ready")
_NOT_MADE = LabelOut(zh="尚未生成，每小时生成一次", en="Not made yet; it is made once an hour")


class Forecaster:
    """Makes what is due, of every community; whoever claims an hour first makes it."""

    def __init__(self, database: Database, every_s: float) -> None:
        self._database = database
        self._every_s = every_s

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.once(datetime.now(UTC))
            except AWAY as error:
                log.warning("forecasts_wait_for_database", why=str(error) or type(error).__name__)
            except Exception:
                log.exception("forecasts_not_made")

    async def once(self, now: datetime) -> int:
        async with self._database.read(as_=SERVICE) as connection:
            communities = await store.communities(connection)
        made = 0
        start = floor(now, HOUR) + HOUR
        names = [curve.name for curve in curves.CURVES]
        for community_id in communities:
            async with self._database.read(as_=SERVICE) as connection:
                if await connection.fetchval(store.Q["forecast_due"], community_id, names, start):
                    continue
            for curve in curves.CURVES:
                made += await self._make(community_id, curve, start, now)
        return made

    async def _make(self, community_id: str, curve: Curve, start: datetime, now: datetime) -> bool:
        async with self._database.write(as_=SERVICE) as connection:
            place = await connection.fetchrow(store.Q["place_of_community"], community_id)
            if place is None:
                return False
            rows = await store.curve_hours(connection, community_id, curve.name, start - KEPT_HOURS, start)
            history = {at: value for at, value in rows if value is not None}
            zone = ZoneInfo(place["timezone"])
            bands = await asyncio.to_thread(_bands, curve, history, start, zone, place["latitude"], place["longitude"])
            days = days_of(history, zone)
            claim = (community_id, curve.name, start, now, days, bool(bands))
            if not await connection.fetchval(store.Q["forecast_claim"], *claim):
                return False
            if bands:
                today = now.astimezone(zone).date()
                hours = sorted(bands)
                await connection.execute(
                    store.Q["put_forecast"], community_id, curve.name, now, hours,
                    [bands[h].p10 for h in hours], [bands[h].p50 for h in hours], [bands[h].p90 for h in hours],
                    [h.astimezone(zone).date() > today for h in hours],
                )  # fmt: skip
            await connection.execute(store.Q["drop_forecasts"], community_id, now - KEPT_HOURS)
        return True


def _bands(
    curve: Curve, history: dict[datetime, float], start: datetime, zone: ZoneInfo, latitude: float, longitude: float
) -> dict[datetime, Band] | None:
    if curve.name == "pv":
        return solar(history, start, AHEAD_H, zone, latitude, longitude)
    return seasonal(history, start, AHEAD_H, zone)


async def shown(connection: Connection, community_id: str, name: str, now: datetime, *, points: bool) -> ForecastOut:
    """As it is kept. The actual hours since the last closed one are worked out anew."""
    curve = curves.BY_NAME[name]
    place = await connection.fetchrow(store.Q["place_of_community"], community_id)
    zone = ZoneInfo(place["timezone"])
    today = now.astimezone(zone).date()
    begin, day = midnight(today - timedelta(days=1), zone), midnight(today, zone)
    last = floor(now, HOUR)
    rows = await store.curve_hours(connection, community_id, name, begin - timedelta(days=8), last)
    known_to = rows[-1][0] + HOUR if rows else last
    actual = {at: value for at, value in rows if value is not None}
    if points and known_to < last:
        actual |= dict(await curves.hours(connection, community_id, curve, known_to, last))
    made = {row["curve"]: row for row in await connection.fetch(store.Q["forecast_made"], community_id)}.get(name)
    kept = await connection.fetch(store.Q["forecast_hours"], community_id, name, begin)
    before = {r["hour"]: Band(r["day_p10"], r["day_p50"], r["day_p90"]) for r in kept if r["day_p50"] is not None}
    newest = {r["hour"]: Band(r["p10"], r["p50"], r["p90"]) for r in kept}
    foretold = {h: before.get(h, band) if h < last else band for h, band in newest.items()}
    label, unit = WORDS[name]
    days = made["history_days"] if made else 0
    status = "not_made_yet" if made is None else "ready" if made["ready"] else "not_enough_history"
    return ForecastOut(
        name=name,
        unit=unit,
        label=label,
        status=status,
        detail=_detail(status, days),
        history_days=days,
        needed_days=NEEDED_DAYS,
        made_at=made["made_at"] if made else None,
        points=[_point(h, band) for h, band in sorted(foretold.items())] if points else [],
        actual=_actual(actual, begin, last) if points else [],
        yesterday=_yesterday(actual, before, begin, day, zone),
    )


def _detail(status: str, days: int) -> LabelOut:
    if status == "ready":
        return _READY
    if status == "not_made_yet":
        return _NOT_MADE
    return LabelOut(
        zh=f"历史数据不足：已有 {days} 天，需要 {NEEDED_DAYS} 天",
        en=f"Not enough history: {days} days of {NEEDED_DAYS} needed",
    )


def _point(hour: datetime, band: Band) -> BandPoint:
    return BandPoint(ts_ms=_ms(hour), p10=round(band.p10, 3), p50=round(band.p50, 3), p90=round(band.p90, 3))


def _actual(actual: dict[datetime, float], begin: datetime, end: datetime) -> list[Point]:
    hours = [begin + n * HOUR for n in range(int((end - begin) / HOUR))]
    return [Point(ts_ms=_ms(hour), value=actual.get(hour)) for hour in hours]


def _yesterday(
    actual: dict[datetime, float], before: dict[datetime, Band], begin: datetime, day: datetime, zone: ZoneInfo
) -> ErrorOut | None:
    of_day = {hour: value for hour, value in actual.items() if begin <= hour < day}
    found = score(of_day, before)
    if not found.hours:
        return None
    plain = score(of_day, naive(actual, begin, int((day - begin) / HOUR)))
    return ErrorOut(
        day=begin.astimezone(zone).date(),
        hours=found.hours,
        wape=_round(found.wape),
        mape=_round(found.mape),
        coverage=_round(found.coverage),
        naive_wape=_round(plain.wape),
    )


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
