"""A past for the small community: what its tiles show now, and weeks of use that a forecast is made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.api.data.forecasting import Forecaster
from services.api.store.database import Database
from tests.api_data import set_state
from tests.api_server import connect
from tests.browser.kit import World

_HOURS = """
INSERT INTO curve_hour (community_id, curve, bucket, value)
SELECT $1, 'power', h, 60 + 40 * sin(extract(hour FROM h)::float8 / 3.8) + extract(day FROM h)::float8 / 10
FROM generate_series($2::timestamptz, $3, interval '1 hour') AS h
"""


async def fill_tiles(world: World) -> None:
    """One space left of one, one full bin, people in a hall; power foretold a day ago and now, all else too young."""
    id = world.community.id
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    connection = await connect(world.database_url)
    database = Database(world.database_url, connections=2, timeout_s=60)
    await database.open()
    try:
        await set_state(connection, f"{id}-environment-1", temperature=11.4, humidity=63, pm2_5=61, pm10=88, noise=52)
        await set_state(connection, f"{id}-parking_sensor-1", occupied=1)
        await set_state(connection, f"{id}-parking_sensor-2", occupied=0)
        await set_state(connection, f"{id}-bin-1", fill=94)
        await set_state(connection, f"{id}-people_counter-1", **{"in": 240.0, "out": 202.0, "inside": 38.0})  # type: ignore[arg-type]
        await set_state(connection, f"{id}-pv_inverter-1", power=10_000, grid_export=4_000)
        await connection.execute("DELETE FROM forecast_made WHERE community_id = $1", id)
        await connection.execute("DELETE FROM curve_hour WHERE community_id = $1 AND curve = 'power'", id)
        forecaster = Forecaster(database, 3600)
        await connection.execute(_HOURS, id, hour - timedelta(days=40), hour - timedelta(days=2))
        await forecaster.once(now - timedelta(days=2))
        await connection.execute(_HOURS, id, hour - timedelta(hours=47), hour - timedelta(hours=1))
        await forecaster.once(now)
    finally:
        await database.close()
        await connection.close()
