"""The whole loop on real parts: a device publishes, ingest commits, the engine opens an order, the stream shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from bench.loop import measure, render
from services.alerts.main import run as run_alerts
from services.alerts.settings import AlertSettings
from services.ingest.main import run as run_ingest
from services.ingest.settings import IngestSettings
from tests.api_server import api_server
from tests.conftest import Mqtt
from tests.factory import PASSWORD, put_community, secret_of, small_community
from tests.ingest_kit import client_prefix

Run = Callable[[Any, asyncio.Event, Callable[[int], None]], Coroutine[Any, Any, None]]


@asynccontextmanager
async def service(run: Run, settings: Any) -> AsyncIterator[None]:
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(run(settings, stop, lambda _: ready.set()))
    try:
        async with asyncio.timeout(60):
            await ready.wait()
        yield
    finally:
        stop.set()
        await task


async def test_loop_turns_alarms_into_orders_on_the_stream_and_loses_none(database_url: str, mqtt: Mqtt) -> None:
    await put_community(database_url, small_community("loop-bench"))
    device = "loop-bench-gas_alarm-1"
    mqtt.admit({device: secret_of(device)})
    ingest = IngestSettings(
        database_url=database_url,
        mqtt_url=mqtt.url,
        worker="loop-bench",
        mqtt_client_prefix=client_prefix(database_url),
    )
    async with (
        service(run_ingest, ingest),
        service(run_alerts, AlertSettings(database_url=database_url)),
        api_server(database_url) as url,
    ):
        figures = await measure(
            database_url=database_url,
            api_url=url,
            username="desk",
            password=PASSWORD,
            mqtt_host=mqtt.host,
            mqtt_port=mqtt.device_port,
            device_id=device,
            device_secret=secret_of(device),
            community="loop-bench",
            events=10,
        )
    assert (figures.seen, figures.lost) == (10, 0)
    assert 0 < figures.committed_p50_ms < figures.seen_p50_ms < 2000
    assert "10 of 10" in render(figures)
