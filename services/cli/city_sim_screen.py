"""What `linhub city-sim listen` shows while it receives."""

from __future__ import annotations

import asyncio
import contextlib

from rich.console import Group
from rich.live import Live
from rich.table import Table

from services.cli.city_sim_book import Book, Figures

_SHOWN = 12


def table(figures: Figures) -> Table:
    rows = Table(title="城市平台 City platform", show_header=False)
    seconds = [
        f"{one:.3f} s" if one is not None else "–" for one in (figures.lag_p50, figures.lag_p99, figures.lag_most)
    ]
    for name, value in (
        ("事件 events", f"{figures.events} (Test: {figures.tests})"),
        ("时延 lag p50 / p99 / max", " / ".join(seconds)),
        ("重复 again", str(figures.again)),
        ("乱序 late", str(figures.late)),
        ("缺版本 missing versions of orders", str(figures.missing)),
        ("缺口 gaps (MQTT)", str(figures.gaps)),
        ("最新序号 newest number", str(figures.last)),
        *((f"拒收 refused: {why}", str(times)) for why, times in figures.refused.items()),
    ):
        rows.add_row(name, value)
    return rows


def screen(book: Book) -> Group:
    lines = Table("收到 came", "类型 type", "对象 subject", "标记 mark", "时延 lag")
    for at, type, subject, mark, lag in book.newest(_SHOWN):
        lines.add_row(at[11:19], type, subject, mark, f"{lag:.3f} s" if lag is not None else "–")
    return Group(table(book.figures()), lines)


async def showing(live: Live, book: Book, stop: asyncio.Event, for_s: float | None) -> None:
    """Until it is told to stop, or so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            while not stop.is_set():
                live.update(screen(book))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.5)
