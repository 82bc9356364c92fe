"""A wall that is left open keeps nothing of what is over: no alert, no order, no listener, no node of the page.

Each alert and each order has an id that nothing else in the world has. When they are over, a heap snapshot of the page,
taken after forced collections, must not hold one of them: whatever leaks keeps them, however little it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from uuid import UUID

from playwright.async_api import Browser, CDPSession, Page

from services.adapters.outbox import Outgoing, append
from services.domain.vocabulary import Severity
from tests.api_data import raise_alert
from tests.api_server import connect
from tests.browser.kit import World, new_context, open_page
from tests.browser.phone_kit import moved
from tests.browser.waiting import counted, until

ROUNDS = 4
MORE = 5
_DEVICES = ("gas_alarm-1", "gas_alarm-2", "bin-1", "wristband-1", "environment-1", "parking_sensor-1")
_CLEAR = """
UPDATE alert SET state = 'cleared', cleared_at = now(), last_at = now() WHERE id = ANY($1::uuid[]) RETURNING id
"""


async def _happen(world: World, page: Page) -> list[str]:
    """Alerts of every severity that take the wall, are looked at in both languages and themes, and are over.

    Waits by locators alone: `wait_for_selector` gives back a handle, and a handle keeps what it points to.
    """
    connection = await connect(world.database_url)
    alerts: list[UUID] = []
    orders: list[UUID] = []
    try:
        for n, device in enumerate(_DEVICES):
            severity = Severity.CRITICAL if n == 0 else Severity.MINOR
            alert, order = await raise_alert(connection, f"{world.community.id}-{device}", severity=severity)
            assert order is not None
            alerts.append(alert)
            orders.append(order)
        await counted(page, "[data-testid=orders] [data-order]", len(_DEVICES))
        await page.locator("[data-testid=takeover]").wait_for()
        await page.click("[data-testid=orders] [data-order] >> nth=0")
        await page.locator("[data-testid=order-drawer]").wait_for()
        await page.keyboard.press("Escape")
        for button in ("[data-testid=locale]", "[data-testid=theme]") * 2:
            await page.click(button)
        async with connection.transaction():
            cleared = [str(row["id"]) for row in await connection.fetch(_CLEAR, alerts)]
            of = world.community.id
            await append(connection, [Outgoing("alert.cleared", of, id, "over", {"id": id}) for id in cleared])
        for order in orders:
            await moved(world, str(order), "desk", "cancel", reason="演练结束")
        await counted(page, "[data-testid=orders] [data-order]", 0)
        await page.locator("[data-testid=takeover]").wait_for(state="detached")
    finally:
        await connection.close()
    return [str(id) for id in (*alerts, *orders)]


async def _collected(session: CDPSession) -> tuple[int, int]:
    """Nodes and listeners after forced collections."""
    for _ in range(3):
        await session.send("HeapProfiler.collectGarbage")
    found = await session.send("Memory.getDOMCounters")
    return int(found["nodes"]), int(found["jsEventListeners"])


async def _kept(session: CDPSession, ids: Sequence[str]) -> set[str]:
    """Which of these the page's heap still holds, as a text of its own or within another."""
    parts: list[str] = []

    def came(part: dict[str, str]) -> None:
        parts.append(part["chunk"])

    session.on("HeapProfiler.addHeapSnapshotChunk", came)
    await session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})

    async def whole() -> str:
        return "".join(parts) if parts and parts[-1].endswith("]}") else ""

    strings = json.loads(await until(whole))["strings"]
    session.remove_listener("HeapProfiler.addHeapSnapshotChunk", came)
    assert len(strings) > 1000
    return set(re.findall("|".join(ids), "\n".join(strings)))


async def test_wall_keeps_nothing_of_what_is_over(world: World, browser: Browser) -> None:
    context = await new_context(browser)
    # The line of the past keeps a day's grave alerts, and is meant to: here it finds none.
    await context.route(re.compile(r"/replay/marks"), lambda route: route.fulfill(json={"marks": []}))
    watched = await open_page(context, world, "desk", "?view=wall")
    session = await watched.page.context.new_cdp_session(watched.page)
    ids: list[str] = []
    counters: list[tuple[int, int]] = []
    for _ in range(ROUNDS):
        happened = await _happen(world, watched.page)
        counters.append(await _collected(session))
        ids.append("|".join(happened))
    # What was the last of its sort stands until the next of that sort: a leak alone keeps it for good.
    kept = await _kept(session, ids[:-1])
    for _ in range(MORE):
        if not kept:
            break
        await _happen(world, watched.page)
        await _collected(session)
        kept = await _kept(session, ids[:-1])
    assert kept == set()

    # The first round makes what is made once; after it, less than one of a sort may be added by a round. What stands
    # for a moment, such as a toast, goes by itself: what is kept for good is there at every look.
    async def no_more() -> bool:
        counters[-1] = await _collected(session)
        return all(after - before < ROUNDS - 2 for before, after in zip(counters[1], counters[-1], strict=True))

    try:
        await until(no_more, 60)
    except AssertionError:
        raise AssertionError(f"nodes and listeners round by round: {counters}") from None
    assert watched.strayed == []
