"""A day lived through real ingest and a real alert engine, then told again from the log and from the tables."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import structlog

from services.adapters.history import Plan, Way, backtest
from services.adapters.rules import KINDS, default_rulebook
from services.domain.devices import BY_NAME
from services.domain.proof.backtest import told
from services.domain.rules.parameters import EventParameters, NOfMParameters, ThresholdParameters
from tests.factory import put_community, small_community
from tests.replay_kit import Sent, living, stored_alerts

HOURS = float(os.environ.get("LINHUB_BACKTEST_HOURS", "3"))
SEED = int(os.environ.get("LINHUB_BACKTEST_SEED", "20261122"))
COMMUNITY = "replayed"
MIN, HOUR = 60_000, 3_600_000
LEAST_INTERVAL_S = 900
"""Each interval is three looks at the clock; what a minute's device does it does in a quarter of an hour as well."""
GOOD = {
    "flow": 0.1, "battery": 80.0, "voltage": 220.0, "current": 5.0, "power": 1.0, "lel": 0.0, "heart_rate": 70.0,
    "systolic": 120.0, "spo2": 97.0, "fill": 10.0, "temperature": 25.0, "tilt": 0.0, "water_level": 0.0, "pm2_5": 20.0,
    "ch4": 0.0, "o2": 20.9, "h2s": 0.0, "inside": 10.0, "occupied": 0.0, "open": 0.0, "on": 0.0, "total_m3": 10.0,
}  # fmt: skip


class Story:
    """What a community's devices say in a day, with every sort of trouble; each message arrives at its own time."""

    def __init__(self, start_ms: int, hours: float, seed: int) -> None:
        self.start, self.end = start_ms, start_ms + round(hours * HOUR)
        self.chance = random.Random(seed)
        self.sent: list[Sent] = []
        self._taken: set[int] = set()

    def say(self, at: float, device: str, channel: str, body: Any) -> None:
        received = round(at)
        while received in self._taken:
            received += 1
        self._taken.add(received)
        if self.start <= received < self.end:
            self.sent.append(Sent(received, COMMUNITY, device, channel, body))

    def tell(self) -> list[Sent]:
        for device in small_community(COMMUNITY).devices:
            self._device(device.id, device.kind, device.gateway_id)
        return self.sent

    def _device(self, id: str, kind_name: str, gateway: str | None) -> None:
        kind, chance = BY_NAME[kind_name], self.chance
        step = max(kind.interval_s, LEAST_INTERVAL_S) * 1000
        speaker = gateway or id
        named = {"device": id} if gateway else {}
        rules = default_rulebook().defaults[kind_name]
        events = [rule.parameters.event for rule in rules if isinstance(rule.parameters, EventParameters)]
        limits = [
            rule.parameters for rule in rules if isinstance(rule.parameters, ThresholdParameters | NOfMParameters)
        ]
        gone = self._silences(step)
        said = chance.random() < 0.5
        session = 1
        if gateway is None and said:
            self.say(
                self.start + chance.uniform(0, MIN), id, "status", {"ts": self.start, "online": True, "session": 1}
            )
        at, trouble, left, total = self.start + chance.uniform(0, step), None, 0, 10.0
        held_back: list[tuple[int, Any]] = []
        while at < self.end:
            silent = next((gap for gap in gone if gap[0] <= at < gap[1]), None)
            if silent is not None:
                if gateway is None and said and silent[2]:
                    self.say(silent[0] + 1, id, "status", {"ts": self.start, "online": False, "session": session})
                    session += 1
                    self.say(silent[1] + 1, id, "status", {"ts": round(silent[1]), "online": True, "session": session})
                at = silent[1] + 5
                continue
            if trouble is None and limits and chance.random() < 0.08:
                trouble, left = chance.choice(limits), chance.choice((1, 2, 3, 8, 30, 70))
            ts = round(at)
            values: dict[str, Any] = {}
            for metric in kind.metrics:
                values[metric.name] = GOOD.get(metric.name, 1.0)
            if "total_m3" in values:
                total += 0.0 if chance.random() < 0.7 else 0.002
                values["total_m3"] = round(total, 4)
            if trouble is not None:
                values[trouble.metric] = trouble.limit
                left -= 1
                trouble = None if left <= 0 else trouble
            if values:
                body = [{**named, "ts": ts, "values": values}] if gateway else {"ts": ts, "values": values}
                lot = chance.random()
                if lot < 0.02:
                    self.say(ts + chance.uniform(11, 400) * MIN, speaker, "telemetry", body)
                elif lot < 0.05:
                    held_back.append((ts, body))
                else:
                    self.say(ts + chance.uniform(20, 3000), speaker, "telemetry", body)
                    if lot < 0.10:
                        self.say(ts + chance.uniform(4000, 9000), speaker, "telemetry", body)
                    while held_back:
                        # Overtaken by a newer one.
                        _, old = held_back.pop()
                        self.say(ts + chance.uniform(3001, 3900), speaker, "telemetry", old)
            elif chance.random() < 0.3:
                self.say(ts + 20, speaker, "reply", {"id": f"c{ts}", "ts": ts, "ok": True, **named})
            if events and chance.random() < 0.1:
                self._event(speaker, named, chance.choice(events), ts)
            if chance.random() < 0.003:
                self.say(ts + 500, id if not gateway else speaker, "telemetry", _ahead(named, ts, values, gateway))
            at += step * chance.uniform(0.9, 1.1)
        if id.endswith("environment-1"):
            for n in range(900):
                self.say(
                    self.start + HOUR + n,
                    id,
                    "telemetry",
                    {"ts": round(self.start + HOUR + n), "values": {"noise": 50}},
                )

    def _event(self, speaker: str, named: dict[str, str], event: str, ts: int) -> None:
        delay = self.chance.choice((30, 300, 2000, 8 * MIN, 12 * MIN, 70 * MIN))
        body = {"id": f"e{ts}", "ts": ts, "event": event, **named}
        self.say(ts + delay, speaker, "event", [body] if named else body)
        for _ in range(self.chance.choice((0, 0, 1, 10))):
            self.say(ts + delay + self.chance.uniform(1000, 90_000), speaker, "event", [body] if named else body)
        if self.chance.random() < 0.4:
            again = ts + round(self.chance.uniform(5, 200) * 1000)
            body = {"id": f"e{again}", "ts": again, "event": event, **named}
            self.say(again + 40, speaker, "event", [body] if named else body)

    def _silences(self, step: int) -> list[tuple[float, float, bool]]:
        found, at = [], self.start + self.chance.uniform(1, 8) * HOUR
        while at < self.end and self.chance.random() < 0.6:
            lasts = step * self.chance.choice((2.2, 3.5, 6, 20))
            found.append((at, at + lasts, self.chance.random() < 0.5))
            at += lasts + self.chance.uniform(2, 8) * HOUR
        return found


def _ahead(named: dict[str, str], ts: int, values: dict[str, Any], gateway: str | None) -> Any:
    body = {**named, "ts": ts + 20 * MIN, "values": values or {"x": 1}}
    return [body] if gateway else body


@pytest.fixture
def start_ms() -> int:
    """Midnight of Shanghai before the whole story lies in the past, so that absences have a day of their own."""
    day = (datetime.now(UTC) - timedelta(hours=HOURS + 9)).date()
    return round(datetime(day.year, day.month, day.day, 22, tzinfo=UTC).timestamp() * 1000) - 86_400_000


@pytest.fixture
def few_words() -> Iterator[None]:
    """Hours of a community in a minute would say a great deal; whoever is tested next may want to hear everything."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("few_words")
async def test_backtest_from_log_and_from_tables_says_what_the_live_engine_said(
    database_url: str, start_ms: int
) -> None:
    await put_community(database_url, small_community(COMMUNITY))
    connection = await asyncpg.connect(database_url)
    try:
        await _jsonb(connection)
        await connection.execute("UPDATE device SET interval_s = greatest(interval_s, $1)", LEAST_INTERVAL_S)
        story = Story(start_ms, HOURS, SEED)
        sent = story.tell()
        began = time.process_time()
        async with living(database_url, COMMUNITY, start_ms) as live:
            await live.live(sent, 10 * MIN, story.end)
        lived = time.process_time() - began
        stored = await stored_alerts(connection)
        plan = Plan(COMMUNITY, _at(start_ms), _at(story.end), warm_up=timedelta(0), settle_ms=0)
        for way in (Way.LOG, Way.TABLES):
            began = time.process_time()
            done = await backtest(connection, replace(plan, way=way), [default_rulebook()], KINDS)
            said = {str(alert.id): told(alert) for alert in done.books[0].alerts}
            wrong = list(_differences(stored, said))
            took = time.process_time() - began
            rates = f"{way}: {len(said)} alerts of {done.source.items} items, {took:.1f} s (lived in {lived:.1f} s)"
            assert not wrong, f"{rates}: {len(wrong)} of {len(stored)}:\n" + "\n".join(wrong[:12])
        assert len(stored) > 10 * HOURS
        assert len({row["rule"] for row in stored.values()}) > 12
    finally:
        await connection.close()


def _differences(stored: dict[str, dict[str, Any]], said: dict[str, dict[str, Any]]) -> Iterator[str]:
    for id in stored.keys() | said.keys():
        if id not in said:
            yield f"only live: {stored[id]}"
        elif id not in stored:
            yield f"only backtest: {said[id]}"
        else:
            for name, value in stored[id].items():
                if said[id][name] != value and not _ended_by_heartbeat(name, value, stored[id], said[id]):
                    what = f"{stored[id]['rule']} {stored[id]['subject']}: {name}"
                    yield f"{what} {value!r} live, {said[id][name]!r} backtest"


def _ended_by_heartbeat(name: str, value: Any, stored: dict[str, Any], said: dict[str, Any]) -> bool:
    """The one thing that may differ: when a device was back that said nothing new, or was overtaken, at first.

    Live, the offline rule finds out by looking at `device_state` once a minute; history knows when the silence ended.
    """
    if name != "cleared_ms" or not stored["rule"].endswith(".offline") or None in (value, said[name]):
        return False
    return bool(0 <= value - said[name] <= MIN)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


async def _jsonb(connection: asyncpg.Connection[Any]) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
