"""`linhub identity`: keeps the broker's password file equal to the registry's credentials."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import structlog
import typer

from services.adapters import observe, postgres
from services.adapters.broker_identity import SERVICE_ACCOUNTS, secret_hash, write_password_file
from services.adapters.settings import ServiceSettings, from_environment
from services.cli.init import password_variable

log = structlog.get_logger(__name__)

RETRY_S = 1.0
SETTLE_S = 0.2
"""A registry import says `registry` many times; one file afterwards is enough."""


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


async def watch(database_url: str, file: Path, services: Mapping[str, str]) -> None:
    """The file as the registry stands, until cancelled; a database that goes away is waited for."""
    while True:
        try:
            await _follow(database_url, file, services)
        except postgres.RETRYABLE as error:
            log.warning("waiting_for_database", why=str(error) or type(error).__name__)
            await asyncio.sleep(RETRY_S)


async def _follow(database_url: str, file: Path, services: Mapping[str, str]) -> None:
    """Listens first and reads then, so no change falls between. Raises when the connection is lost."""
    changed, lost = asyncio.Event(), asyncio.Event()
    changed.set()

    def hear(*_: Any) -> None:
        changed.set()

    def gone(_: Any) -> None:
        lost.set()
        changed.set()

    async with await postgres.open_pool(database_url, name="linhub-identity", max_size=1) as pool, pool.acquire() as db:
        db.add_termination_listener(gone)
        await db.add_listener("registry", hear)
        try:
            while True:
                await changed.wait()
                if lost.is_set():
                    raise asyncpg.InterfaceError("the connection was lost")
                await asyncio.sleep(SETTLE_S)
                changed.clear()
                count = await write_password_file(db, file, services)
                log.info("identity_written", accounts=count, file=str(file))
        finally:
            db.remove_termination_listener(gone)
            if not db.is_closed():
                await db.remove_listener("registry", hear)


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
        settings = from_environment(ServiceSettings)
        observe.configure_logging("identity", settings.log_level, settings.log_format == "json")
        try:
            services = service_hashes(os.environ)
        except KeyError as error:
            typer.echo(f"linhub: {error.args[0]} is not set; `linhub init` writes it", err=True)
            raise typer.Exit(2) from None
        work = watch if keep else write
        asyncio.run(_until_stopped(work(settings.database_url, file, services)))
