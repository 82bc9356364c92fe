"""Nobody accepts: the order climbs rung by rung, in the times that its class says, played fast in a drill (演练)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from device_sim.theatre.api import Json
from device_sim.theatre.performance import Performance

SCALE = 0.04
"""A minute takes 2.4 seconds."""
DRILL_S = 120.0
TOLERANCE_S = 2.0
"""An engine looks at its clocks once a second (ALERTS_TICK_S), then writes."""
RUNGS = ("team", "leader", "desk", "street", "department")


@dataclass(frozen=True, slots=True)
class Rung:
    """`after_s` seconds from the dispatch, drill time; `number`: its place on the ladder."""

    number: int
    after_s: float


async def ladder(performance: Performance) -> None:
    """Team, leader, desk, street office, department; then somebody takes it after all, and the drill ends."""
    p = performance
    async with _drill(p) as steps:
        _, order = await p.opening()
        p.check("the ladder of its class reaches the street office", steps[-1].number >= 3, _words(steps))
        detail = await _climbed(p, order, steps)
        _on_time(p, detail, steps)
        await p.ending(detail, (await p.workers(detail))[0])
    after = await p.api.get(_path(p), as_user=p.witness)
    p.check("the drill is over", after["scale"] == 1.0, after["scale"])


def _path(p: Performance) -> str:
    return f"communities/{p.cast.community}/order-classes"


@asynccontextmanager
async def _drill(p: Performance) -> AsyncIterator[list[Rung]]:
    """Every clock of orders opened meanwhile runs so much faster; yields the ladder of an emergency."""
    before = await p.api.get(_path(p), as_user=p.witness)
    admin = next(account.username for account in p.api.accounts.values() if account.role == "admin")
    until = datetime.now().astimezone() + timedelta(seconds=DRILL_S)
    body = {"scale": SCALE, "until": until.isoformat(), "note": f"演练 {p.story.name}"}
    drill = f"{_path(p)}/drill"
    begun = await p.api.call("POST", drill, as_user=admin, json=body, seen=before["newest"])
    try:
        yield _steps(before)
    finally:
        await p.api.call("DELETE", drill, as_user=admin, seen=begun["version"])


def _steps(classes: Json) -> list[Rung]:
    """Of the class that a critical alert falls into: when nobody accepts, who is asked when."""
    accept = next(one for one in classes["classes"] if one["id"] == "emergency")["clocks"]["accept"]
    found = [Rung(RUNGS.index(rung), (accept["due_s"] + after) * SCALE) for rung, after in accept["ladder"].items()]
    return sorted(found, key=lambda step: step.number)


async def _climbed(p: Performance, order: Json, steps: Sequence[Rung]) -> Json:
    """The order once it stands on the last rung of its class, or the time for that is over."""
    deadline = asyncio.get_running_loop().time() + steps[-1].after_s + p.limit(TOLERANCE_S)
    while True:
        detail = await p.api.get(f"orders/{order['id']}", as_user=p.witness)
        if detail["rung"] >= steps[-1].number or asyncio.get_running_loop().time() > deadline:
            return detail
        await asyncio.sleep(0.2)


def _on_time(p: Performance, detail: Json, steps: Sequence[Rung]) -> None:
    """A rung on which nobody is on duty is passed over: its step goes on to the next, at its own time."""
    dispatched = datetime.fromisoformat(detail["dispatched_at"])
    taken = [entry for entry in detail["history"] if entry["move"] == "escalate"]
    stands, late_s = 0, p.limit(TOLERANCE_S)
    for step in steps:
        if step.number <= stands:
            continue
        name = RUNGS[step.number]
        if not taken:
            p.check(f"{name} is asked {step.after_s:.1f} s after the dispatch", False, "nobody was", vital=True)
        entry = taken.pop(0)
        after_s = (datetime.fromisoformat(entry["at"]) - dispatched).total_seconds()
        stands = int(entry["detail"]["rung"])
        p.check(
            f"{name} is asked {step.after_s:.1f} s after the dispatch, +{late_s:g} s at most",
            stands >= step.number and 0.0 <= after_s - step.after_s <= late_s,
            f"{after_s:.2f} s, {RUNGS[stands]}",
        )
        p.check(f"and {name} is somebody", bool(entry["detail"].get("people")), entry["detail"].get("people"))
    p.check("no rung is asked twice", not taken, [entry["detail"] for entry in taken])
    of_time = [entry["move"] for entry in detail["history"] if entry["detail"].get("clock") == "accept"]
    once = all(of_time.count(what) == 1 for what in ("warn", "breach"))
    p.check("it was warned of once, and broke its time once", once, ", ".join(of_time))


def _words(steps: Sequence[Rung]) -> str:
    return ", ".join(f"{RUNGS[step.number]} {step.after_s:.1f} s" for step in steps)
