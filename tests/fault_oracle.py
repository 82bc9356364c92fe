"""What must stand in the database, computed from what was sent and nothing else.

A second, slow and plain reading of the rules in ARCHITECTURE.md; it shares no code with the services.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from services.domain.devices import BY_NAME

LATE_MS = 7 * 86_400_000
AHEAD_MS = 5 * 60_000
LOST_CLOCK_MS = 1_577_836_800_000
PAGES_WITHIN_MS = 3_600_000
"""A call for help is answered for an hour."""


@dataclass
class Oracle:
    """Told each different message once, with the time it was sent at; asked for the final state."""

    readings: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    events: dict[tuple[str, str, int], str] = field(default_factory=dict)
    """(device, event, ts) → message id."""
    taken_on_arrival: set[tuple[str, str, str]] = field(default_factory=set)
    """(device, event, message id): calls for help with an impossible time."""
    refused: set[str] = field(default_factory=set)
    """Message ids."""
    calls: set[str] = field(default_factory=set)
    """Devices that called for help in time to be answered."""
    ahead: set[str] = field(default_factory=set)
    """Devices whose clock is ahead, which is an alert of its own."""

    def telemetry(self, id: str, device: str, ts: int, values: dict[str, float], now: int) -> None:
        self._look_at_clock(device, ts, now)
        if self._impossible(ts, now):
            self.refused.add(id)
        else:
            self.readings.setdefault((device, ts), {}).update(values)

    def call(self, id: str, device: str, event: str, ts: int, now: int) -> None:
        """An event that a life-safety rule answers."""
        self._look_at_clock(device, ts, now)
        if ts - now > AHEAD_MS or ts < LOST_CLOCK_MS:
            self.taken_on_arrival.add((device, event, id))
            self.calls.add(device)
        elif now - ts > LATE_MS:
            self.refused.add(id)
        else:
            self.events[device, event, ts] = id
            if now - ts <= PAGES_WITHIN_MS:
                self.calls.add(device)

    def _look_at_clock(self, device: str, ts: int, now: int) -> None:
        if ts - now > AHEAD_MS:
            self.ahead.add(device)

    @staticmethod
    def _impossible(ts: int, now: int) -> bool:
        return ts - now > AHEAD_MS or now - ts > LATE_MS

    def latest(self) -> dict[str, tuple[int, dict[str, float]]]:
        """device → the time of its newest reading and, of each metric, the newest value."""
        found: dict[str, tuple[int, dict[str, float]]] = {}
        for (device, ts), values in sorted(self.readings.items(), key=lambda item: item[0][1]):
            found[device] = ts, {**found.get(device, (0, {}))[1], **values}
        return found


def by_name(kind: str, vals: list[float | None]) -> dict[str, float]:
    """A stored row as metric → value."""
    names = [metric.name for metric in BY_NAME[kind].metrics]
    return {name: value for name, value in zip(names, vals, strict=False) if value is not None}


async def differences(oracle: Oracle, db: Any, kinds: dict[str, str]) -> list[str]:
    """Where the database is not what it must be. `kinds`: device → kind, of all that spoke."""
    wrong: list[str] = []
    for device, kind in kinds.items():
        wanted = {ts: values for (who, ts), values in oracle.readings.items() if who == device}
        stored = {ts: by_name(kind, vals) for ts, vals in (await db.readings(device)).items()}
        if stored != wanted:
            odd = [ts for ts in wanted.keys() | stored.keys() if wanted.get(ts) != stored.get(ts)]
            wrong.append(f"{device}: {len(odd)} readings differ, as {wanted.get(odd[0])} and {stored.get(odd[0])}")
        latest = oracle.latest().get(device)
        state = await db.state(device)
        if latest is not None:
            found = (round(state["vals_ts"].timestamp() * 1000), by_name(kind, state["vals"])) if state else None
            if found != latest:
                wrong.append(f"{device}: state is {found}, not {latest}")
    rows = await db.connection.fetch(
        "SELECT d.id, e.event, (extract(epoch FROM e.ts) * 1000)::bigint AS ts, e.message_id, "
        "e.data ? 'device_ts' AS on_arrival FROM device_event e JOIN device d USING (device_no)"
    )
    in_time = {(r["id"], r["event"], r["ts"]) for r in rows if not r["on_arrival"]}
    on_arrival = [(r["id"], r["event"], r["message_id"]) for r in rows if r["on_arrival"]]
    if in_time != set(oracle.events):
        wrong.append(f"events differ: {in_time ^ set(oracle.events)}")
    if sorted(on_arrival) != sorted(oracle.taken_on_arrival):
        wrong.append(f"events taken on arrival differ: {sorted(on_arrival)} and {sorted(oracle.taken_on_arrival)}")
    return wrong
