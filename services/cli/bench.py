"""`linhub bench`: measures this machine with the real parts."""

from __future__ import annotations

import asyncio
import importlib
import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

bench = typer.Typer(help="测量本机性能 · Measure this machine.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(bench, name="bench")
    try:
        loop: Any = importlib.import_module("bench.loop")
    except ModuleNotFoundError:
        return
    if hasattr(loop, "register"):
        loop.register(bench)


@bench.command()
def ingest(
    seconds: Annotated[float, typer.Option(min=1, help="发布时长 · How long to publish")] = 10.0,
    messages: Annotated[int | None, typer.Option(min=1, help="改为发布条数 · So many messages instead")] = None,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="每条消息的读数组 · Readings sets a message")] = 1,
    devices: Annotated[int, typer.Option(min=8, help="设备数 · Devices")] = 5000,
    workers: Annotated[int, typer.Option(min=1, max=16, help="采集进程数 · Ingest processes")] = 1,
    alerts: Annotated[bool, typer.Option(help="同时运行告警引擎 · With the alert engine running")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON · Print JSON")] = False,
) -> None:
    """采集吞吐 · Messages stored a second, lost, doubled, and CPU by process."""
    from bench.ingest import measure
    from bench.servers import bench_servers

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with bench_servers() as servers, Progress(*columns, console=console, transient=True, disable=as_json) as progress:
        task = progress.add_task("准备 · preparing")

        def stored(count: int) -> None:
            progress.update(task, description=f"{count:,} 条已入库 · messages stored")

        result = asyncio.run(
            measure(
                servers,
                seconds=seconds,
                messages=messages,
                batch=batch,
                devices=devices,
                alerts=alerts,
                workers=workers,
                progress=stored,
            )
        )
    if as_json:
        typer.echo(json.dumps(asdict(result)))
    else:
        _show(result)
    if result.lost or result.duplicates:
        raise typer.Exit(1)


def _show(result: Any) -> None:
    table = Table(title="linhub bench ingest", show_header=False)
    table.add_row("消息/秒 · messages/s", f"{result.messages_per_s:,}")
    table.add_row("读数/秒 · readings/s", f"{result.readings_per_s:,}")
    table.add_row("已入库 · stored", f"{result.messages:,} × {result.readings_per_message}, {result.seconds} s")
    table.add_row("丢失 · lost", str(result.lost))
    table.add_row("重复 · duplicates", str(result.duplicates))
    table.add_row("拒绝 · rejected", str(result.rejected))
    behind = "–" if result.alerts_behind_s is None else f"{result.alerts_behind_s} s"
    table.add_row("告警滞后 · alerts behind", behind)
    table.add_row("采集进程 · workers", str(result.workers))
    for who, spent in result.cpu_us_per_message.items():
        table.add_row(f"CPU {who}", "–" if spent is None else f"{spent} µs")
    table.add_row("核数 · cores", str(result.cores))
    table.add_row("命令 · command", result.command)
    Console().print(table)
