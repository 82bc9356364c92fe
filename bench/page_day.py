"""What a wall that is left open for a day keeps: heap, nodes and listeners, after a whole day in fast motion.

The page is the real one before the real API; its clock is Playwright's, so that every timer of the day runs, and its
stream is spoken by `page_stream`: each second's device states, a heartbeat every 5 s, key figures, alerts that come,
repeat and clear, orders that move to their end, an alarm that takes the wall every hour, streams that break, a resync,
both languages and both themes. What is kept is read after forced collections, by Chromium itself.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
from playwright.async_api import CDPSession, Page

from bench.page_stream import Stream, streaming
from bench.page_system import LIVE, Say, build_page, lived_in, opened, wall
from bench.servers import BenchServers
from tests.browser.waiting import until

HOURS = 24
_STEP_S = 60
_EVERY_S = 60
"""A device speaks once a minute."""
_LIVES_MIN = 12
"""So long an order lives; two begin each minute."""
_MOVES = ("dispatched", "accepted", "arrived", "resolved", "verified", "closed")
_STARTS = datetime(2026, 11, 22, 14, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
"""Midnight comes in the middle."""
_COUNT = """(() => {
    window.heard = 0;
    window.reached = () => undefined;
    window.hearing = (count) => new Promise((done) => {
        window.reached = () => window.heard >= count && done();
        window.reached();
    });
    const { get, set } = Object.getOwnPropertyDescriptor(MessagePort.prototype, 'onmessage');
    Object.defineProperty(MessagePort.prototype, 'onmessage', {
        get,
        set(hear) {
            set.call(this, hear && ((event) => {
                hear(event);
                window.heard += event.data?.type === 'heard';
                window.reached();
            }));
        },
    });
})()"""


@dataclass(frozen=True, slots=True)
class Kept:
    heap_mb: float
    nodes: int
    listeners: int


@dataclass(frozen=True, slots=True)
class Day:
    hours: int
    """Of the wall's clock, after a first one that is not counted: what is made once."""
    events: int
    device_states: int
    alerts: int
    streams_opened: int
    heap_after_first_hour_mb: float
    heap_growth_mb: float
    heap_growth_worst_mb: float
    nodes_growth: int
    listeners_growth: int
    heap_by_hour_mb: str


@dataclass(slots=True)
class _Script:
    """What happens, second by second; the same every time."""

    stream: Stream
    devices: list[dict[str, Any]]
    alert: dict[str, Any]
    order: dict[str, Any]
    kpis: dict[str, Any]
    chance: random.Random = field(default_factory=lambda: random.Random(6))
    open: deque[tuple[int, dict[str, Any], dict[str, Any]]] = field(default_factory=deque)
    second: int = 0
    events: int = 0
    states: int = 0
    alerts: int = 0

    @property
    def now(self) -> datetime:
        return _STARTS + timedelta(seconds=self.second)

    def step(self) -> None:
        """One second."""
        self.stream.now = self.now
        self._tell("devices", {"at": self.now, "items": [self._state(one) for one in self._speaking()]})
        if self.second % 5 == 0:
            self._tell("hb", {"at": self.now})
        if self.second % 30 == 0:
            items = [one | {"value": self.chance.randint(0, 100)} for one in self.kpis["items"]]
            self._tell("kpis", {"at": self.now, "items": items})
        if self.second % 30 == 10:
            self._raise("critical" if self.second % 3600 == 1810 else "minor")
        if self.second % 60 == 20:
            self._move()
        self.second += 1

    def _tell(self, kind: str, data: object, *, counted: bool = False) -> None:
        self.stream.send(kind, data, counted=counted)
        self.events += 1

    def _speaking(self) -> list[dict[str, Any]]:
        return self.devices[self.second % _EVERY_S :: _EVERY_S]

    def _state(self, device: Mapping[str, Any]) -> dict[str, Any]:
        self.states += 1
        values = {
            name: round(value * self.chance.uniform(0.9, 1.1), 2) if isinstance(value, float) else value
            for name, value in device["values"].items()
        }
        told = {"last_event": device["last_event"], "last_event_at": device["last_event_at"]}
        return {"id": device["id"], "online": self.chance.random() > 0.02, "ts": self.now, "values": values, **told}

    def _raise(self, severity: str) -> None:
        device = self.chance.choice(self.devices)
        begun = {"severity": severity, "place": f"{self.chance.randint(1, 40)}号楼 {self.alerts}"}
        alert, order = copy.deepcopy(self.alert) | begun, copy.deepcopy(self.order) | begun
        alert_id, order_id = (str(UUID(int=self.chance.getrandbits(128), version=4)) for _ in range(2))
        of = {"device_id": device["id"], "building_id": device["building_id"]}
        at = {"onset_at": self.now, "fired_at": self.now, "last_at": self.now}
        alert |= {"id": alert_id, "order_id": order_id, **of, **at}
        order |= {
            "id": order_id, "alert_id": alert_id, "device_id": device["id"], "created_at": self.now,
            "number": 10_000 + self.alerts, "state": "dispatched", "version": 2, "accepted_at": None,
        }  # fmt: skip
        self.alerts += 1
        self.open.append((self.second, alert, order))
        self._tell("alert", alert, counted=True)
        self._tell("order", order, counted=True)

    def _move(self) -> None:
        """Whatever is open goes on by its age; the oldest ends."""
        for begun, alert, order in self.open:
            step = min(len(_MOVES) - 1, (self.second - begun) * (len(_MOVES) - 1) // (_LIVES_MIN * 60))
            if order["state"] == _MOVES[step]:
                continue
            order |= {"state": _MOVES[step], "version": order["version"] + 1}
            order["accepted_at"] = order["accepted_at"] or self.now
            alert |= {"last_at": self.now}
            if step == len(_MOVES) - 1:
                alert |= {"state": "cleared", "cleared_at": self.now}
            self._tell("alert", alert, counted=True)
            self._tell("order", order, counted=True)
        while self.open and self.open[0][2]["state"] == "closed":
            self.open.popleft()


async def measure(servers: BenchServers, *, hours: int, say: Say) -> Day:
    build_page()
    async with lived_in(servers, say) as (system, password), streaming(system.port) as stream:
        url = f"http://127.0.0.1:{stream.port}"
        path = f"/api/v1/communities/{system.community.id}/snapshot"
        headers = {"Authorization": f"Bearer {system.token}"}
        async with httpx.AsyncClient(base_url=url, trust_env=False, headers=headers, timeout=60) as http:
            shown = (await http.get(path)).raise_for_status().json()
        stream.build = shown["build"]
        script = _Script(stream, shown["devices"], shown["alerts"][0], shown["orders"][0], shown["kpis"])
        async with wall(system, password, url) as of:
            page = await opened(of, _COUNT, "&stale_s=300", _STARTS)
            session = await of.context.new_cdp_session(page)
            kept = []
            for hour in range(hours + 1):
                await _hour(page, stream, script, hour)
                kept.append(await _kept(page, session))
                say(f"hour {hour} of {hours}: {kept[-1].heap_mb:.2f} MB, {kept[-1].nodes} nodes")
    first, last = kept[0], kept[-1]
    return Day(
        hours, script.events, script.states, script.alerts, stream.opened, round(first.heap_mb, 2),
        round(last.heap_mb - first.heap_mb, 2), round(max(one.heap_mb for one in kept) - first.heap_mb, 2),
        last.nodes - first.nodes, last.listeners - first.listeners, " ".join(f"{one.heap_mb:.1f}" for one in kept),
    )  # fmt: skip


async def _hour(page: Page, stream: Stream, script: _Script, hour: int) -> None:
    for step in range(3600 // _STEP_S):
        before, sent = int(await page.evaluate("window.heard")), script.events
        for _ in range(_STEP_S):
            script.step()
        await stream.drain()
        await page.evaluate("(count) => window.hearing(count)", before + script.events - sent)
        await page.clock.run_for(1000 * _STEP_S)
        if step == 20:
            await _broken(page, stream, script, hour)
        if step == 40:
            for button in ("[data-testid=locale]", "[data-testid=theme]"):
                for _ in range(2):
                    await page.click(button)
                    await page.clock.run_for(500)


async def _broken(page: Page, stream: Stream, script: _Script, hour: int) -> None:
    """The stream breaks, or the server asks for a fresh snapshot; either way the page is live again by itself."""
    opened_before = stream.opened
    if hour % 2:
        stream.send("resync", {"why": "too many events missed"})
    else:
        stream.cut()

    async def again() -> bool:
        await page.clock.run_for(1000)
        return stream.opened > opened_before

    await until(again)
    script.step()
    await page.locator(LIVE).wait_for()


async def _kept(page: Page, session: CDPSession) -> Kept:
    """After the page has come to rest."""
    await page.evaluate("new Promise((done) => { const port = new MessageChannel(); port.port1.onmessage = done; "
                        "port.port2.postMessage(0) })")  # fmt: skip
    for _ in range(3):
        await session.send("HeapProfiler.collectGarbage")
    used = (await session.send("Runtime.getHeapUsage"))["usedSize"]
    counted = await session.send("Memory.getDOMCounters")
    return Kept(used / 1e6, counted["nodes"], counted["jsEventListeners"])
