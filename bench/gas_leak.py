"""A gas leak from the alarm to the closed order, as a city platform hears of it; many, and how long each step took.

One flat after the other: the detector calls, the plan shuts the valve, the meter's own reading shows it shut, people
are sent, the desk asks for the siren in the square, an administrator approves it, it sounds, the order is worked off.
The city's receiver verifies with `standardwebhooks` and parses with `cloudevents`.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from bench.gas_town import Told, Town, town
from bench.servers import BenchServers
from services.domain.city.catalogue import BY_TYPE

STRETCHES: tuple[tuple[str, str, str], ...] = (
    ("alarm → alert committed", "alarm", "alert"),
    ("alert → valve command put to the broker", "alert", "put"),
    ("put to the broker → the meter answered", "put", "executed"),
    ("answered → confirmed by its reading", "executed", "confirmed"),
    ("alarm → order dispatched", "alarm", "dispatched"),
    ("alarm → valve confirmed shut", "alarm", "confirmed"),
    ("alert committed → verified by the city", "alert", "city alert"),
    ("valve confirmed → verified by the city", "confirmed", "city confirmed"),
    ("alarm → city has the alert, verified", "alarm", "city alert"),
    ("alarm → city has the valve shut, verified", "alarm", "city confirmed"),
    ("siren approved → sounded", "approved", "sounded"),
    ("order closed → verified by the city", "closed", "city closed"),
)


@dataclass(slots=True)
class Leak:
    """`moments` in seconds by this machine's clock; of the system's steps those at which their commit was told."""

    flat: str
    alert_id: str = ""
    order_id: str = ""
    valve: str = ""
    siren: str = ""
    run: str = ""
    moments: dict[str, float] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)

    async def note(self, it: Town, name: str, event: Told) -> Told:
        self.moments[name], self.moments[f"city {name}"] = await it.commit_of(event.seq), event.at
        self.told[name] = event
        return event


def alarm(it: Town, flat: str) -> Leak:
    """The flat's detector goes off."""
    leak = Leak(flat)
    leak.moments["alarm"] = now = time.time()
    event = {"ts": int(now * 1000), "event": "alarm", "data": {"lel": 20.0}}
    it.fleet.station_of(it.device("gas_alarm", flat)).uplink.send("event", event, urgent=True)
    return leak


async def raised(it: Town, leak: Leak) -> None:
    """Until the city has heard of the alert, its plan, its order and the command to the meter."""
    alert = await leak.note(
        it, "alert", await it.city.heard("alert.raised", device_id=it.device("gas_alarm", leak.flat))
    )
    leak.alert_id = str(alert.data["alert_id"])
    dispatched = await leak.note(it, "dispatched", await it.city.heard("order.dispatch", alert_id=leak.alert_id))
    leak.order_id = str(dispatched.data["order_id"])
    meter = it.device("gas_meter", leak.flat)
    asked = await leak.note(it, "asked", await it.city.heard("command.requested", device_id=meter))
    leak.valve = str(asked.data["command_id"])
    leak.run = str(asked.data["run_id"])
    await it.city.heard("plan.started", run_id=leak.run)


async def shut(it: Town, leak: Leak) -> None:
    """A device may answer before it is written down that the broker has it: then nobody hears of `command.sent`."""
    for name in ("executed", "confirmed"):
        await leak.note(it, name, await it.city.heard(f"command.{name}", command_id=leak.valve))
    put = await it.database.fetchval("SELECT first_put_at FROM command WHERE id = $1::text::uuid", leak.valve)
    leak.moments["put"] = put.timestamp()


async def ask_siren(it: Town, leak: Leak, **more: Any) -> dict[str, Any]:
    """The desk asks for the siren in the square, which the plan does not sound."""
    body = {"device_id": it.device("siren"), "name": "siren_on", "params": {"seconds": 30}, "why": "疏散广场", **more}
    asked = await it.said("desk", f"/communities/{it.community.id}/commands", body)
    leak.siren = str(asked["id"])
    return asked


async def sound(it: Town, leak: Leak) -> None:
    """Asked for, approved by somebody else, and played, as the siren itself reports."""
    asked = await ask_siren(it, leak)
    assert asked["state"] == "awaiting", asked
    await it.said("admin", f"/commands/{leak.siren}/approve", {"note": "已核实"})
    await leak.note(it, "approved", await it.city.heard("command.queued", command_id=leak.siren))
    await leak.note(it, "sounded", await it.city.heard("command.confirmed", command_id=leak.siren))


async def work_off(it: Town, leak: Leak) -> None:
    """By the people it went to, to its end; and the city hears of each move."""
    path = f"/orders/{leak.order_id}"
    for who, name, more in (
        ("patrol1", "accept", {}),
        ("patrol1", "arrive", {}),
        ("patrol1", "resolve", {"note": "阀门已关，通风完成"}),
        ("desk", "verify", {}),
        ("desk", "close", {}),
    ):
        for _ in range(5):
            version = (await it.people[who].get(path)).json()["version"]
            answer = await it.post(who, f"{path}/moves", {"move": name, "version": version, **more})
            if answer.status_code != 409:  # a clock of the order may have run out in between
                break
        if answer.is_error:
            raise AssertionError(f"{name}: {answer.status_code} {answer.text}")
    for name in ("accept", "arrive", "resolve", "verify", "close"):
        event = await it.city.heard(f"order.{name}", order_id=leak.order_id)
    assert event.data["state"] == "closed"
    await leak.note(it, "closed", event)


async def whole(it: Town, flat: str) -> Leak:
    leak = alarm(it, flat)
    await raised(it, leak)
    await shut(it, leak)
    await sound(it, leak)
    await work_off(it, leak)
    return leak


_HOW_FAR = "SELECT seq FROM city_delivery WHERE subscription_id = $1::text::uuid"


async def missing(it: Town) -> list[str]:
    """Published rows of the outbox since the city joined that it has not got, once it has been told all there is."""
    last = await it.database.fetchval("SELECT max(seq) FROM outbox")
    async with asyncio.timeout(60):
        while await it.database.fetchval(_HOW_FAR, it.subscription) < last:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    rows = await it.database.fetch("SELECT seq, type FROM outbox WHERE seq <= $1 AND seq > $2 ORDER BY seq", last,
                                   it.city.events[0].seq - 1)  # fmt: skip
    have = {one.seq for one in it.city.events}
    return [f"{row['seq']} {row['type']}" for row in rows if row["type"] in BY_TYPE and row["seq"] not in have]


async def measure(servers: BenchServers, leaks: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """p50 and p99 of each stretch, in ms."""
    async with town(servers, leaks) as it:
        done: list[Leak] = []
        for flat in it.flats:
            done.append(await whole(it, flat))
            say(f"{len(done)} of {leaks} leaks")
        lost = await missing(it)
        heard = [one.seq for one in it.city.events]
        figures: dict[str, Any] = {
            "leaks": len(done),
            "city_events": len(heard),
            "lost": len(lost),
            "out_of_order": sum(one > other for one, other in pairwise(heard)),
            "not_verified": len(it.city.refused),
        }
    for words, start, end in STRETCHES:
        took = [(leak.moments[end] - leak.moments[start]) * 1000 for leak in done]
        figures[f"{words}, p50 ms"] = round(statistics.median(took))
        figures[f"{words}, p99 ms"] = round(_p99(took))
    return figures


def _p99(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * 99 // 100) - 1)]
