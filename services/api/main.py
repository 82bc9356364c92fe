"""The API service: composed, served, drained."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import structlog
import uvloop

from services.adapters.ending import ended
from services.adapters.observe import configure_logging, serve
from services.adapters.postgres import refusal_said
from services.adapters.settings import from_environment, refuse
from services.adapters.steady_clock import SteadyClock
from services.api.access.clients import Clients
from services.api.access.credentials import Credentials
from services.api.access.oidc import Oidc
from services.api.app import create_app, warm
from services.api.context import Context
from services.api.data.curves import CurveKeeper
from services.api.data.forecasting import Forecaster
from services.api.identity.auth import Auth
from services.api.identity.gate import Gate
from services.api.identity.hashing import Hashing
from services.api.identity.lifetimes import lifetimes
from services.api.identity.lockout import Policies
from services.api.identity.tokens import Tokens
from services.api.identity.upkeep import Upkeep
from services.api.live.hub import Hub, HubSettings
from services.api.live.pictures import Gallery, KpiBoard
from services.api.people.baselines import Baselines
from services.api.privacy.anchoring import Anchoring
from services.api.privacy.audit import Watchers
from services.api.privacy.forgetting import Forgetting
from services.api.routes.series import FRESH_S
from services.api.rules.proofs import Proofs, history_estimate
from services.api.settings import ApiSettings
from services.api.store.database import Database, TenantLoginError
from services.api.uploads.intake import Intake
from services.api.web.cache import Cache
from services.api.web.limits import Rate, ReportLimit
from services.api.web.static import Cockpit

log = structlog.get_logger(__name__)

OnReady = Callable[[int], None]


def compose(settings: ApiSettings) -> Context:
    database = Database(
        settings.database_url,
        tenant_url=settings.api_database_url,
        connections=settings.database_connections,
        service_connections=settings.database_service_connections,
        timeout_s=settings.query_timeout_s,
    )
    auth = Auth(
        database,
        tokens=Tokens(settings.keys, settings.access_s),
        gate=Gate(database, Policies.of(settings.login_failures), settings.login_contact),
        hashing=Hashing(settings.password_memory_kib, settings.password_passes),
        lifetimes=lifetimes(settings.session_limits),
        check_s=settings.session_check_s,
        requests_per_min=settings.auth_requests_per_min,
    )
    cockpit = Cockpit(settings.cockpit_dir)
    live = HubSettings(
        heartbeat_s=settings.heartbeat_s,
        session_check_s=settings.session_check_s,
        device_poll_s=settings.device_poll_s,
        queue_bytes=settings.stream_queue_bytes,
    )
    idle = timedelta(days=settings.display_idle_days)
    credentials = Credentials(database, auth, check_s=settings.session_check_s, display_idle=idle)
    board = KpiBoard(database)
    hub = Hub(database, credentials, live, cockpit.build, board)
    clock = SteadyClock(settings.clock_hold_s, settings.clock_file)
    watchers, proofs = Watchers(database), Proofs(database)
    intake = Intake(settings, settings.secret_key.get_secret_value())
    return Context(
        settings,
        database,
        auth,
        credentials,
        hub,
        cockpit,
        Cache(FRESH_S),
        watchers,
        clock,
        proofs,
        ReportLimit(
            account=Rate.of(settings.reports_per_hour_account),
            address=Rate.of(settings.reports_per_hour_address),
            community=Rate.of(settings.reports_per_hour_community),
        ),
        Forgetting(database, clock, settings.report_contact_days),
        intake,
        Upkeep(database),
        Gallery(database, board, cockpit.build),
        estimate=history_estimate,
        clients=Clients(database, auth, credentials, settings.access_s),
        oidc=Oidc.of(settings, auth, database),
    )


async def run(settings: ApiSettings, stop: asyncio.Event, on_ready: OnReady) -> None:
    """Serves until `stop`. Answers 503 while there is no database; `on_ready` gets the port once there is one."""
    context = compose(settings)

    def waiting() -> str | None:
        return context.database.waiting or context.hub.waiting

    app = create_app(context, waiting)
    await warm(app)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(context.database.close)
        port = await stack.enter_async_context(
            serve(
                app,
                settings.http_host,
                settings.http_port,
                proxies=settings.forwarded_allow_ips,
            )
        )
        stack.callback(context.hub.close)  # before the server waits for its connections to end
        working = asyncio.create_task(_work(context, port, on_ready))
        stack.push_async_callback(_end, working)
        stopping = asyncio.create_task(stop.wait())
        stack.callback(stopping.cancel)
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        log.info("api_stopping")


async def _work(context: Context, port: int, on_ready: OnReady) -> None:
    """Opens the database, then keeps the live hub going."""
    await context.database.open()
    async with asyncio.TaskGroup() as group:
        group.create_task(context.hub.run())
        group.create_task(context.clock.keep())
        for name, run in (
            ("proofs", context.proofs.run),
            ("forgetting", context.forgetting.run),
            ("anchoring", Anchoring(context.database, context.settings.audit_anchor_s).run),
            ("upkeep", context.upkeep.run),
            ("curves", CurveKeeper(context.database, context.settings.curves_every_s, rest=1.0).run),
            ("forecasts", Forecaster(context.database, context.settings.curves_every_s).run),
            ("baselines", Baselines(context.database, context.clock).run),
        ):
            group.create_task(_beside(name, run))
        await context.hub.started.wait()
        log.info("api_ready", port=port)
        on_ready(port)


async def _beside(name: str, run: Callable[[], Awaitable[None]], again_s: float = 30.0) -> None:
    """Work that nobody waits for. What goes wrong in it is said, and it begins anew: requests and streams go on."""
    while True:
        try:
            await run()
            return
        except Exception:
            log.exception("work_failed", work=name, again_in_s=again_s)
        await asyncio.sleep(again_s)


async def _end(task: asyncio.Task[None]) -> None:
    await ended([task], again_s=4.0)
    with contextlib.suppress(asyncio.CancelledError):
        task.result()


def settle(_: int = 0) -> None:
    """What is there at the start stays to the end: the collector need not walk it again and again, which stops every
    request for a tenth of a second. Only for a process that is this service and nothing else: frozen rings stay."""
    gc.collect()
    gc.freeze()


async def _main(settings: ApiSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop, settle)


def main() -> None:
    settings = from_environment(ApiSettings)
    configure_logging("api", settings.log_level, settings.log_format == "json")
    try:
        with refusal_said():
            uvloop.run(_main(settings))
    except* TenantLoginError as errors:
        for error in errors.exceptions:
            if isinstance(error, TenantLoginError):
                refuse(error.setting, str(error))


if __name__ == "__main__":
    main()
