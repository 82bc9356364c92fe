"""`linhub rules backtest`: what rules would have said over stored history, with the engine that runs live."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.adapters.history.backtest import Backtested, Plan, backtest
from services.adapters.history.books import CURRENT, named
from services.adapters.history.stream import Way
from services.adapters.rules import KINDS
from services.cli.home import tr
from services.cli.rules_history import (
    CommunityOption,
    Connection,
    DeadlineOption,
    FromOption,
    JsonOption,
    LinesOption,
    MemoryOption,
    SampleOption,
    Time,
    ToOption,
    WayOption,
    bound,
    caveats,
    looked_at,
    moving,
    only_community,
    run,
    stopper,
    time_of,
)
from services.domain.proof.backtest import figures, told

MOST_TOLD = 10_000
"""Alerts listed one by one in JSON; the figures are of all."""


def span_said(seconds: float) -> str:
    """`2h05m`, `45s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def result(done: Backtested, at: Time, private: bool = True) -> dict[str, Any]:
    """As JSON; of several rulebooks the first."""
    book = done.books[0]
    counted = [alert for alert in book.alerts if at.span.counts(alert)]
    return {
        **looked_at(done, at),
        "cut": book.cut,
        **figures(book.alerts, at.span, done.devices),
        "list": [told(alert, private) for alert in counted[:MOST_TOLD]],
    }


def register(rules: typer.Typer) -> None:
    @rules.command("backtest")
    def command(
        begin: FromOption,
        end: ToOption = None,
        community: CommunityOption = None,
        book: Annotated[
            str, typer.Option("--rules", help="current, default, 规则@版本 rule@version, 或文件 or a file.")
        ] = CURRENT,
        way: WayOption = Way.AUTO,
        deadline: DeadlineOption = None,
        as_json: JsonOption = False,
        lines: LinesOption = False,
        sample: SampleOption = None,
        memory_mb: MemoryOption = None,
    ) -> None:
        """What these rules would have said: alerts, orders a day, what was held back, the longest."""
        bound(memory_mb)
        stop = stopper(deadline)

        async def work(connection: Connection) -> tuple[Backtested, Time]:
            where, zone = await only_community(connection, community)
            at = time_of(begin, end, zone)
            rulebook, only = await named(connection, where, book)
            plan = Plan(where, at.begin, at.end, way, only=only or None, sample=sample)
            with moving(tr("backtest", "回测"), lines) as progress:
                return await backtest(connection, plan, [rulebook], KINDS, progress, stop), at

        done, at = run(work)
        if as_json or lines:
            typer.echo(
                json.dumps(
                    {"result": result(done, at, private=False)} if lines else result(done, at), ensure_ascii=False
                )
            )
        else:
            _show(done, at)


def _show(done: Backtested, at: Time) -> None:
    said = figures(done.books[0].alerts, at.span, done.devices)
    table = Table(title=f"{done.community.id} · {at.begin:%Y-%m-%d %H:%M} – {at.end:%Y-%m-%d %H:%M}")
    table.add_column(tr("rule", "规则"))
    for column in (
        tr("alerts", "告警"),
        tr("orders a day", "工单/天"),
        tr("held back", "已抑制"),
        tr("still open", "未恢复"),
        tr("longest", "最长"),
    ):
        table.add_column(column, justify="right")
    rules = sorted(said["rules"].items(), key=lambda entry: (-entry[1]["orders"], -entry[1]["alerts"], entry[0]))
    for rule, one in [*rules, (tr("all", "合计"), said)]:
        table.add_row(
            rule,
            str(one["alerts"]),
            f"{one['orders_a_day']:g}",
            str(one["suppressed"]),
            str(one["open"]),
            span_said(one["longest_s"]),
            end_section=rule == (rules[-1][0] if rules else None),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        tr(
            f"{said['alerts_a_day_per_1000']:g} alerts and {said['orders_a_day_per_1000']:g} orders "
            "a day per 1,000 devices; "
            f"{done.source.items:,} items of {done.devices} devices, from the {done.source.way.value}; "
            f"{said['standing_before']} alerts stood before",
            f"每千台设备每天 {said['alerts_a_day_per_1000']:g} 条告警、{said['orders_a_day_per_1000']:g} 张工单；"
            f"{done.devices} 台设备 {done.source.items:,} 条数据，来源 {done.source.way.value}；"
            f"此前已有 {said['standing_before']} 条",
        )
    )
    for line in caveats(done, at):
        console.print(f"· {line}", style="dim", markup=False)
