"""A power cut: each device its own alert, those behind none, one order a kind; back again, the orders stay."""

from __future__ import annotations

import asyncio
from datetime import datetime

from device_sim.theatre.api import Json, until
from device_sim.theatre.performance import Performance

CLEAR_S = 10.0


async def dark(performance: Performance) -> None:
    """Each device is cut off; `calm` brings the power back, which clears the alerts and leaves the orders open."""
    loop = asyncio.get_running_loop()
    if performance.story.beforehand is not None:
        await performance.story.beforehand(performance.stage, [device["id"] for device in performance.cast.behind])
    since, expected = loop.time(), performance.story.expected
    await performance.story.script(performance.stage, performance.cast.ids)
    raised: list[tuple[Json, Json]] = []
    for device in performance.cast.devices:
        rule = f"{device['kind']}.offline"
        alert = await performance.alert(device["id"], frozenset({rule}), since)
        severity = expected.severity if device["kind"] == performance.story.need.kind else expected.severity_beside
        performance.check(f"its severity is {severity}", alert["severity"] == severity, alert["severity"])
        order = await performance.order(alert)
        performance.check(f"its team is {expected.team}", order["team"] == expected.team, order["team"])
        raised.append((alert, order))
    ids = {order["id"]: order for _, order in raised}
    kinds = {alert["rule_id"] for alert, _ in raised}
    found = await performance.orders()
    right = {o["id"] for o in found} == set(ids) and len(found) == len(kinds)
    numbers = ", ".join(f"{o['number']} ({o['kind']})" for o in found)
    performance.check("one order for what is of one kind in the building", right, numbers)
    await asyncio.sleep(max(0.0, since + performance.story.silent_s - loop.time()))
    behind = {device["id"] for device in performance.cast.behind}
    noise = [
        a
        for a in await performance.api.pages(
            f"communities/{performance.cast.community}/alerts", as_user=performance.witness, state="open"
        )
        if a["device_id"] in behind and datetime.fromisoformat(a["fired_at"]) >= performance.began
    ]
    performance.check(
        f"{len(behind)} meters behind them, silent for {performance.story.silent_s:g} s, raise none",
        not noise,
        ", ".join(f"{a['device_id']} {a['rule_id']}" for a in noise) or "none",
    )
    if performance.story.calm is not None:
        await performance.story.calm(performance.stage, performance.cast.ids)
    for alert, order in raised:
        await _cleared(performance, alert)
        fresh = await performance.api.get(f"orders/{order['id']}", as_user=performance.witness)
        performance.check(f"order {fresh['number']} stays open", fresh["state"] == order["state"], fresh["state"])
    for order in ids.values():
        await performance.finish(await performance.api.get(f"orders/{order['id']}", as_user=performance.witness))


async def _cleared(performance: Performance, alert: Json) -> None:
    async def look() -> bool:
        fresh = await performance.api.get(f"alerts/{alert['id']}", as_user=performance.witness)
        return bool(fresh["state"] == "cleared")

    within_s = performance.limit(CLEAR_S)
    done = await until(asyncio.get_running_loop().time() + within_s, look)
    performance.check(
        f"{alert['device_id']}: the alert clears", bool(done), "cleared" if done else f"not in {within_s:g} s"
    )
