"""`linhub identity`: keeps the broker's password file and access list as the registry says, and watches the broker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import structlog
import typer
from pydantic import Field

from services.adapters import observe, postgres
from services.adapters.broker_figures import HEALTH_ACCOUNT
from services.adapters.broker_identity import (
    ACCESS_FILE,
    IDENTITY_ACCOUNT,
    SERVICE_ACCOUNTS,
    new_secret,
    next_end_s,
    password_file,
    secret_hash,
    service_lines,
    write_files,
    write_password_file,
)
from services.adapters.mqtt import Address
from services.adapters.queries import Queries
from services.adapters.settings import ServiceSettings, from_environment
from services.adapters.shut_out import NotAdmitted, ShutOut, end_sessions, end_states
from services.cli.broker_watch import BrokerLimits, BrokerWatch
from services.cli.init import password_variable

log = structlog.get_logger(__name__)

Q = Queries(Path(__file__).with_name("identity.sql"))

RETRY_S = 1.0
SETTLE_S = 0.2
"""A registry import says `registry` many times; one file afterwards is enough."""
BUSY_SHARE = 2
"""Writing takes at most one part in so many plus one of the time, however often the registry changes."""
LOOK_BACK_DAYS = 30
"""At its start the watcher ends what was shut out while nobody watched, so far back."""


class IdentitySettings(ServiceSettings):
    """`mqtt_url`: the broker's listener for services; without it a cut device's online state is left as it was."""

    mqtt_url: str | None = None
    broker_data: Path | None = None
    """The broker's folder, to be looked at only."""
    broker_queue_messages: int = Field(default=BrokerLimits().queue_messages, gt=0)
    broker_queue_bytes: int = Field(default=BrokerLimits().queue_bytes, gt=0)
    broker_save_s: float = Field(default=BrokerLimits().save_s, gt=0)

    @property
    def limits(self) -> BrokerLimits:
        return BrokerLimits(
            queue_messages=self.broker_queue_messages, queue_bytes=self.broker_queue_bytes, save_s=self.broker_save_s
        )


def service_hashes(environment: Mapping[str, str]) -> dict[str, str]:
    """Hashes of the service accounts' passwords. Raises KeyError with the first variable that is not set."""
    passwords = {account: environment.get(password_variable(account), "") for account in SERVICE_ACCOUNTS}
    for account, password in passwords.items():
        if not password:
            raise KeyError(password_variable(account))
    return {account: secret_hash(password) for account, password in passwords.items()}


async def write(database_url: str, file: Path, services: Mapping[str, str]) -> int:
    """The file, once, as the registry stands. Waits for the database and its schema; how many may log in."""
    async with await postgres.open_pool(database_url, name="linhub-identity", max_size=1) as pool:
        return await write_password_file(pool, file, services)


async def watch(database_url: str, file: Path, services: Mapping[str, str], broker: Address | None = None) -> None:
    """The file as the registry stands, until cancelled; a database that goes away is waited for."""
    keeper = _Keeper(file, services, broker)
    while True:
        try:
            await _follow(database_url, keeper)
        except postgres.RETRYABLE as error:
            log.warning("waiting_for_database", why=str(error) or type(error).__name__)
            await asyncio.sleep(RETRY_S)


class _Keeper:
    """Writes the file where it differs, and ends the online states of whom it no longer lets in."""

    def __init__(self, file: Path, services: Mapping[str, str], broker: Address | None) -> None:
        self._file = file
        self._services = dict(services)
        self._broker = broker
        self._secret = ""
        self._line = b""
        """Our own account's, as it was written last."""
        self._owed: dict[str, ShutOut] = {}
        self._sessions: set[str] = set()
        """Of platforms that are shut out, with what waits in them."""
        self._looked_back = False

    async def write(self, db: Any) -> None:
        began = time.monotonic()
        fresh = await password_file(db, self._services)
        before = await asyncio.to_thread(_read, self._file)
        # Without the one line that is new each time, an equal file is not written: it would make the broker read it.
        same = _without(before, IDENTITY_ACCOUNT) == fresh.content and not self._unknown(before)
        same = same and self._file.with_name(ACCESS_FILE).is_file()
        shut = [] if same else await asyncio.to_thread(fresh.shut_out, before)
        # Asked before the broker knows: whoever comes back with a new secret has a newer session than this.
        await self._owe(db, shut)
        if same:
            return
        if self._broker is not None:
            self._sessions |= set(fresh.platforms_out(before))
        if self._broker is not None:
            self._secret = new_secret()
            ours = {IDENTITY_ACCOUNT: secret_hash(self._secret)}
            self._line = service_lines(ours)
            fresh = replace(fresh, services=service_lines({**self._services, **ours}))
        await asyncio.to_thread(write_files, self._file, fresh, 0o600)
        took_ms = round((time.monotonic() - began) * 1000)
        log.info("identity_written", accounts=fresh.accounts, shut_out=len(shut), took_ms=took_ms, file=str(self._file))

    def _unknown(self, content: bytes) -> bool:
        """Whether the broker that reads this lets nobody in by our secret."""
        return self._broker is not None and (not self._line or self._line not in content)

    async def replaced(self) -> bool:
        """Whether somebody else wrote the file since: a broker that starts anew begins with its own accounts."""
        return self._unknown(await asyncio.to_thread(_read, self._file))

    async def _owe(self, db: Any, ids: list[str]) -> None:
        if self._broker is None:
            return
        rows = await db.fetch(Q["shut_out"], ids) if ids else []
        if not self._looked_back:
            rows += await db.fetch(Q["shut_out_lately"], LOOK_BACK_DAYS)
            self._looked_back = True
        for row in rows:
            self._owed[row["id"]] = ShutOut(**row)

    async def settle(self) -> bool:
        """Whether nothing is owed any more. The broker may be away: it is asked again."""
        if self._broker is None or not (self._owed or self._sessions):
            return True
        owed, sessions = list(self._owed.values()), sorted(self._sessions)
        try:
            ended = await asyncio.to_thread(end_states, self._broker, self._secret, owed)
            await asyncio.to_thread(end_sessions, self._broker, self._secret, sessions)
        except NotAdmitted as error:
            log.warning("waiting_for_broker", why=str(error), devices=len(owed), platforms=len(sessions))
            return False
        self._sessions.difference_update(sessions)
        for device in owed:
            if self._owed.get(device.id) is device:
                del self._owed[device.id]
        log.info("shut_out", devices=len(owed), states_ended=ended, platforms=len(sessions))
        return True


async def _follow(database_url: str, keeper: _Keeper) -> None:
    """Listens first and reads then, so no change falls between. Raises when the connection is lost."""
    changed, lost = asyncio.Event(), asyncio.Event()
    changed.set()

    def hear(*_: Any) -> None:
        changed.set()

    def gone(_: Any) -> None:
        lost.set()
        changed.set()

    async with (
        await postgres.open_pool(database_url, name="linhub-identity", max_size=1) as pool,
        postgres.listening(pool, {"registry": hear}, gone) as db,
    ):
        settled = True
        while True:
            # A login of a platform that ends by itself changes nothing in the registry: nobody would say so.
            ends_s = await next_end_s(db)
            wait_s = ends_s if settled else min(RETRY_S, ends_s or RETRY_S)
            try:
                await asyncio.wait_for(changed.wait(), wait_s)
            except TimeoutError:
                if wait_s == ends_s:
                    changed.set()
            if lost.is_set():
                raise asyncpg.InterfaceError("the connection was lost")
            if changed.is_set():
                await asyncio.sleep(SETTLE_S)
                changed.clear()
                began = time.monotonic()
                await keeper.write(db)
                took_s = time.monotonic() - began
                settled = await keeper.settle()
                await asyncio.sleep(BUSY_SHARE * took_s)
            else:
                settled = await keeper.settle()
                if not settled and await keeper.replaced():
                    changed.set()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _without(content: bytes, account: str) -> bytes:
    start = content.find(f"{account}:".encode())
    if start < 0 or (start and content[start - 1 : start] != b"\n"):
        return content
    return content[:start] + content[content.index(b"\n", start) + 1 :]


async def serve(settings: IdentitySettings, file: Path, services: Mapping[str, str], broker: Address | None) -> None:
    """`watch`, and a watch over the broker itself beside it, whose findings the health page shows."""
    if broker is None:
        await watch(settings.database_url, file, services)
        return
    over = BrokerWatch(broker, os.environ[password_variable(HEALTH_ACCOUNT)], settings.limits, settings.broker_data)
    async with observe.serve_health(settings.health_host, settings.health_port, over.why), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch(settings.database_url, file, services, broker))
        tasks.create_task(over.run())


async def _until_stopped(work: Coroutine[Any, Any, Any]) -> None:
    """`work` to its end, or to SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def register(app: typer.Typer) -> None:
    @app.command()
    def identity(
        file: Annotated[Path, typer.Option(help="The password file that mosquitto reads.")],
        keep: Annotated[
            bool, typer.Option("--watch", help="Stay, and write it again when the registry changes.")
        ] = False,
    ) -> None:
        """Write the broker's password file from the registry's device credentials and the service accounts."""
        settings = from_environment(IdentitySettings)
        observe.configure_logging("identity", settings.log_level, settings.log_format == "json")
        try:
            services = service_hashes(os.environ)
        except KeyError as error:
            typer.echo(f"linhub: {error.args[0]} is not set; `linhub init` writes it", err=True)
            raise typer.Exit(2) from None
        if not keep:
            asyncio.run(_until_stopped(write(settings.database_url, file, services)))
            return
        try:
            broker = Address.parse(settings.mqtt_url) if settings.mqtt_url else None
        except ValueError as error:
            typer.echo(f"linhub: LINHUB_MQTT_URL is wrong: {error}", err=True)
            raise typer.Exit(2) from None
        asyncio.run(_until_stopped(serve(settings, file, services, broker)))
