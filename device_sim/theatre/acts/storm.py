"""A storm: five hundred alerts within seconds, one call for help in the middle, and few orders that say where to go."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime

from device_sim.theatre.api import ApiRefused, Json, until
from device_sim.theatre.casting import busy as busy_with
from device_sim.theatre.performance import Performance

SPREAD_S = 4.0
"""From the first device that falls silent to the last."""
GRACE_S = 10.0
"""A device that is reported gone is given so long to return (services.domain.rules.offline)."""
RAISED_S = 25.0
"""From the end of the grace until every alert is raised."""
CLEAR_S = 45.0
SUMMARY = "platform.capped"
TILT = 14.0
REPEATED = 20
AT_ONCE = 6
"""People who work the orders off side by side."""


async def storm(performance: Performance) -> None:
    """Meters fall off the bus of their gateways, covers tilt, a button is pressed; then the bus is back."""
    p = performance
    await p.story.script(p.stage, p.cast.ids)
    gateways = [d["id"] for d in p.cast.devices if d["kind"] == p.story.need.kind]
    covers = [d["id"] for d in p.cast.devices if d["kind"] == "manhole"]
    button = next(d["id"] for d in p.cast.devices if d["kind"] == "sos_button")
    busy, _ = await busy_with(p.api, p.cast.community, p.witness)
    meters = [d["id"] for d in p.cast.behind if d["id"] not in busy][: p.story.need.behind]
    loop = asyncio.get_running_loop()
    since = loop.time()
    falling = asyncio.create_task(_say(p, meters, online=False))
    await asyncio.sleep(GRACE_S + SPREAD_S / 2)
    for cover in covers:
        await p.stage.event(cover, "displaced", {"tilt": TILT}, p.stage.now_ms())
    call_s, seen_s, call = await _call(p, button)
    await falling
    # Said once more of some, as gateways do that report their bus at intervals: it is no sign of life.
    await _say(p, meters[:REPEATED], online=False)
    alerts = await _raised(p, {*meters, *covers}, since + GRACE_S + SPREAD_S + p.limit(RAISED_S))
    _nothing_lost(p, alerts, meters, covers)
    orders = await _orders(p, alerts, {*gateways, *meters, *covers})
    within_s = p.limit(p.story.expected.within_s)
    p.check(
        f"the call for help in the middle of {len(alerts)} alerts has its order within {within_s:g} s",
        call_s <= within_s,
        f"{call_s * 1000:.0f} ms, read at the API after {seen_s * 1000:.0f} ms",
    )
    await _back(p, meters, covers, alerts, orders)
    await p.finish(call)
    await _worked_off(p, list(orders.values()))
    left = [order["number"] for order in await p.orders()]
    p.check("no order left open", not left, ", ".join(map(str, left)) or "none")


async def _say(p: Performance, meters: list[str], *, online: bool) -> None:
    """One by one over the spread: a bus that fails takes a while to be missed."""
    for number, meter in enumerate(meters):
        await p.stage.status(meter, online)
        if number % 10 == 9:
            await asyncio.sleep(SPREAD_S * 10 / len(meters))


async def _call(p: Performance, button: str) -> tuple[float, float, Json]:
    """Seconds from the press to the order as the engine wrote it, and to its reading at the API; that order."""
    loop = asyncio.get_running_loop()
    since, pressed = loop.time(), datetime.fromtimestamp(p.stage.now_ms() / 1000).astimezone()
    await p.stage.event(button, "pressed", {}, p.stage.now_ms())
    alert = await p.alert(button, p.story.expected.rules, since)
    p.right(alert)
    order = await p.order(alert)
    opened = datetime.fromisoformat(order["created_at"])
    return (opened - pressed).total_seconds(), loop.time() - since, order


async def _raised(p: Performance, devices: set[str], deadline: float) -> list[Json]:
    """All alerts of the storm, once each of these devices has one and nothing more is added to them."""

    async def look() -> list[Json] | None:
        found = await _alerts(p)
        return found if devices <= {alert["device_id"] for alert in found} else None

    found = await until(deadline, look)
    if found is None:
        found = await _alerts(p)
        missing = devices - {alert["device_id"] for alert in found}
        p.check("each device of the storm raises its alert", False, f"{len(missing)} without: {sorted(missing)[:5]}")
    # What gathers from them is raised with the last of them, and orders are written in the same transactions.
    await asyncio.sleep(2.0)
    return await _alerts(p)


async def _alerts(p: Performance) -> list[Json]:
    """Open alerts since the story began, without the call for help."""
    path = f"communities/{p.cast.community}/alerts"
    items = await p.api.pages(path, as_user=p.witness, state="open")
    mine = {*p.cast.ids, *(d["id"] for d in p.cast.behind), None}
    return [
        item
        for item in items
        if datetime.fromisoformat(item["fired_at"]) >= p.began
        and item["device_id"] in mine
        and item["rule_id"] not in p.story.expected.rules
    ]


def _nothing_lost(p: Performance, alerts: list[Json], meters: list[str], covers: list[str]) -> None:
    of = Counter(alert["device_id"] for alert in alerts)
    once = sum(of[device] == 1 for device in (*meters, *covers))
    wanted = len(meters) + len(covers)
    p.check(f"each of {wanted} devices raised one alert", once == wanted, f"{once} did; {len(alerts)} alerts in all")
    sent = sum(alert["order_id"] is not None for alert in alerts)
    held = [alert for alert in alerts if alert["held"] and alert["order_id"] is None]
    # The engine's own word that orders wait for room sends nobody by itself.
    told = sum(alert["rule_id"] == SUMMARY and alert["order_id"] is None for alert in alerts)
    why = Counter(reason.split(":")[0] for alert in held for reason in alert["held"])
    p.check(
        "nothing is lost: alerts = sent + held back + the summary of those held back",
        len(alerts) == sent + len(held) + told,
        f"{len(alerts)} = {sent} + {len(held)} ({', '.join(f'{n} {name}' for name, n in why.items())}) + {told}",
    )


async def _orders(p: Performance, alerts: list[Json], devices: set[str]) -> dict[str, Json]:
    """By id. As many as there are places to go to: alerts of one kind in one building, a gateway, a cover."""
    ids = {alert["order_id"] for alert in alerts if alert["order_id"] is not None}
    orders = {id: await p.api.get(f"orders/{id}", as_user=p.witness) for id in ids}
    troubles = {alert["group_key"] or alert["id"] for alert in alerts if alert["order_id"] is not None}
    why = ", ".join(f"{n} {rule}" for rule, n in _first_of(alerts).most_common())
    p.check(
        f"{len(alerts)} alerts come to as many orders as there are places to go to",
        0 < len(orders) <= len(troubles),
        f"{len(orders)} orders: {why}",
    )
    share = len(orders) / max(1, len(alerts))
    p.check("five alerts and more an order", share <= 0.2, f"{len(orders)} for {len(alerts)}")
    found = {order["id"] for order in await p.orders() if order["device_id"] in devices or order["device_id"] is None}
    p.check("no order beside these", found <= set(orders), len(found - set(orders)))
    return orders


def _first_of(alerts: list[Json]) -> Counter[str]:
    """Orders by the rule whose alert opened them."""
    opened: dict[str, str] = {}
    for alert in sorted(alerts, key=lambda alert: str(alert["fired_at"])):
        if alert["order_id"] is not None:
            opened.setdefault(alert["order_id"], alert["rule_id"])
    return Counter(opened.values())


async def _back(
    p: Performance, meters: list[str], covers: list[str], alerts: list[Json], orders: dict[str, Json]
) -> None:
    """The bus is back: alerts clear, what was held back sends nobody any more, and no order closes by itself."""
    await _say(p, meters, online=True)
    for cover in covers:
        await p.stage.reading(cover, {"tilt": 0.4}, p.stage.now_ms())
    ids = {alert["id"] for alert in alerts if alert["device_id"] in set(meters)}

    async def look() -> bool:
        return not ids & {alert["id"] for alert in await _alerts(p)}

    done = await until(asyncio.get_running_loop().time() + p.limit(CLEAR_S), look)
    left = len(ids & {alert["id"] for alert in await _alerts(p)})
    p.check(f"{len(ids)} alerts clear when the bus is back", bool(done), f"{left} left")
    states = Counter([(await p.api.get(f"orders/{id}", as_user=p.witness))["state"] for id in orders])
    p.check("their orders stay open", set(states) == {"dispatched"}, dict(states))


async def _worked_off(p: Performance, orders: list[Json]) -> None:
    """Every order is ended by people, some side by side."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(order: Json) -> str | None:
        async with places:
            try:
                await p.finish(order)
            except ApiRefused as refused:
                return f"{order['number']}: {refused}"
        return None

    said = [words for words in await asyncio.gather(*(one(order) for order in orders)) if words]
    p.check(f"{len(orders)} orders are worked off", not said, "; ".join(said[:3]) or "all")
