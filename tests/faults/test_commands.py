"""Commands while everything dies, devices are away, and somebody forges: executed at most once, never late, one end.

The whole way: the API as a process, the engine as a process, ingest, a real broker, and simulated devices that count
what they carry out. LINHUB_FAULT_KILLS and LINHUB_FAULT_SEED as in `tests.fault_kit`.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from device_sim.obeyed import Obeyed
from device_sim.uplink import Uplink
from services.domain.commands import ENDED, CommandMove, CommandState, Entry, fold
from tests.api_server import KEY, client
from tests.conftest import Mqtt
from tests.factory import secret_of
from tests.fault_kit import KILLS, SEED, IngestProcess, ServiceProcess
from tests.fault_rows import note, row
from tests.ingest_kit import Database, until
from tests.sim_kit import broker_of

EACH_ROUND = 10
ENDS = [state.value for state in ENDED]


@dataclass
class Charger:
    """A device that counts what it carries out, over all its lives; what it has begun lies on disk."""

    mqtt: Mqtt
    home: str
    id: str
    file: Path
    executed: list[str] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    uplink: Uplink | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def _obey(self, command: dict[str, Any]) -> tuple[bool, str]:
        self.executed.append(str(command["id"]))
        assert self.uplink is not None
        self.uplink.send("telemetry", {"ts": int(time.time() * 1000), "values": {"power": 0.0}})
        return True, "done"

    async def begin(self) -> None:
        self._stop = asyncio.Event()
        uplink = self.uplink = Uplink(
            broker_of(self.mqtt),
            self.home,
            self.id,
            secret_of(self.id),
            on_command=self._obey,
            obeyed=Obeyed(self.file),
        )
        hears = uplink._commanded

        def listen(client: paho.Client, body: dict[str, Any]) -> None:
            self.heard.append(body)
            hears(client, body)

        uplink._commanded = listen  # type: ignore[method-assign]
        stop = self._stop

        async def tick() -> None:
            while not stop.is_set():
                uplink.misc()
                uplink.resend_due()
                await asyncio.sleep(0.05)

        self._tasks = [asyncio.create_task(uplink.run(stop)), asyncio.create_task(tick())]

        async def there() -> bool:
            return uplink.connected

        await until(there)

    async def end(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def crash(self) -> None:
        """Its socket is gone in the middle of whatever it did; then it starts anew and reads what it had begun."""
        assert self.uplink is not None
        self._stop.set()
        self.uplink.cut()
        await asyncio.gather(*self._tasks)
        await self.begin()


@dataclass
class City:
    """Everything that takes part, and people who ask."""

    db: Database
    home: str
    mqtt: Mqtt
    api: ServiceProcess
    engine: ServiceProcess
    charger: Charger
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    async def login(self, who: str) -> None:
        async with client(f"http://127.0.0.1:{self.api.port}", f"{self.home}-{who}") as http:
            self.headers[who] = {"Authorization": http.headers["Authorization"]}

    async def post(self, who: str, path: str, body: dict[str, Any], key: str = "") -> httpx.Response:
        base = f"http://127.0.0.1:{self.api.port}/api/v1"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=10) as http:
            return await http.post(
                path, json=body, headers=self.headers[who] | {"Idempotency-Key": key or str(uuid4())}
            )

    async def ask(self, name: str = "stop", device: str = "", key: str = "", **more: Any) -> httpx.Response:
        body = {"device_id": device or self.charger.id, "name": name, "why": "试", **more}
        return await self.post("desk", f"/communities/{self.home}/commands", body, key)

    async def insist(self, key: str) -> str:
        """As a client does whose request got lost: the same key again, until there is an answer."""
        deadline = time.monotonic() + 90
        while True:
            assert time.monotonic() < deadline, f"{key} was never answered"
            try:
                answer = await self.ask(key=key)
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 201:
                return str(answer.json()["id"])
            assert answer.status_code >= 500, answer.text
            await asyncio.sleep(0.1)

    async def state(self, command: str) -> str:
        found: str = await self.db.connection.fetchval("SELECT state FROM command WHERE id = $1", UUID(command))
        return found

    async def ended(self, command: str, within_s: float = 90) -> str:
        async def over() -> str | None:
            state = await self.state(command)
            return state if state in ENDS else None

        return str(await until(over, within_s))

    async def assert_true(self) -> None:
        """Every row is what its history says, and ended once."""
        rows = await self.db.connection.fetch("SELECT * FROM command")
        for one in rows:
            lines = await self.db.connection.fetch(
                "SELECT * FROM command_history WHERE command_id = $1 ORDER BY version", one["id"]
            )
            command = fold(
                Entry(
                    line["version"],
                    CommandMove(line["move"]),
                    CommandState(line["from_state"]) if line["from_state"] else None,
                    CommandState(line["to_state"]),
                    line["at"],
                    line["by"],
                )
                for line in lines
            )
            assert (command.state, command.sends, command.ended) == (one["state"], one["sends"], one["state"] in ENDS)


@asynccontextmanager
async def city(db: Database, home: str, mqtt: Mqtt, database_url: str, tmp_path: Path, *, engine: bool = True) -> (
    AsyncIterator[City]
):  # fmt: skip
    charger = Charger(mqtt, home, f"{home}-charger-1", tmp_path / "obeyed.jsonl")
    mqtt.admit({name: secret_of(name) for name in (charger.id, f"{home}-siren-1", f"{home}-lamp_post-1")})
    async with AsyncExitStack() as stack:
        ingest = await stack.enter_async_context(IngestProcess(database_url, mqtt.url, f"t-{home}").running())
        url = mqtt.account_url("svc-alerts")
        alerts = ServiceProcess("alerts", database_url, mqtt_url=url, alerts_lease_s=1, alerts_settling_s=0)
        api = await stack.enter_async_context(ServiceProcess("api", database_url, secret_key=KEY).running())
        if engine:
            await stack.enter_async_context(alerts.running())
            await alerts.ready()
        await ingest.ready()
        await api.ready()
        found = City(db, home, mqtt, api, alerts, charger)
        for who in ("desk", "admin"):
            await found.login(who)
        yield found


@row(30)
async def test_api_engine_and_device_killed_mid_command_carry_each_out_at_most_once(
    db: Database, home: str, mqtt: Mqtt, database_url: str, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    async with city(db, home, mqtt, database_url, tmp_path) as all_:
        await all_.charger.begin()
        commands: list[str] = []
        for turn in range(KILLS):
            asking = [asyncio.create_task(all_.insist(f"{turn}-{number}")) for number in range(EACH_ROUND)]
            await asyncio.sleep(chance.uniform(0.0, 0.6))
            victim = ("api", "engine", "device")[turn % 3]
            if victim == "device":
                await all_.charger.crash()
            else:
                process = all_.api if victim == "api" else all_.engine
                await process.kill()
                await process.start()
                await process.ready()
            commands += await asyncio.gather(*asking)
        states = {command: await all_.ended(command) for command in commands}
        ends = Counter(states.values())
        await all_.assert_true()
        await all_.charger.end()
        rows = await db.count("command")
    executed = Counter(all_.charger.executed)
    most, unknown = max(executed.values()), set(executed) - set(commands)
    note(sent=len(commands), lost=len(commands) - rows, doubled=sum(n - 1 for n in executed.values()), kills=KILLS,
         executed=len(executed), most_executed=most, confirmed=ends["confirmed"])  # fmt: skip
    assert rows == len(set(commands)) == KILLS * EACH_ROUND
    assert most <= 1 and not unknown
    assert set(ends) <= {"confirmed", "unconfirmed", "expired"} and ends["confirmed"], ends
    missed = [one for one in commands if one not in executed]
    assert {states[one] for one in missed} <= {"expired"}, "confirmed is what was carried out, and nothing else"


@row(31)
async def test_command_to_a_device_that_is_away_is_never_carried_out_afterwards(
    db: Database, home: str, mqtt: Mqtt, database_url: str, tmp_path: Path
) -> None:
    """What expired meanwhile does not come true: the broker drops it, and the device refuses what comes late."""
    async with city(db, home, mqtt, database_url, tmp_path) as all_:
        await all_.charger.begin()
        await all_.charger.end()
        stale = [(await all_.ask(expires_in_s=20)).json()["id"] for _ in range(EACH_ROUND)]

        async def all_sent() -> bool:
            query = "SELECT bool_and(sends > 0 AND sent_at IS NOT NULL) FROM command"
            return bool(await db.connection.fetchval(query))

        await until(all_sent)
        assert {await all_.ended(command) for command in stale} == {"expired"}
        # Whoever forgets the broker's expiry, or a broker that does not know of it: the device's own clock decides.
        late = [await _kept_by_the_broker(all_, home) for _ in range(EACH_ROUND)]
        await all_.charger.begin()
        fresh = (await all_.ask()).json()["id"]
        assert await all_.ended(fresh) == "confirmed"
        heard = [one["id"] for one in all_.charger.heard]
        await all_.charger.end()
        await all_.assert_true()
    assert set(late) <= set(heard), "these were handed over late, as the device saw"
    wrong = [one for one in all_.charger.executed if one != fresh]
    note(
        sent=len(stale) + len(late),
        lost=0,
        doubled=0,
        stale_executed=len(wrong),
        handed_over_late=len(set(late + stale) & set(heard)),
    )
    assert wrong == [] and all_.charger.executed == [fresh]


async def _kept_by_the_broker(all_: City, home: str) -> str:
    """A command in the device's session that has expired already, without an expiry for the broker."""
    number = str(uuid4())
    now = int(time.time() * 1000)
    body = {"id": number, "ts": now - 9000, "command": "stop", "params": {}, "expires": now - 5000}
    await _publish(all_.mqtt, f"sc/{home}/{all_.charger.id}/down/command", body)
    return number


async def _publish(
    mqtt: Mqtt, topic: str, body: Any, *, login: tuple[str, str] | None = None, retain: bool = False
) -> bool:
    """Whether the broker took it, at QoS 1. A device logs in at the devices' listener, under its own name."""
    name, secret = login or (mqtt.username, mqtt.password)
    port = mqtt.device_port if login else mqtt.port
    client_id = name if login else f"t-{uuid4().hex[:8]}"

    def send() -> bool:
        found: list[bool] = []
        sender = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        sender.username_pw_set(name, secret)
        sender.on_publish = lambda _c, _u, _m, reason, _p: found.append(not reason.is_failure)
        sender.connect(mqtt.host, port)
        sender.loop_start()
        try:
            info = sender.publish(topic, json.dumps(body), qos=1, retain=retain)
            info.wait_for_publish(90)
            assert info.is_published(), "the broker did not answer"
        finally:
            sender.disconnect()
            sender.loop_stop()
        return bool(found and found[0])

    return await asyncio.to_thread(send)


async def _strays(db: Database) -> dict[str, int]:
    rows = await db.connection.fetch("SELECT reason, sum(times)::int AS n FROM command_stray GROUP BY 1")
    return {one["reason"]: one["n"] for one in rows}


@row(36)
async def test_forged_and_replayed_commands_and_replies_do_nothing(
    db: Database, home: str, mqtt: Mqtt, database_url: str, tmp_path: Path
) -> None:
    siren = f"{home}-siren-1"
    as_siren = (siren, secret_of(siren))
    async with city(db, home, mqtt, database_url, tmp_path) as all_:
        charger = all_.charger
        await charger.begin()
        down = f"sc/{home}/{charger.id}/down/command"
        forged = {
            "id": str(uuid4()),
            "ts": 0,
            "command": "stop",
            "params": {},
            "expires": int(time.time() * 1000) + 60_000,
        }
        assert not await _publish(mqtt, down, forged, login=as_siren), "the broker lets no device speak downwards"
        assert not await _publish(mqtt, f"sc/{home}/{charger.id}/up/reply", {}, login=as_siren)
        # Even from somebody whom the broker lets in: kept, without an expiry, or with one that is no time.
        assert await _publish(mqtt, down, forged | {"id": str(uuid4())}, retain=True)
        for wrong in (None, "soon", True):
            assert await _publish(mqtt, down, forged | {"id": str(uuid4()), "expires": wrong})
        real = (await all_.ask()).json()["id"]
        assert await all_.ended(real) == "confirmed"
        payload = next(one for one in charger.heard if one["id"] == real)
        for _ in range(5):
            assert await _publish(mqtt, down, payload)
        await charger.crash()
        assert await _publish(mqtt, down, payload)

        async def replayed() -> bool:
            return len([one for one in charger.heard if one["id"] == real]) >= 7

        await until(replayed)
        # Replies: of another device's command, of none, of one that has ended.
        waits = await _awaiting(all_)
        now = int(time.time() * 1000)
        for number in (waits, real, str(uuid4()), "x" * 200, "'; DROP TABLE command; --"):
            assert await _publish(
                mqtt, f"sc/{home}/{siren}/up/reply", {"id": number, "ts": now, "ok": True}, login=as_siren
            )

        async def kept() -> bool:
            found = await _strays(db)
            return found.get("foreign", 0) >= 2 and found.get("unknown", 0) >= 3

        await until(kept)
        assert await all_.state(waits) == "awaiting" and await all_.state(real) == "confirmed"
        strays = await _strays(db)
        await charger.end()
        await all_.assert_true()
        await _publish(mqtt, down, "", retain=True)
    note(
        sent=9,
        lost=0,
        doubled=0,
        forged_executed=len(set(charger.executed) - {real}),
        replayed_executed=charger.executed.count(real) - 1,
        **{f"strays_{name}": n for name, n in strays.items()},
    )
    assert charger.executed == [real]


async def _awaiting(all_: City) -> str:
    asked = await all_.ask("valve_close", f"{all_.home}-gas_meter-1")
    assert asked.json()["state"] == "awaiting", asked.text
    return str(asked.json()["id"])


@row(36)
async def test_commands_approved_by_oneself_too_late_or_by_somebody_revoked_are_never_sent(
    db: Database, home: str, mqtt: Mqtt, database_url: str, tmp_path: Path
) -> None:
    async with city(db, home, mqtt, database_url, tmp_path, engine=False) as all_:
        own, late, gone = [await _awaiting(all_) for _ in range(3)]
        self_approved = await all_.post("desk", f"/commands/{own}/approve", {})
        await db.connection.execute(
            "UPDATE command SET requested_at = now() - interval '1 h', expires_at = now() - interval '1 s'"
            " WHERE id = $1",
            UUID(late),
        )
        too_late = await all_.post("admin", f"/commands/{late}/approve", {})
        approved = await all_.post("admin", f"/commands/{gone}/approve", {})
        assert [one.status_code for one in (self_approved, too_late, approved)] == [403, 409, 200]
        # The engine was away meanwhile: when it comes back, whoever approved may not any more.
        await db.connection.execute("UPDATE app_user SET disabled_at = now() WHERE username = $1", f"{home}-admin")
        async with all_.engine.running():
            await all_.engine.ready()
            assert await all_.ended(gone) == "refused" and await all_.ended(late) == "expired"
            good = (await all_.ask("on", f"{home}-lamp_post-1")).json()["id"]

            async def sent() -> bool:
                return await all_.state(good) == "sent"

            await until(sent)
        sends = await db.connection.fetchval("SELECT coalesce(sum(sends), 0) FROM command WHERE id <> $1", UUID(good))
        await all_.assert_true()
    note(sent=3, lost=0, doubled=0, self_approved_sent=0, revoked_sent=int(sends))
    assert sends == 0 and await all_.state(own) == "awaiting"


pytestmark = pytest.mark.usefixtures("db")
