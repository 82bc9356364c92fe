"""`linhub meter`: what people know of a meter and it cannot say: that it was swapped, and what it is built for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

import asyncpg
import typer

from services.adapters.queries import Queries
from services.cli.home import database_url, find_home
from services.domain.devices import BY_NAME
from services.domain.devices.kind import MetricType

Q = Queries.beside(__file__)
Connection: TypeAlias = "asyncpg.Connection[Any]"

DeviceArgument = Annotated[str, typer.Argument(help="设备编号 · the device's id")]
MetricOption = Annotated[str | None, typer.Option(help="Which counter; needed where the device has several.")]


class Refused(Exception):
    """Why it cannot be recorded, for people."""


async def record_swap(
    connection: Connection,
    device: str,
    metric: str | None,
    at: datetime,
    final_old: float,
    initial_new: float,
    by: str,
) -> str:
    """Records that readings from `at` on are a new meter's; the name of the metric. Raises Refused.

    The roll-ups of the hour and the day it falls into are worked out anew by themselves.
    """
    if at > datetime.now(UTC):
        raise Refused("换表时间在将来 · the swap lies in the future")
    if final_old < 0 or initial_new < 0:
        raise Refused("表底数不能为负 · a meter shows nothing below zero")
    no, position, name = await _counter(connection, device, metric)
    added = await connection.fetchval(Q["record_swap"], no, position, at, final_old, initial_new, by)
    if added is None:
        raise Refused(f"该时刻已有换表记录 · a swap of {device} at {at.isoformat()} is recorded already")
    return name


async def rate(
    connection: Connection, device: str, metric: str | None, max_per_h: float | None, modulus: float | None
) -> str:
    """Sets what a device is built for, where that is not what its kind is; None: as the kind. Raises Refused."""
    if any(value is not None and value <= 0 for value in (max_per_h, modulus)):
        raise Refused("须大于零 · must be greater than zero")
    no, position, name = await _counter(connection, device, metric)
    await connection.execute(Q["rate_meter"], no, position, max_per_h, modulus)
    return name


async def _counter(connection: Connection, device: str, metric: str | None) -> tuple[int, int, str]:
    """(device number, position, name) of the counter that is meant."""
    row = await connection.fetchrow(Q["device_kind"], device)
    if row is None:
        raise Refused(f"没有这台设备 · there is no device {device}")
    kind = BY_NAME.get(row["kind"])
    counters = [m.name for m in kind.metrics if m.type is MetricType.COUNTER] if kind else []
    if kind is None or not counters:
        raise Refused(f"{row['kind']} 没有累计量 · a {row['kind']} counts nothing")
    if metric is None and len(counters) > 1:
        raise Refused(f"请用 --metric 指明 · say which with --metric: {', '.join(counters)}")
    name = metric or counters[0]
    if name not in counters:
        raise Refused(f"没有累计量 {name} · its counters are: {', '.join(counters)}")
    position = kind.position(name)
    assert position is not None  # noqa: S101 - it is one of the kind's own
    return row["device_no"], position, name


def _do(work: Callable[[Connection], Awaitable[str]], said: str) -> None:
    try:
        url = database_url(find_home())
    except ValueError as error:
        typer.echo(f"linhub: {error}", err=True)
        raise typer.Exit(2) from None
    if url is None:
        typer.echo("linhub: no database yet: run `linhub up`, or set LINHUB_DATABASE_URL", err=True)
        raise typer.Exit(2)

    async def run() -> str:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    try:
        typer.echo(f"{said}: {asyncio.run(run())}")
    except Refused as error:
        typer.echo(f"linhub: {error}", err=True)
        raise typer.Exit(1) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        typer.echo(f"linhub: the database does not answer: {error or type(error).__name__}", err=True)
        raise typer.Exit(1) from None


def register(app: typer.Typer) -> None:
    meter = typer.Typer(help="Record what a meter cannot say: a swap, its rating.", no_args_is_help=True)
    app.add_typer(meter, name="meter")

    @meter.command()
    def swap(
        device: DeviceArgument,
        final_old: Annotated[float, typer.Option(help="旧表止数 · what the old meter showed last.")],
        initial_new: Annotated[float, typer.Option(help="新表起数 · what the new one showed first.")] = 0.0,
        at: Annotated[
            datetime | None,
            typer.Option(
                help="换表时间 · when, with its offset: 2026-11-20T14:30:00+08:00. Now by default.",
                formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"],
            ),
        ] = None,
        metric: MetricOption = None,
        by: Annotated[str, typer.Option(help="操作人 · who put it in.")] = "cli",
    ) -> None:
        """Record a meter swap: consumption goes on from the old meter to the new one."""
        when = at or datetime.now(UTC)
        _do(lambda c: record_swap(c, device, metric, when, final_old, initial_new, by), "已记录换表 · swap recorded")

    @meter.command(name="rate")
    def rating(
        device: DeviceArgument,
        max_per_h: Annotated[float | None, typer.Option(help="每小时最大量 · the most it counts in an hour.")] = None,
        modulus: Annotated[float | None, typer.Option(help="满度 · where its register starts again from zero.")] = None,
        metric: MetricOption = None,
    ) -> None:
        """Say what one meter is built for; without options, as its kind is."""
        _do(lambda c: rate(c, device, metric, max_per_h, modulus), "已设定 · rated")
