"""What the data routes answer, as a cockpit needs it for being looked at: forecasts take weeks of history to be made.

The routes have tests of their own; here the page is proven on every shape of their answers.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.async_api import BrowserContext, Route

HOUR_MS = 3_600_000

TILES: dict[str, Any] = {
    "environment": {
        "stations": 2, "heard": 2, "temperature": 11.4, "humidity": 63.0, "pm2_5": 61.0, "pm10": 88.0, "noise": 52.0,
        "air": {"aqi": 83, "level": 2, "label": {"zh": "良", "en": "Moderate"}, "primary": "pm2_5", "basis": "24h"},
    },
    "parking": {
        "spaces": 181, "left": 37, "unknown": 2, "long_stays": 4, "long_stay_h": 72, "fire_lanes": 3,
        "fire_lanes_taken": 1, "areas": [{"name": "地面", "spaces": 181, "left": 37, "unknown": 2}],
    },
    "bins": {
        "bins": 24, "full": 2, "full_from": 80.0, "next_full_at": None,
        "fullest": [
            {"device_id": f"b{n}", "name": f"{n}号桶", "place": f"{n}号楼北侧投放点", "fill": fill, "ts": None,
             "online": True, "full_at": None}
            for n, fill in ((3, 94.0), (11, 83.0), (7, 71.0))
        ],
    },
    "facilities": {
        "inside": 46, "visits_today": 312,
        "items": [
            {"device_id": "f1", "name": "社区食堂", "place": "党群中心", "online": True, "ts": None, "inside": 38,
             "capacity": 120, "share": 0.32, "visits_today": 240},
            {"device_id": "f2", "name": "阅览室", "place": "党群中心", "online": True, "ts": None, "inside": 8,
             "capacity": None, "share": None, "visits_today": 72},
        ],
    },
    "pv": {
        "plants": 2, "heard": 2, "power_w": 31_500.0, "export_w": 9_000.0, "self_use_w": 22_500.0,
        "self_use_share": 0.71, "today_kwh": 96.2, "yesterday_kwh": 143.0, "charging_w": 7_000.0, "charging": 1,
        "chargers": 4,
    },
    "use": {
        "power_w": 156_000.0, "electricity_kwh": 2_210.0, "electricity_kwh_before": 2_180.0, "water_m3": 84.2,
        "water_m3_before": 81.0, "gas_m3": 118.0, "gas_m3_before": 121.0,
    },
}  # fmt: skip


def tiles(now: datetime) -> dict[str, Any]:
    at = now.isoformat()
    return {"at": at, **{name: {"ts": at, **tile} for name, tile in TILES.items()}}


def forecast(name: str, now: datetime) -> dict[str, Any]:
    """A curve with a morning and an evening; solar power has too little history, and says so."""
    hour = int(now.timestamp() * 1000) // HOUR_MS * HOUR_MS
    ready = name != "pv"
    middle = [(hour + k * HOUR_MS, 60 + 40 * math.sin(k / 3.8)) for k in range(-36, 37)]
    return {
        "name": name,
        "unit": "kWh" if name in ("power", "pv") else "m³",
        "label": {"zh": name, "en": name},
        "status": "ready" if ready else "not_enough_history",
        "detail": {"zh": "预测需要 14 天历史，已有 3 天", "en": "A forecast needs 14 days of history; there are 3"},
        "history_days": 30 if ready else 3,
        "needed_days": 14,
        "made_at": now.isoformat(),
        "bucket_s": 3600,
        "points": [{"ts_ms": ms, "p10": v * 0.85, "p50": v, "p90": v * 1.15} for ms, v in middle] if ready else [],
        "actual": [{"ts_ms": ms, "value": v * 1.04} for ms, v in middle if ms < hour] if ready else [],
        "yesterday": {
            "day": (now - timedelta(days=1)).date().isoformat(), "hours": 24, "wape": 0.061, "mape": 0.07,
            "coverage": 0.83, "naive_wape": 0.11,
        } if ready else None,
    }  # fmt: skip


async def answer_for_data(context: BrowserContext) -> None:
    """Every page of the context has tiles and forecasts, and marks on the line of the past."""

    async def answered(route: Route, body: Any) -> None:
        await route.fulfill(status=200, content_type="application/json", body=json.dumps(body))

    async def to_tiles(route: Route) -> None:
        await answered(route, tiles(datetime.now(UTC)))

    async def to_forecast(route: Route) -> None:
        await answered(route, forecast(route.request.url.rsplit("/", 1)[-1], datetime.now(UTC)))

    async def to_marks(route: Route) -> None:
        now = datetime.now(UTC)
        marks = [
            {"at": (now - timedelta(hours=hours)).isoformat(), "severity": severity, "title": None}
            for hours, severity in ((2, "critical"), (7, "major"), (15, "minor"))
        ]
        await answered(route, {"marks": marks})

    async def to_replay(route: Route) -> None:
        """The snapshot of now with nothing open in it: how it was before anything happened."""
        snapshot = await route.fetch(url=re.sub(r"/replay\?.*", "/snapshot", route.request.url))
        body = await snapshot.json()
        past = {"at": body["at"], "kept_from": None, "devices": body["devices"], "kpis": body["kpis"]["items"]}
        await answered(route, {**past, "alerts": [], "orders": []})

    await context.route(re.compile(r"/tiles$"), to_tiles)
    await context.route(re.compile(r"/forecasts/\w+$"), to_forecast)
    await context.route(re.compile(r"/replay/marks\?"), to_marks)
    await context.route(re.compile(r"/replay\?"), to_replay)
