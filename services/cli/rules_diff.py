"""`linhub rules diff A B`: what two rulebooks would have said otherwise over the same stored history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.adapters.history.backtest import Backtested, Plan, backtest
from services.adapters.history.books import BadRules, named
from services.adapters.history.stream import Way
from services.adapters.rules import KINDS
from services.cli.home import tr
from services.cli.rules_backtest import MOST_TOLD
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
    looked_at,
    moving,
    only_community,
    run,
    stopper,
    time_of,
)
from services.domain.ids import CommunityId
from services.domain.proof.backtest import Difference, difference, figures, told
from services.domain.rules.rulebook import Rulebook

_SHOWN = 40


def result(done: Backtested, at: Time, private: bool = True, pairs: Mapping[str, str] | None = None) -> dict[str, Any]:
    """As JSON, `exit` apart: whether they differ."""
    a, b = done.books
    found = difference(a.alerts, b.alerts, at.span, pairs)
    return {
        **looked_at(done, at),
        "devices": done.devices,
        "a": figures(a.alerts, at.span, done.devices),
        "b": figures(b.alerts, at.span, done.devices),
        "same": found.same,
        "added": [told(alert, private) for alert in found.added[:MOST_TOLD]],
        "removed": [told(alert, private) for alert in found.removed[:MOST_TOLD]],
        "moved": [[told(before, private), told(after, private)] for before, after in found.moved[:MOST_TOLD]],
        "changed": [[told(before, private), told(after, private)] for before, after in found.changed[:MOST_TOLD]],
        "counts": _counts(found),
    }


def _counts(found: Difference) -> dict[str, int]:
    return {
        "same": found.same,
        "added": len(found.added),
        "removed": len(found.removed),
        "moved": len(found.moved),
        "changed": len(found.changed),
    }


def pairs_of(written: Sequence[str]) -> dict[str, str]:
    """`trial=live` → of B and of A. Raises BadParameter."""
    pairs: dict[str, str] = {}
    for one in written:
        trial, equals, live = one.partition("=")
        if not (trial and equals and live):
            raise typer.BadParameter(f"{one!r}: write TRIAL=LIVE, two rules")
        pairs[trial] = live
    return pairs


def _check_pairs(pairs: Mapping[str, str], a: Rulebook, b: Rulebook, community: str) -> None:
    """Raises BadRules where a rule that is named is not there: else nothing would differ, and look well."""
    for side, book, wanted in (("B", b, pairs.keys()), ("A", a, pairs.values())):
        kinds = {*book.defaults, *book.communities.get(community, {})}
        known = {rule.id for kind in kinds for rule in book.of_kind(CommunityId(community), kind)}
        if unknown := sorted(set(wanted) - known):
            raise BadRules("\n".join(f"{rule}: there is no such rule in {side}" for rule in unknown))


def register(rules: typer.Typer) -> None:
    @rules.command("diff")
    def command(
        a: Annotated[str, typer.Argument(help="current, default, 规则@版本 rule@version, 或文件 or a file.")],
        b: Annotated[str, typer.Argument(help="同上 · The same.")],
        begin: FromOption,
        end: ToOption = None,
        community: CommunityOption = None,
        way: WayOption = Way.AUTO,
        deadline: DeadlineOption = None,
        as_json: JsonOption = False,
        lines: LinesOption = False,
        sample: SampleOption = None,
        memory_mb: MemoryOption = None,
        pair: Annotated[
            list[str] | None,
            typer.Option(
                metavar="TRIAL=LIVE",
                help="试运行与正式规则对比 · Compare a rule of B with another one of A.",
            ),
        ] = None,
    ) -> None:
        """What B would have said otherwise than A: alerts added, removed, moved, changed. Exit 1 where they differ."""
        bound(memory_mb)
        pairs = pairs_of(pair or ())
        stop = stopper(deadline)

        async def work(connection: Connection) -> tuple[Backtested, Time]:
            where, zone = await only_community(connection, community)
            at = time_of(begin, end, zone)
            first, only_a = await named(connection, where, a)
            second, only_b = await named(connection, where, b)
            _check_pairs(pairs, first, second, where)
            # Both name single rules: only their devices can differ.
            only = only_a | only_b if only_a and only_b and not pairs else None
            with moving(tr("diff", "比较"), lines) as progress:
                plan = Plan(where, at.begin, at.end, way, only=only, sample=sample)
                return await backtest(connection, plan, [first, second], KINDS, progress, stop), at

        done, at = run(work)
        said = result(done, at, private=not lines, pairs=pairs)
        if as_json or lines:
            typer.echo(json.dumps({"result": said} if lines else said, ensure_ascii=False))
        else:
            _show(said)
        if any(count for what, count in said["counts"].items() if what != "same"):
            raise typer.Exit(1)


def _show(said: dict[str, Any]) -> None:
    console = Console(highlight=False)
    sums = Table(title=f"{said['community']} · {said['from'][:16]} – {said['to'][:16]}")
    for column in ("", "A", "B"):
        sums.add_column(column, justify="left" if not column else "right")
    for name, words in (
        ("alerts", tr("alerts", "告警")),
        ("orders_a_day", tr("orders a day", "工单/天")),
        ("suppressed", tr("held back", "已抑制")),
    ):
        sums.add_row(words, f"{said['a'][name]:g}", f"{said['b'][name]:g}")
    console.print(sums)
    counts = said["counts"]
    console.print(
        tr(
            f"{counts['same']} the same, {counts['added']} added, {counts['removed']} removed, "
            f"{counts['moved']} moved, {counts['changed']} changed",
            f"相同 {counts['same']}，新增 {counts['added']}，消失 {counts['removed']}，移动 {counts['moved']}，"
            f"变化 {counts['changed']}",
        )
    )
    for sign, alerts in (("+", said["added"]), ("-", said["removed"])):
        for alert in alerts[:_SHOWN]:
            console.print(f"{sign} {_line(alert)}", markup=False, style="green" if sign == "+" else "red")
    for sign, pairs in (("~", said["moved"]), ("*", said["changed"])):
        for before, after in pairs[:_SHOWN]:
            console.print(f"{sign} {_line(before)} → {_line(after)}", markup=False, style="yellow")
    for line in said["caveats"]:
        console.print(f"· {line}", style="dim", markup=False)


def _line(alert: dict[str, Any]) -> str:
    fired = datetime.fromtimestamp(alert["fired_ms"] / 1000, UTC)
    over = (alert["cleared_ms"] - alert["fired_ms"]) / 1000 if alert["cleared_ms"] is not None else None
    lasted = f"{over:.0f}s" if over is not None else tr("open", "未恢复")
    return f"{alert['raised_by']} {alert['name']} {alert['severity']} {fired:%m-%d %H:%M:%S}Z {lasted}"
