"""Faults 20, 21, 22 and 24: what devices, gateways and brokers say twice, late, in disorder or with a wrong clock.

The final state (readings, events, device states, orders) is compared with `tests.fault_oracle`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from tests.conftest import Mqtt
from tests.fault_kit import SEED, ServiceProcess, assert_one_order_each, many_buttons
from tests.fault_oracle import Oracle, differences
from tests.fault_rows import CAMPAIGN, note, row
from tests.ingest_kit import Database, Wire, client_prefix, database, ingest, now_ms, until

DAY_MS = 86_400_000
ROUNDS = 100 if CAMPAIGN else 20


@dataclass
class Town:
    """Devices that speak, the oracle that listens, and services at work."""

    db: Database
    wire: Wire
    home: str
    buttons: list[str]
    oracle: Oracle = field(default_factory=Oracle)
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    messages: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """(device, channel, payload), each once."""
    sent: int = 0

    def reading(self, device: str, ts: int, values: dict[str, float]) -> None:
        id = f"r{len(self.messages)}"
        self.messages.append((device, "telemetry", {"id": id, "ts": ts, "values": values}))
        self.oracle.telemetry(id, device, ts, values, now_ms())

    def press(self, button: str, ts: int) -> None:
        id = f"e{len(self.messages)}"
        self.messages.append((button, "event", {"id": id, "ts": ts, "event": "pressed"}))
        self.oracle.call(id, button, "pressed", ts, now_ms())

    def say(self, times: int = 1) -> None:
        """Everything, so many times, in any order."""
        all_of_it = self.messages * times
        self.chance.shuffle(all_of_it)
        for device, channel, payload in all_of_it:
            self.wire.send(f"sc/{self.home}/{device}/up/{channel}", payload)
        self.sent += len(all_of_it)

    async def assert_as_the_oracle_says(self) -> None:
        ledger = await self.db.received(self.sent)
        kinds = {device: device.split("-")[1] for device, channel, _ in self.messages if channel == "telemetry"}

        async def agrees() -> bool:
            return not await differences(self.oracle, self.db, kinds)

        try:
            await until(agrees)
        except AssertionError:
            raise AssertionError("\n".join(await differences(self.oracle, self.db, kinds))) from None
        # A wrong clock is set from afar and opens no order, except on what calls for help.
        wanted_orders = sorted(
            [(d, True) for d in self.oracle.calls] + [(d, False) for d in self.oracle.ahead & set(self.buttons)]
        )

        async def as_many() -> bool:
            return len(await self.orders()) >= len(wanted_orders)

        with contextlib.suppress(AssertionError):
            await until(as_many)
        assert await self.orders() == wanted_orders
        wanted = len(self.messages) - len(self.oracle.refused)
        note(sent=self.sent, lost=wanted - ledger["stored"], doubled=ledger["stored"] - wanted)
        note(orders=len(wanted_orders), duplicates_heard=ledger["duplicate"], refused=ledger["rejected"])
        assert ledger["stored"] == wanted
        for device in {device for device, _, _ in self.messages}:
            mine = {p["id"] for who, _, p in self.messages if who == device}
            await until(partial(self.answered, device, mine))
            assert set(self.wire.refused(self.home, device)) == mine & self.oracle.refused

    async def orders(self) -> list[tuple[str, bool]]:
        """(device, whether it is for a life) of each order."""
        rows = await self.db.connection.fetch(
            "SELECT d.id, a.life_safety FROM work_order o JOIN alert a ON a.id = o.alert_id "
            "JOIN device d ON d.device_no = a.device_no"
        )
        return sorted((row["id"], row["life_safety"]) for row in rows)

    async def answered(self, device: str, ids: set[str]) -> bool:
        return self.wire.acked(self.home, device) | set(self.wire.refused(self.home, device)) >= ids


@asynccontextmanager
async def town(database_url: str, mqtt: Mqtt, home: str, wire: Wire) -> AsyncIterator[Town]:
    buttons = await many_buttons(database_url, home, 12)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(database(database_url))
        alerts = ServiceProcess("alerts", database_url, alerts_lease_s=1)
        await stack.enter_async_context(alerts.running())
        await stack.enter_async_context(ingest(database_url, mqtt.url))
        await alerts.ready()
        yield Town(db, wire, home, buttons)


@row(20)
async def test_messages_said_ten_times_in_any_order_are_stored_once_and_one_order_comes_of_each_call(
    database_url: str, mqtt: Mqtt, home: str, wire: Wire
) -> None:
    async with town(database_url, mqtt, home, wire) as t:
        start = now_ms() - 60_000
        for n in range(ROUNDS):
            t.reading(f"{home}-environment-1", start + 100 * n, {"temperature": n % 50, "humidity": n % 90})
            t.reading(f"{home}-lamp_post-1", start + 100 * n, {"brightness": n % 50})
        for n, button in enumerate(t.buttons[:4]):
            t.press(button, start + n)
        t.say(times=10)
        await t.assert_as_the_oracle_says()


@row(21)
async def test_messages_in_disorder_and_48_hours_late_end_in_the_same_state_and_page_nobody_for_the_past(
    database_url: str, mqtt: Mqtt, home: str, wire: Wire
) -> None:
    async with town(database_url, mqtt, home, wire) as t:
        now = now_ms()
        for n in range(ROUNDS):
            # Halves of one reading come apart, the older after the newer.
            t.reading(f"{home}-environment-1", now - 1000 - 100 * n, {"temperature": n % 50})
            t.reading(f"{home}-environment-1", now - 1000 - 100 * n, {"humidity": n % 90})
            t.reading(f"{home}-environment-1", now - 2 * DAY_MS - 100 * n, {"temperature": n % 40, "humidity": n % 70})
            t.reading(f"{home}-lamp_post-1", now - 2 * DAY_MS + 1000 * n, {"brightness": n % 50})
        for n, button in enumerate(t.buttons[:6]):
            t.press(button, now - (2 * DAY_MS if n % 2 else 1000) - n)
        t.say(times=2)
        await t.assert_as_the_oracle_says()


@row(21)
async def test_device_state_holds_the_newest_value_of_each_metric_also_when_they_come_apart_and_in_disorder(
    database_url: str, mqtt: Mqtt, home: str, wire: Wire
) -> None:
    """A metric that is reported on its own, from a backlog sent newest first."""
    async with town(database_url, mqtt, home, wire) as t:
        now = now_ms()
        t.reading(f"{home}-environment-1", now - 1000, {"temperature": 20})
        for n in range(5):
            t.reading(f"{home}-environment-1", now - 60_000 - 1000 * n, {"noise": 40 + n})
        t.say(times=2)
        await t.assert_as_the_oracle_says()


@row(22)
async def test_devices_whose_clock_is_wrong_by_a_year_are_refused_and_their_calls_for_help_are_answered(
    database_url: str, mqtt: Mqtt, home: str, wire: Wire
) -> None:
    async with town(database_url, mqtt, home, wire) as t:
        now = now_ms()
        for n in range(ROUNDS):
            wrong = now + (365 * DAY_MS if n % 2 else -365 * DAY_MS) + n
            t.reading(f"{home}-environment-1", wrong, {"temperature": n % 50})
            t.reading(f"{home}-lamp_post-1", now - 5000 + n, {"brightness": n % 50})
        for n, button in enumerate(t.buttons[:6]):
            t.press(button, now + (365 * DAY_MS, -10 * 365 * DAY_MS, -1000)[n % 3] + n)
        t.say(times=3)
        await t.assert_as_the_oracle_says()


@row(24)
@pytest.mark.parametrize("sessions", ["kept", "lost"])
async def test_retained_messages_that_are_replayed_raise_no_new_alert(
    database_url: str, mqtt: Mqtt, home: str, wire: Wire, sessions: str
) -> None:
    """A device that wrongly retains its calls: the broker gives them again to whoever subscribes anew."""
    buttons = await many_buttons(database_url, home, 6)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(database(database_url))
        alerts = ServiceProcess("alerts", database_url, alerts_lease_s=1)
        await stack.enter_async_context(alerts.running())
        async with ingest(database_url, mqtt.url, worker=f"t-{home}"):
            await alerts.ready()
            for n, button in enumerate(buttons):
                at = now_ms()
                event = {"id": f"e{n}", "ts": at, "event": "pressed"}
                wire.send(f"sc/{home}/{button}/up/event", event, retain=True)
                # Not of the event's own millisecond: what is stored is told apart by device and time.
                reading = {"id": f"r{n}", "ts": at - 1, "values": {"battery": 50}}
                wire.send(f"sc/{home}/{button}/up/telemetry", reading, retain=True)
            await db.received(2 * len(buttons))
            await assert_one_order_each(db, buttons)
        occurrences = await db.count("alert_occurrence")
        for turn in range(3):
            # The broker's sessions go by the prefix and the partition, whichever worker reads them.
            lost = {} if sessions == "kept" else {"mqtt_client_prefix": f"{client_prefix(database_url)}-{turn}"}
            async with ingest(database_url, mqtt.url, worker=f"t-{home}", **lost):
                wire.send(
                    f"sc/{home}/{buttons[0]}/up/telemetry",
                    {"id": f"m{turn}", "ts": now_ms(), "values": {"battery": 40}},
                )
                await until(partial(heard, wire, home, buttons[0], f"m{turn}"))
                if sessions == "lost":
                    await db.received((turn + 2) * 2 * len(buttons) + turn + 1)
        await assert_one_order_each(db, buttons)
        stored = await db.stored()
        ledger = await db.ledger()
        note(sent=2 * len(buttons) + 3, lost=2 * len(buttons) + 3 - len(stored), doubled=len(stored) - len(set(stored)))
        note(replayed=ledger["duplicate"], new_alerts=await db.count("alert_occurrence") - occurrences)
        assert await db.count("alert_occurrence") == occurrences
        assert (ledger["duplicate"] > 0) == (sessions == "lost")


async def heard(wire: Wire, home: str, device: str, id: str) -> bool:
    return id in wire.acked(home, device)
