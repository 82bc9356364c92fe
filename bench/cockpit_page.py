"""What the cockpit's page costs a browser: script to load, first paint, and a repaint of 2,000 devices.

A repaint is all that the page's main thread does for one batch of the stream, from the arrival of its message to the
end of the frame that shows it: reading, folding in, tiles, lists, plan, style, layout and paint. It is counted as CPU
time of that thread from Chromium's own trace, so that a busy machine does not count.
"""

from __future__ import annotations

import gzip
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.page_system import Say, Wall, build_page, lived_in, opened, wall
from bench.servers import BenchServers
from deploy.web import COCKPIT
from tests.browser.built import loaded_by

POLL_S = 0.25
"""The API tells of changed devices this often here, four times as often as it does by itself."""
_TOUCH = """
UPDATE device_state AS s SET vals_ts = now(), last_seen_at = now(), online = ($2 % 40) <> (s.device_no % 40)
FROM device AS d WHERE d.device_no = s.device_no AND d.community_id = $1 AND d.device_no % $3 = $2 % $3
"""
"""One device in `$3` says something, and one in forty goes and comes: what a repaint cannot skip."""
_MARKS = """(() => {
    const { get, set } = Object.getOwnPropertyDescriptor(MessagePort.prototype, 'onmessage');
    Object.defineProperty(MessagePort.prototype, 'onmessage', {
        get,
        set(hear) {
            set.call(this, hear && ((event) => {
                if (event.data?.heard?.type === 'devices') performance.mark('batch');
                hear(event);
            }));
        },
    });
    addEventListener('DOMContentLoaded', () => {
        document.addEventListener('repaint', (event) => {
            if (event.target.dataset?.testid !== 'devices') return;
            performance.mark('repaint', { detail: event.detail });
            (window.draws ??= []).push(event.detail);
        }, true);
    });
})()"""
"""Marks in the trace: a batch has come, the plan is drawn."""
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


@dataclass(frozen=True, slots=True)
class PageCost:
    devices: int
    script_gzip_kb: float
    charts_lazy_gzip_kb: float
    """Of it, what comes after the plan and the lists are up."""
    first_paint_ms: float
    """Median of so many openings with an empty cache, by the clock."""
    first_paint_worst_ms: float
    repaints_all: int
    repaint_all_p50_ms: float
    repaint_all_p99_ms: float
    """CPU of a batch in which every device changed."""
    repaints_few: int
    repaint_few_p50_ms: float
    repaint_few_p99_ms: float
    """CPU of a batch in which one device in forty did: a second of a community that speaks by the minute."""
    plan_drawn_p99_ms: float
    """Of it, the canvas of the devices alone, by the clock."""


def bundle() -> dict[str, float]:
    """Gzipped script that the cockpit can load but for the rooms behind it, kB, and of it the charts."""
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 9)) for path in loaded_by(COCKPIT / "dist" / "index.html")}
    charts = sum(size for name, size in sizes.items() if name.startswith("LineChart"))
    return {"all": sum(sizes.values()) / 1000, "charts": charts / 1000}


async def measure(servers: BenchServers, *, batches: int, openings: int, say: Say) -> PageCost:
    build_page()
    async with (
        lived_in(servers, say, LINHUB_DEVICE_POLL_S=str(POLL_S)) as (system, password),
        wall(system, password) as of,
    ):
        say(f"the wall is opened {openings} times with an empty cache")
        paints = [await _first_paint(of) for _ in range(openings)]
        every, draws = await _repaints(of, 1, batches, say)
        few, _ = await _repaints(of, 40, batches, say)
        devices = len(system.community.devices)
    sizes = bundle()
    return PageCost(
        devices, round(sizes["all"], 1), round(sizes["charts"], 1),
        round(statistics.median(paints), 1), round(max(paints), 1),
        len(every), round(statistics.median(every), 2), round(_share(every, 0.99), 2),
        len(few), round(statistics.median(few), 2), round(_share(few, 0.99), 2),
        round(_share(draws, 0.99), 2),
    )  # fmt: skip


async def _first_paint(of: Wall) -> float:
    page = await opened(of)
    session = await of.context.new_cdp_session(page)
    await session.send("Network.clearBrowserCache")
    await page.reload()
    await page.wait_for_selector("[data-testid=cockpit]")
    found = float(await page.evaluate(_PAINT))
    await page.close()
    return found


async def _repaints(of: Wall, one_in: int, batches: int, say: Say) -> tuple[list[float], list[float]]:
    """CPU of each batch, ms, and the time of each drawing of the plan, ms."""
    say(f"{batches} batches, one device in {one_in} changed")
    page = await opened(of, _MARKS)
    community, connection = of.system.community.id, of.system.connection
    for n in range(20):  # what is compiled once is no repaint's cost
        await connection.execute(_TOUCH, community, n, one_in)
        await page.wait_for_timeout(1200 * POLL_S)
    await page.evaluate("window.draws = []")
    await of.browser.start_tracing(page=page, categories=["-*", "toplevel", "blink.user_timing"])
    for n in range(batches):
        await connection.execute(_TOUCH, community, n, one_in)
        await page.wait_for_timeout(1200 * POLL_S)
    trace = json.loads(await of.browser.stop_tracing())["traceEvents"]
    draws = [float(ms) for ms in await page.evaluate("window.draws")]
    await page.close()
    return list(batch_cpu_ms(trace)), draws


def batch_cpu_ms(trace: Sequence[dict[str, Any]]) -> Iterator[float]:
    """CPU of the page's main thread for each batch: of all its tasks from the one in which the batch came to the one
    whose frame drew the plan. Events as Chromium writes them: times in microseconds."""
    marks = sorted((e["ts"], e["name"]) for e in trace if e.get("name") in ("batch", "repaint") and e["ph"] in "RI")
    threads = {(e["pid"], e["tid"]) for e in trace if e.get("name") in ("batch", "repaint") and e["ph"] in "RI"}
    if len(threads) != 1:
        raise RuntimeError(f"batches on {len(threads)} threads: the page did not repaint, or two pages did")
    tasks = sorted(
        (e["ts"], e["ts"] + e["dur"], e.get("tdur", 0))
        for e in trace
        if e.get("name") == "ThreadControllerImpl::RunTask" and e["ph"] == "X" and {(e["pid"], e["tid"])} == threads
    )
    came: int | None = None
    for at, name in marks:
        if name == "batch":
            came = came if came is not None else at
        elif came is not None:
            yield sum(cpu for start, end, cpu in tasks if end >= came and start <= at) / 1000
            came = None


def _share(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
