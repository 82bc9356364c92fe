"""`linhub status`: what runs, what it waits for, and what it holds."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.cli.home import find_home, tr
from services.cli.survey import survey

SILENT_S = 5.0
"""A worker that says nothing for so long is about to be replaced."""


def register(app: typer.Typer) -> None:
    @app.command()
    def status(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
        """Show servers, services, devices, ledger, quarantine, alerts and orders. Exit 1 unless all of it is ready."""
        try:
            told = survey(find_home())
        except ValueError as error:
            typer.echo(f"linhub: {error}", err=True)
            raise typer.Exit(2) from None
        if as_json:
            typer.echo(json.dumps(told, indent=1, ensure_ascii=False))
        else:
            show(Console(), told)
        raise typer.Exit(0 if told["ready"] else 1)


def show(console: Console, told: dict[str, Any]) -> None:
    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    if told["running"]:
        line(f"[bold]LinHub 邻枢[/] {told['phase']}  {told['url'] or ''}  [dim]{told['home']}[/]")
    else:
        line(tr(f"LinHub does not run in {told['home']}: `linhub up`", f"LinHub 未在 {told['home']} 运行：`linhub up`"))
    if told["notices"]:
        line(tr("notices", "通知") + f" {told['notices']}")
    if told["city"]:
        line(tr("city platform", "城市平台") + f" {told['city']}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in (tr("part", "部件"), tr("state", "状态"), tr("port", "端口"), tr("restarts", "重启次数")):
        table.add_column(heading)
    for name, server in told["servers"].items():
        good = tr("ready", "就绪") if server["answers"] else tr("no answer", "无应答")
        port = str(server.get("port") or "")
        if devices := server.get("device_port"):
            port += tr(f", devices {devices}", f"，设备 {devices}")
        table.add_row(name, _coloured(server["answers"], good), port, str(server["restarts"] or ""))
    for name, service in told["services"].items():
        good = tr("ready", "就绪") if service["ready"] else escape(str(service["waiting_for"]))
        restarts = str(service["restarts"] or "")
        table.add_row(name, _coloured(service["ready"], good), str(service["port"] or ""), restarts)
    console.print(table)
    _show_broker(line, told["servers"]["broker"])
    _show_contents(line, told["servers"]["database"])


def _show_broker(line: Any, server: dict[str, Any]) -> None:
    if server.get("trouble"):
        line(f"[red]{tr('broker', '消息代理')}: {escape(server['trouble'])}[/]")
    if (figures := server.get("figures")) is None:
        return
    waiting, clients, dropped = figures["waiting"], figures["connected"] or 0, figures["dropped"]
    text = tr(
        f"broker: {clients:,} connected, {waiting:,} messages wait, {figures['stored_bytes'] / 1e6:,.1f} MB",
        f"消息代理：在线连接 {clients:,}，待投递消息 {waiting:,} 条，{figures['stored_bytes'] / 1e6:,.1f} MB",
    )
    lost = tr(f"dropped since its start: {dropped:,}", f"启动以来丢弃：{dropped:,}")
    line(f"{text}; [red]{lost}[/]" if dropped else f"{text}; {lost}")


def _show_contents(line: Any, database: dict[str, Any]) -> None:
    if not database["answers"]:
        line(escape(tr(f"database: {database['error']}", f"数据库：{database['error']}")))
        return
    schema = database["migrations"]
    if schema["error"] or schema["pending"]:
        line(f"[yellow]schema[/] {escape(schema['error'] or 'behind: ' + ', '.join(schema['pending']))}")
        return
    versions = database["versions"]
    line(f"PostgreSQL {versions['server']}, TimescaleDB {versions['timescaledb']}, {versions['bytes'] / 1e6:,.0f} MB")
    if database["compression"]["active"]:
        line(tr("compression of old readings: on", "历史数据压缩：已启用"))
    else:
        edition = database["compression"]["license"]
        line(tr(f"compression of old readings: off ({edition} edition)", f"历史数据压缩：未启用（{edition} 版）"))
    devices, ledger = database["devices"], database["ledger"]
    line(
        tr("devices", "设备")
        + f" {devices['registered']:,}: "
        + tr(
            f"{devices['online']:,} online, {devices['heard_5min']:,} heard from in 5 min",
            f"在线 {devices['online']:,}，5 分钟内有数据 {devices['heard_5min']:,}",
        )
    )
    line(
        tr("messages", "消息")
        + f" {ledger['received']:,} = "
        + " + ".join(f"{ledger[part]:,} {part}" for part in ("stored", "duplicate", "rejected"))
    )
    for worker in database["ingest_workers"]:
        parts = spans(worker["partitions"]) or tr("none", "无")
        quiet = worker["silent_s"]
        silent = f", [red]{tr('silent for', '无心跳')} {quiet:.0f} s[/]" if quiet > SILENT_S else ""
        line(
            tr(f"worker {worker['worker']}: partitions {parts}", f"采集进程 {worker['worker']}：分区 {parts}") + silent
        )
    if database["partitions_unowned"]:
        parts = spans(database["partitions_unowned"])
        line(tr(f"[red]partitions without a worker: {parts}[/]", f"[red]无人接管的分区：{parts}[/]"))
    for heading, group, by in (
        (tr("open alerts", "未解除告警"), database["alerts"], "by_severity"),
        (tr("open orders", "未结工单"), database["orders"], "by_state"),
    ):
        parts = ", ".join(f"{count:,} {name}" for name, count in sorted(group[by].items()))
        line(f"{heading} {group['open']:,}" + (f": {parts}" if parts else ""))
    quarantine = database["quarantine"]
    line(tr("quarantine", "隔离区") + f" {quarantine['total']:,}")
    for row in quarantine["by_reason"]:
        line(f"  {row['count']:>8,} {row['scope']} {row['reason']}")
    for row in quarantine["latest"]:
        # Topic and detail hold what a stranger sent: shown without its markup or control characters.
        what = "".join(c if c.isprintable() else "·" for c in f"{row['topic']}: {row['detail']}")[:160]
        line(f"  [dim]{row['received_at'][:19]} {row['reason']}[/] " + escape(what))


def spans(numbers: list[int]) -> str:
    """`0-3, 7` for 0, 1, 2, 3, 7."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def _coloured(good: bool, text: str) -> str:
    return f"[green]{text}[/]" if good else f"[red]{text}[/]"
