"""Several people accept one order in the same moment: one has it, the others are told so in words they understand."""

from __future__ import annotations

import asyncio

from device_sim.theatre.api import ApiRefused, Json
from device_sim.theatre.performance import Performance

RUNNERS = 3
TOO_LATE = (409, 422)


async def rush(performance: Performance) -> None:
    """The one who was first arrives and resolves; the desk verifies and closes."""
    p = performance
    _, order = await p.opening()
    people = (await p.workers(order))[:RUNNERS]
    p.check(
        f"{RUNNERS} people of {order['team']} may accept it",
        len(people) == RUNNERS,
        ", ".join(people) or "nobody",
        vital=True,
    )
    seen = await p.api.get(f"orders/{order['id']}", as_user=people[0])
    answers = await asyncio.gather(*(_press(p, seen, who) for who in people))
    won = [who for who, refused in zip(people, answers, strict=True) if refused is None]
    p.check(
        f"of {RUNNERS} who accept it in the same moment one has it",
        len(won) == 1,
        ", ".join(won) or "nobody",
        vital=True,
    )
    for who, refused in zip(people, answers, strict=True):
        if refused is not None:
            said = f"{refused.status} {refused.detail}"
            p.check(f"{who} is told that it is too late", refused.status in TOO_LATE and bool(refused.detail), said)
    for who in people:
        now = await p.api.get(f"orders/{order['id']}", as_user=who)
        # Who leads the team may take an order over from whoever has it, on purpose.
        if who in won or "accept" in now["moves"]:
            continue
        again = await _press(p, now, who)
        p.check(
            f"{who} looks again and still cannot take it away",
            again is not None and again.status in TOO_LATE and bool(again.detail),
            f"{again.status} {again.detail}" if again else "taken",
        )
    detail = await p.api.get(f"orders/{order['id']}", as_user=p.witness)
    accepted = [entry for entry in detail["history"] if entry["move"] == "accept"]
    p.check("its history holds one acceptance", len(accepted) == 1, len(accepted))
    p.check("it is the winner's", detail["assignee"] == accepted[0]["actor"], detail["assignee"])
    await p.ending(detail, won[0])


async def _press(performance: Performance, seen: Json, who: str) -> ApiRefused | None:
    """None: it was taken."""
    try:
        await performance.api.press(seen["id"], "accept", as_user=who, version=seen["version"])
    except ApiRefused as refused:
        return refused
    return None
