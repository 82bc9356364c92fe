"""Somebody gives an order back (退单): at once it is somebody's again, by force, and it cannot be given back twice."""

from __future__ import annotations

import asyncio

from device_sim.theatre.api import ApiRefused, Json, until
from device_sim.theatre.performance import Performance

AGAIN_S = 3.0
"""From the return to the next dispatch."""


async def bounce(performance: Performance) -> None:
    """The second return is refused in words; then the order is done like any other."""
    p = performance
    _, order = await p.opening()
    first = await p.worker(order)
    since = asyncio.get_running_loop().time()
    await p.api.move(order["id"], "return", as_user=first, reason="不在我负责的区域")
    forced = await _forced(p, order, since)
    p.check("it counts one return", _count(forced, "return") == 1, _count(forced, "return"))
    second = await _holder(p, forced, first)
    refused = await _returned(p, forced, second)
    p.check(
        f"{second} cannot return it once more, and reads why",
        refused is not None and refused.status == 422 and bool(refused.detail),
        f"{refused.status} {refused.detail}" if refused else "it was taken back",
    )
    await p.ending(forced, second)


async def _forced(p: Performance, order: Json, since: float) -> Json:
    async def look() -> Json | None:
        detail = await p.api.get(f"orders/{order['id']}", as_user=p.witness)
        return detail if detail["state"] == "dispatched" else None

    within_s = p.limit(AGAIN_S)
    found = await until(since + within_s, look)
    seconds = asyncio.get_running_loop().time() - since
    if found is None:
        stands = (await p.api.get(f"orders/{order['id']}", as_user=p.witness))["state"]
        p.check(f"it is dispatched again within {within_s:g} s", False, stands, vital=True)
    p.check(f"it is dispatched again within {within_s:g} s", seconds <= within_s + 0.5, f"{seconds:.2f} s")
    detail: Json = found
    last = [entry for entry in detail["history"] if entry["move"] == "dispatch"][-1]
    p.check("this time by force", bool(last["detail"].get("forced")), last["detail"])
    return detail


async def _holder(p: Performance, order: Json, first: str) -> str:
    """Whose it is now: somebody else of the team where there is somebody."""
    team = [a.username for a in p.api.accounts.values() if a.team == order["team"] and a.role in ("staff", "grid")]
    able = await p.workers(order)
    others = [who for who in able if who != first]
    p.check(
        "it goes to somebody else of the team" if len(team) > 1 else f"{first} is alone in the team and has it again",
        bool(others) if len(team) > 1 else able == [first],
        ", ".join(able) or "nobody",
        vital=True,
    )
    return others[0] if others else first


async def _returned(p: Performance, order: Json, who: str) -> ApiRefused | None:
    """None: it was taken."""
    try:
        await p.api.move(order["id"], "return", as_user=who, reason="还是不归我管")
    except ApiRefused as refused:
        return refused
    return None


def _count(order: Json, move: str) -> int:
    return sum(entry["move"] == move for entry in order["history"])
