"""Plays one story on real wires and holds the system to what must come of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from device_sim.broker import Broker
from device_sim.held import Held
from device_sim.obeyed import Obeyed
from device_sim.theatre.api import Api, ApiRefused, Json, until
from device_sim.theatre.casting import Cast, cast, reading_ms, witness_of
from device_sim.theatre.evidence import photo
from device_sim.theatre.stage import WireStage
from device_sim.theatre.story import Story, StoryError

ORDER_S = 3.0
SETTLING_S = 45.0
"""An engine that has just come back keeps orders that are not of life safety waiting for half a minute."""
COMMAND_S = 5.0
JOIN_S = 5.0
SHOWN_S = 5.0
_CASTS = 5
"""So often other devices are looked for where those chosen spoke themselves meanwhile; as a rule none does."""
PICTURES = {
    "photo_before": ("photo", "before"),
    "photo_after": ("photo", "after"),
    "signature": ("signature", "after"),
}
"""What a class may ask for (services.domain.orders.needs), and as what it is sent."""
OPEN_STATES = ("created", "dispatched", "accepted", "arrived", "resolved", "verified", "paused", "returned")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold, and how it was."""

    what: str
    ok: bool
    found: str = ""


@dataclass(slots=True)
class Outcome:
    """How a performance went. `failed` names the first thing that went wrong, None when all was right."""

    story: str
    checks: list[Check] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    alert_s: float | None = None
    """Seconds from the device's first word to the alert at the API."""

    @property
    def failed(self) -> str | None:
        return next((f"{check.what}: {check.found}" for check in self.checks if not check.ok), None)


class Stopped(Exception):
    """What comes after would make no sense."""


@dataclass(slots=True)
class Performance:
    api: Api
    story: Story
    cast: Cast
    stage: WireStage
    witness: str
    began: datetime
    outcome: Outcome
    patience: float = 1.0

    def limit(self, seconds: float) -> float:
        """How long the system may take for what a story gives it so many seconds for."""
        return seconds * self.patience

    def check(self, what: str, ok: bool, found: object = "", *, vital: bool = False) -> None:
        self.outcome.checks.append(Check(what, ok, str(found)))
        if vital and not ok:
            raise Stopped

    # ── what the witness sees ──

    async def alerts_of(self, device: str | None) -> list[Json]:
        """Alerts raised since the story began: of one device, or of the building."""
        items = await self.api.get(
            f"communities/{self.cast.community}/alerts", as_user=self.witness, state="all", device_id=device, limit=100
        )
        fresh = [item for item in items["items"] if datetime.fromisoformat(item["fired_at"]) >= self.began]
        if device is None:
            return [i for i in fresh if i["device_id"] is None and i["building_id"] == self.cast.building]
        return fresh

    async def alert(self, device: str | None, rules: frozenset[str], since: float) -> Json:
        """The alert that must come, within the story's time from `since`."""
        within = self.limit(self.story.expected.within_s)

        async def look() -> Json | None:
            return next((a for a in await self.alerts_of(device) if a["rule_id"] in rules), None)

        found: Json | None = await until(since + within, look)
        seconds = asyncio.get_running_loop().time() - since
        subject = device or f"building {self.cast.building}"
        if found is None:
            said = await self.alerts_of(device)
            path = f"/api/v1/communities/{self.cast.community}/alerts?state=all" + (
                f"&device_id={device}" if device else ""
            )
            instead = (
                ", ".join(f"{item['rule_id']} ({item['state']})" for item in said) or "no alert since the story began"
            )
            self.check(
                f"an alert of {subject} within {within:g} s",
                False,
                f"no alert within {within:g} s; is services/alerts running? GET {path} said: {instead}",
            )
            raise Stopped
        if self.outcome.alert_s is None:
            self.outcome.alert_s = seconds
        self.check(f"{subject}: {found['rule_id']} within {within:g} s", seconds <= within, f"{seconds:.2f} s")
        return found

    async def order(self, alert: Json) -> Json:
        """The one open order of an alert."""

        async def look() -> list[Json]:
            alert.update(await self.api.get(f"alerts/{alert['id']}", as_user=self.witness))
            if alert["order_id"] is None:
                return []
            return [await self.api.get(f"orders/{alert['order_id']}", as_user=self.witness)]

        found = await until(asyncio.get_running_loop().time() + self.limit(ORDER_S), look)
        if not found and alert["held"] == ["settling"]:
            found = await until(asyncio.get_running_loop().time() + self.limit(SETTLING_S), look)
        why = f", held: {', '.join(alert['held'])}" if alert["held"] else ""
        what = found[0]["number"] if found else f"none was opened{why}"
        self.check(f"{alert['rule_id']}: an order", bool(found), what, vital=True)
        order: Json = found[0]
        self.check("the order is open", order["state"] in OPEN_STATES, order["state"])
        return order

    async def carried_out(self, alert: Json, device: str) -> None:
        """The plan of the alert tells the device what to do, which does it and answers; the answer ends the command."""
        for name in sorted(self.story.expected.commands):

            async def look(name: str = name) -> bool:
                found = [
                    c["state"] for c in await self.commands(alert) if (c["device_id"], c["name"]) == (device, name)
                ]
                return bool(found) and set(found) <= {"done", "confirmed"}

            within = self.limit(COMMAND_S)
            done = await until(asyncio.get_running_loop().time() + within, look)
            said = ", ".join(f"{c['device_id']} {c['name']}: {c['state']}" for c in await self.commands(alert))
            self.check(f"{device}: {name} is carried out within {within:g} s", bool(done), said or "no command")

    async def commands(self, alert: Json) -> list[Json]:
        """Of every run of a plan that the alert set off."""
        runs = await self.api.pages(
            f"communities/{self.cast.community}/plan-runs", as_user=self.witness, alert_id=alert["id"]
        )
        details = [await self.api.get(f"plan-runs/{run['id']}", as_user=self.witness) for run in runs]
        return [command for detail in details for command in detail["commands"]]

    async def orders(self) -> list[Json]:
        """Open orders since the story began that concern its devices or its building."""
        items = await self.api.pages(f"communities/{self.cast.community}/orders", as_user=self.witness, state="open")
        mine = set(self.cast.ids) | {device["id"] for device in self.cast.behind}
        return [
            item
            for item in items
            if datetime.fromisoformat(item["created_at"]) >= self.began
            and (
                item["device_id"] in mine
                or (
                    item["device_id"] is None
                    and self.story.need.one_building
                    and item["building_id"] == self.cast.building
                )
            )
        ]

    # ── the stories ──

    async def silent(self) -> bool:
        """Tells the first of the story; False: the device had itself said something newer before its wire was taken.

        What it had said reached the broker before the story's first, on the same topic, and so shows before it.
        Raises StoryError where what was acknowledged does not show.
        """
        if self.story.first is None:
            return True
        await self.story.first(self.stage, self.cast.ids)
        device, kind = self.cast.ids[0], self.story.need.kind
        said_ms = self.stage.said_ms[device]

        async def look() -> int | None:
            shown = await self.api.pages(f"communities/{self.cast.community}/devices", as_user=self.witness, kind=kind)
            newest_ms = next((reading_ms(one) for one in shown if one["id"] == device), 0)
            return newest_ms if newest_ms >= said_ms else None

        within = self.limit(SHOWN_S)
        newest_ms: int | None = await until(asyncio.get_running_loop().time() + within, look)
        if newest_ms is None:
            raise StoryError(f"{device}: a reading that was acknowledged does not show within {within:g} s")
        return newest_ms == said_ms

    async def play(self) -> None:
        await (self.story.act or Performance.one_order)(self)

    async def opening(self) -> tuple[Json, Json]:
        """The script, and the alert and the one order that must come of it."""
        expected, since = self.story.expected, asyncio.get_running_loop().time()
        await self.story.script(self.stage, self.cast.ids)
        alert = await self.alert(None if expected.of_building else self.cast.ids[0], expected.rules, since)
        self.right(alert)
        order = await self.order(alert)
        self.check(f"its team is {expected.team}", order["team"] == expected.team, order["team"])
        await self.alone(order)
        return alert, order

    async def one_order(self) -> None:
        expected = self.story.expected
        alert, order = await self.opening()
        device = None if expected.of_building else self.cast.ids[0]
        if device is not None:
            await self.carried_out(alert, device)
        if self.story.again is not None:
            before = await self.shared(order)
            await self.story.again(self.stage, self.cast.ids)
            if self.story.repeats:
                await self.joined(before, order)
            await self.alone(order)
        await self.ending(order)

    async def ending(self, order: Json, worker: str | None = None) -> None:
        """The devices calm down, people end what is left of the order, and nothing is left over."""
        expected = self.story.expected
        if self.story.calm is not None:
            await self.story.calm(self.stage, self.cast.ids)
        await self.finish(order, worker)
        device = None if expected.of_building else self.cast.ids[0]
        alerts = [a for a in await self.alerts_of(device) if a["rule_id"] in expected.rules]
        self.check("one alert in all", len(alerts) == 1, len(alerts))
        left = await self.orders()
        self.check("no order left open", not left, ", ".join(str(item["number"]) for item in left) or "none")

    def right(self, alert: Json) -> None:
        expected = self.story.expected
        self.check(f"its severity is {expected.severity}", alert["severity"] == expected.severity, alert["severity"])
        self.check(f"it goes to {expected.team}", alert["team"] == expected.team, alert["team"])
        self.check("life safety", alert["life_safety"] == expected.life_safety, alert["life_safety"])
        self.check("it says where", bool(alert["place"]), alert["place"])

    async def alone(self, order: Json) -> None:
        """One order, whatever else was raised; the alerts of single devices are worked on in it."""

        async def look() -> list[Json]:
            found = await self.orders()
            return found if [item["id"] for item in found] == [order["id"]] else []

        await until(asyncio.get_running_loop().time() + self.limit(ORDER_S), look)
        found = await self.orders()
        numbers = ", ".join(f"{item['number']} ({item['kind']})" for item in found)
        self.check("exactly one open order", [item["id"] for item in found] == [order["id"]], numbers or "none")
        if self.story.expected.also:
            for device in self.cast.ids:
                for other in await self.alerts_of(device):
                    if other["rule_id"] in self.story.expected.also:
                        self.check(f"{device} shares it", other["order_id"] == order["id"], other["order_id"])

    async def shared(self, order: Json) -> dict[str, tuple[int, str]]:
        """How often and when last each alert that is worked on in this order came."""
        found = await self.alerts_of(None) if self.story.expected.of_building else []
        for device in self.cast.ids:
            found += await self.alerts_of(device)
        return {item["id"]: (item["occurrences"], item["last_at"]) for item in found if item["order_id"] == order["id"]}

    async def joined(self, before: dict[str, tuple[int, str]], order: Json) -> None:
        """The repeat shows on the alerts of this order, and brings no new one."""

        async def look() -> bool:
            now = await self.shared(order)
            return any(now[alert] > was for alert, was in before.items() if alert in now)

        seen = await until(asyncio.get_running_loop().time() + self.limit(JOIN_S), look)
        self.check("the repeat joins", bool(seen), "yes" if seen else "occurrences and last_at stand still")
        now = await self.shared(order)
        self.check("no further alert", set(now) == set(before), f"{len(before)} before, {len(now)} now")

    async def finish(self, order: Json, worker: str | None = None) -> None:
        """Somebody of the team does what is left of it, `worker` where given; the desk, another person, checks it."""
        worker = worker or await self.worker(order)
        done = await self.api.get(f"orders/{order['id']}", as_user=self.witness)
        steps = (
            ("accept", worker, "accepted"),
            ("arrive", worker, "arrived"),
            ("resolve", worker, "resolved"),
            ("verify", self.witness, "verified"),
            ("close", self.witness, "closed"),
        )
        left = [step for step in steps if done[f"{step[2]}_at"] is None]
        for move, who, state in left:
            await self.prepare(order, move, who)
            order = await self.api.move(order["id"], move, as_user=who, note=f"{self.story.label.zh} {move}")
            self.check(f"{who}: {move}", order["state"] == state, order["state"], vital=True)
        detail = await self.api.get(f"orders/{order['id']}", as_user=self.witness)
        by = {entry["move"]: entry["actor"] for entry in detail["history"]}
        self.check("verified by somebody else", by.get("verify") != by.get("resolve"), by.get("verify"))

    async def prepare(self, order: Json, move: str, who: str) -> None:
        """The pictures and signatures that the class of the order asks for before this move."""
        seen = await self.api.get(f"orders/{order['id']}", as_user=who)
        for need in (seen.get("needs") or {}).get(move, ()):
            if need in PICTURES:
                await self.picture(order, need, who)

    async def picture(self, order: Json, need: str, who: str) -> None:
        """Taken and sent by somebody on site."""
        sort, phase = PICTURES[need]
        taken = photo(f"{order['id']} {order['version']} {need}")
        await self.api.call(
            "POST",
            f"orders/{order['id']}/evidence",
            as_user=who,
            params={"sort": sort, "phase": phase},
            files={"file": (f"{need}.png", taken, "image/png")},
        )
        self.check(f"{who}: {need}", True, f"{len(taken)} bytes")

    async def worker(self, order: Json) -> str:
        """Somebody who may accept it. Ends the performance where nobody may."""
        found = await self.workers(order)
        self.check(f"somebody of {order['team']} may accept", bool(found), ", ".join(found) or "nobody", vital=True)
        return found[0]

    async def workers(self, order: Json) -> list[str]:
        """Everybody of its team who may accept it now."""
        found: list[str] = []
        for account in self.api.accounts.values():
            if account.team == order["team"] and account.role in ("staff", "grid"):
                seen = await self.api.get(f"orders/{order['id']}", as_user=account.username)
                if "accept" in seen["moves"]:
                    found.append(account.username)
        return found


async def perform(
    api: Api,
    story: Story,
    community: str,
    broker: Broker,
    credentials: Mapping[str, str],
    held: Held | None = None,
    *,
    patience: float = 1.0,
    obeyed: Obeyed | None = None,
) -> Outcome:
    """One performance, start to end. Raises Unreachable; what went wrong otherwise is in the outcome.

    `patience`: every limit of time is so many times longer, for machines that do much else.
    """
    outcome = Outcome(story.name)
    try:
        witness = witness_of(api.accounts)
        for _ in range(_CASTS):
            chosen = await cast(api, community, witness, story, time.time_ns() // 1_000_000)
            began = datetime.fromtimestamp(time.time()).astimezone()
            outcome.devices = chosen.ids
            stage = WireStage(
                broker,
                community,
                credentials,
                chosen.gateways,
                held,
                kinds=chosen.kinds,
                with_status=story.need.status,
                patience=patience,
                obeyed=obeyed,
            )
            performance = Performance(api, story, chosen, stage, witness, began, outcome, patience)
            try:
                await stage.open(chosen.ids)
                if await performance.silent():
                    await performance.play()
                    break
            finally:
                await stage.close()
        else:
            raise StoryError(f"{_CASTS} times a {story.need.kind} that was to have been silent spoke meanwhile")
    except Stopped:
        pass
    except ApiRefused as error:
        outcome.checks.append(Check("the API does what a story asks", False, str(error)))
    except StoryError as error:
        outcome.checks.append(Check("the story can be played", False, str(error)))
    return outcome
