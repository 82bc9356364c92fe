"""One community as it is now, as rows by id: read whole, then kept current by what the outbox and the states say."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from pydantic_core import to_json

from services.api.answers.models import BuildingOut, DrawnPlanOut
from services.api.answers.shapes import Row
from services.api.live import batch
from services.api.store import communities as store
from services.api.store import privacy, system, work
from services.api.store.database import Connection

MOST = 1000
"""Open alerts and open orders a picture holds at most, the newest; the lists page through all."""
_ENDED = frozenset({"closed", "cancelled", "false_alarm", "merged"})
_STATE = ("online", "last_seen_at", "vals_ts", "vals", "last_event", "last_event_ts")
_OVERLAP = timedelta(seconds=3)
"""How far a look reaches back behind the last: a commit may come this long after the time it carries."""
_NEVER = float("-inf")

Worn = Mapping[int, tuple[int, datetime | None]]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Stand:
    """Of when rows are. `head`: the outbox row up to which alerts and orders stand. `looked`: by the steady clock, of
    when device states are. `heeded`: how often it had been said by then that what may be shown has changed."""

    version: int
    head: int
    looked: float
    heeded: int


@dataclass(frozen=True, slots=True)
class Began:
    """Before a read's snapshot of the database: the steady clock, the time, and how often it had been said by then that
    what may be shown has changed."""

    clock: float
    at: datetime
    heeded: int


class Rows:
    """A row that is read again and says the same stays the row it was, so that what was made of it stays good."""

    def __init__(self, community_id: str) -> None:
        self.community_id = community_id
        self.at = datetime.now(UTC)
        self.plan = b"{}"
        self.devices: dict[int, Row] = {}
        self.alerts: dict[UUID, Row] = {}
        self.orders: dict[UUID, Row] = {}
        self.devices_mark = object()
        """Another one whenever a device's row is."""
        self.loaded = _NEVER
        self.stand = Stand(0, -1, _NEVER, 0)

    def copy(self) -> Rows:
        """To be read anew while these are shown."""
        made = Rows(self.community_id)
        made.at, made.plan, made.devices_mark, made.loaded = self.at, self.plan, self.devices_mark, self.loaded
        made.devices, made.alerts, made.orders = dict(self.devices), dict(self.alerts), dict(self.orders)
        made.stand = self.stand
        return made

    async def load(self, connection: Connection, began: Began) -> None:
        """Everything anew, in one snapshot of the database."""
        head = await system.outbox_head(connection)
        devices = await store.devices(connection, self.community_id)
        alerts = await work.alerts(connection, self.community_id, open_only=True, limit=MOST)
        orders = await work.orders(connection, self.community_id, open_only=True, limit=MOST)
        version = await store.plan_version(connection, self.community_id)
        drawn, buildings = await store.plan(connection, self.community_id)
        before = self.devices
        self.devices = _same(before, ((row["device_no"], row) for row in devices))
        if list(before) != list(self.devices) or any(row is not before[no] for no, row in self.devices.items()):
            self.devices_mark = object()
        self.alerts = _same(self.alerts, ((row["id"], row) for row in alerts))
        self.orders = _same(self.orders, ((row["id"], row) for row in orders))
        plan = to_json(_plan(version, drawn, buildings))
        if plan != self.plan:
            self.plan = plan
        self.loaded = began.clock
        self._moved(head, began.clock, began.heeded)

    async def follow(self, connection: Connection, most: int) -> bool:
        """Alerts and orders that the outbox has named since; False: too many of them, load all anew."""
        head = await system.outbox_head(connection)
        rows = await system.outbox_between(connection, self.community_id, self.stand.head, head, most + 1)
        if len(rows) > most:
            return False
        things = await batch.load(connection, rows)
        full = len(self.alerts) >= MOST or len(self.orders) >= MOST
        for (family, id), row in things.items():
            if family == "alert":
                _put(self.alerts, id, row, row["state"] != "cleared" and not row["shadow"])
            else:
                _put(self.orders, id, row, row["state"] not in _ENDED)
        if full and things:
            return False  # what moves up from behind the limit is not known here
        self._moved(head, self.stand.looked, self.stand.heeded)
        return True

    async def look(self, connection: Connection, began: Began) -> None:
        """Device states that changed since the last look."""
        since = began.at - timedelta(seconds=began.clock - self.stand.looked) - _OVERLAP
        changed = await system.device_changes(connection, self.community_id, since)
        consents = await privacy.consents_of(connection, self.community_id)
        for row in changed:
            before = self.devices.get(row["device_no"])
            if before is not None and any(before[name] != row[name] for name in _STATE):
                self.devices[row["device_no"]] = {**before, **{name: row[name] for name in _STATE}}
                self.devices_mark = object()
        self._consented(consents)
        self._moved(self.stand.head, began.clock, began.heeded)

    def replaces(self, before: Rows) -> None:
        """These are shown from now on."""
        self.stand = replace(self.stand, version=max(self.stand.version, before.stand.version) + 1)

    def _consented(self, now: Worn) -> None:
        """Of everything that is about a device that somebody wears; consents end by their time alone as well."""
        if self._consented_of(self.devices, now, None):
            self.devices_mark = object()
        self._consented_of(self.alerts, now, "fired_at")
        self._consented_of(self.orders, now, "created_at")

    @staticmethod
    def _consented_of(rows: dict[Any, Row], now: Worn, at: str | None) -> bool:
        """`at`: the field that says when it was; what was before the present wearer, their consent does not show."""
        moved = False
        for id, row in rows.items():
            # A device that nobody wears has no row of consents: nothing of its wearer may be shown.
            consents, since = now.get(row["device_no"], (None, None))
            if at is not None and since is not None and row[at] < since:
                consents = 0
            if row["consents"] != consents and (row["consents"] or consents):
                rows[id] = {**row, "consents": consents or 0}
                moved = True
        return moved

    def _moved(self, head: int, looked: float, heeded: int) -> None:
        self.at = datetime.now(UTC)
        self.stand = Stand(self.stand.version + 1, head, looked, heeded)


def _same(before: Mapping[Key, Row], now: Iterable[tuple[Key, Row]]) -> dict[Key, Row]:
    """As `now`, with the rows of before where they say the same."""
    return {id: known if (known := before.get(id)) is not None and _equal(known, row) else row for id, row in now}


def _equal(known: Row, row: Row) -> bool:
    # What was patched is a dictionary, with its fields in the order of the row that it came from.
    return known == row if type(known) is type(row) else tuple(known.values()) == tuple(row.values())


def _put(rows: dict[UUID, Row], id: UUID, row: Row, open: bool) -> None:
    if open:
        rows[id] = row
    else:
        rows.pop(id, None)


def _plan(version: int, drawn: dict[str, Any], buildings: list[Row]) -> DrawnPlanOut:
    return DrawnPlanOut(
        version=version,
        width=drawn.get("width", 0),
        height=drawn.get("height", 0),
        shapes=drawn.get("shapes", []),
        buildings=[BuildingOut(**building) for building in buildings],
    )
