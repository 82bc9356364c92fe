"""One community as it is now: rows by id, and each as JSON, written again only where it changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from services.api.answers import shapes
from services.api.answers.health import HEALTH_METRICS
from services.api.answers.models import BuildingOut, DrawnPlanOut
from services.api.answers.moves import actor_of
from services.api.answers.shapes import Row
from services.api.live import batch
from services.api.store import communities as store
from services.api.store import privacy, system, work
from services.api.store.database import Connection
from services.domain.access import Permission, Principal, ReaderClass, allowed, reader_class

MOST = 1000
"""Open alerts and open orders a picture holds at most, the newest; the lists page through all."""
_PEOPLE = 64
"""Of so many people who may move orders, what they see is kept; what they may do differs from one to the next."""
_ENDED = frozenset({"closed", "cancelled", "false_alarm", "merged"})

Written = dict[Any, tuple[Row, bytes]]
Worn = Mapping[int, tuple[int, datetime | None]]


class Picture:
    """`head` is the outbox row up to which alerts and orders stand; `version` grows with every change."""

    def __init__(self, community_id: str) -> None:
        self.community_id = community_id
        self.head = -1
        self.version = 0
        self.at = datetime.now(UTC)
        self._plan = b"{}"
        self._devices: dict[int, Row] = {}
        self._alerts: dict[UUID, Row] = {}
        self._orders: dict[UUID, Row] = {}
        self._public: Written = {}
        self._private: OrderedDict[ReaderClass, Written] = OrderedDict()
        self._alerts_written: OrderedDict[ReaderClass, Written] = OrderedDict()
        self._orders_written: OrderedDict[object, Written] = OrderedDict()

    # -- read from the database, each in one snapshot of it -------------------------------------------------------

    async def load(self, connection: Connection) -> None:
        """Everything anew."""
        head = await system.outbox_head(connection)
        devices = await store.devices(connection, self.community_id)
        alerts = await work.alerts(connection, self.community_id, open_only=True, limit=MOST)
        orders = await work.orders(connection, self.community_id, open_only=True, limit=MOST)
        version = await store.plan_version(connection, self.community_id)
        drawn, buildings = await store.plan(connection, self.community_id)
        self._devices = {row["device_no"]: row for row in devices}
        self._alerts = {row["id"]: row for row in alerts}
        self._orders = {row["id"]: row for row in orders}
        self._plan = to_json(_plan(version, drawn, buildings))
        self._moved(head)

    async def follow(self, connection: Connection, most: int) -> bool:
        """Alerts and orders that the outbox has named since; False: too many of them, load all anew."""
        head = await system.outbox_head(connection)
        rows = await system.outbox_between(connection, self.community_id, self.head, head, most + 1)
        if len(rows) > most:
            return False
        things = await batch.load(connection, rows)
        full = len(self._alerts) >= MOST or len(self._orders) >= MOST
        for (family, id), row in things.items():
            if family == "alert":
                _put(self._alerts, id, row, row["state"] != "cleared" and not row["shadow"])
            else:
                _put(self._orders, id, row, row["state"] not in _ENDED)
        if full and things:
            return False  # what moves up from behind the limit is not known here
        self._moved(head)
        return True

    async def look(self, connection: Connection, since: datetime) -> None:
        """Device states that changed since then."""
        changed = await system.device_changes(connection, self.community_id, since)
        for row in changed:
            before = self._devices.get(row["device_no"])
            if before is not None and any(before[name] != row[name] for name in _STATE):
                self._devices[row["device_no"]] = {**before, **{name: row[name] for name in _STATE}}
        self._consented(await privacy.consents_of(connection, self.community_id))
        self.at = datetime.now(UTC)
        self.version += 1

    def _consented(self, now: Worn) -> None:
        """Of everything that is about a device that somebody wears; consents end by their time alone as well."""
        self._consented_of(self._devices, now, None)
        self._consented_of(self._alerts, now, "fired_at")
        self._consented_of(self._orders, now, "created_at")

    @staticmethod
    def _consented_of(rows: dict[Any, Row], now: Worn, at: str | None) -> None:
        """`at`: the field that says when it was; what was before the present wearer, their consent does not show."""
        for id, row in rows.items():
            # A device that nobody wears has no row of consents: nothing of its wearer may be shown.
            consents, since = now.get(row["device_no"], (None, None))
            if at is not None and since is not None and row[at] < since:
                consents = 0
            if row["consents"] != consents and (row["consents"] or consents):
                rows[id] = {**row, "consents": consents or 0}

    def _moved(self, head: int) -> None:
        self.head = head
        self.at = datetime.now(UTC)
        self.version += 1

    # -- written --------------------------------------------------------------------------------------------------

    def variant(self, who: Principal) -> object:
        """All who share it get the same bytes."""
        reader = reader_class(who)
        return (reader, who.id) if allowed(who.role, Permission.ORDER_MOVES) else reader

    def body(self, who: Principal, first: bytes) -> bytes:
        """A SnapshotOut. `first`: its fields that are not of this picture, as JSON without the closing brace."""
        reader = reader_class(who)
        parts = [
            first, b',"plan":', self._plan,
            b',"devices":[', b",".join(self._write_devices(reader)),
            b'],"alerts":[', b",".join(self._write_alerts(reader)),
            b'],"orders":[', b",".join(self._write_orders(who, reader)), b"]}",
        ]  # fmt: skip
        return b"".join(parts)

    def _write_devices(self, reader: ReaderClass) -> list[bytes]:
        private = _kept(self._private, reader)
        found = []
        for no, row in self._devices.items():
            written = private if row["kind"] in HEALTH_METRICS else self._public
            known = written.get(no)
            if known is None or known[0] is not row:
                known = written[no] = (row, to_json(shapes.device(row, reader)))
            found.append(known[1])
        if len(self._public) > len(self._devices) + 100:
            self._public = {no: one for no, one in self._public.items() if no in self._devices}
        return found

    def _write_alerts(self, reader: ReaderClass) -> list[bytes]:
        rows = sorted(self._alerts.values(), key=lambda row: (row["fired_at"], row["id"]), reverse=True)
        return _write(_kept(self._alerts_written, reader), rows, lambda row: to_json(shapes.alert(row, reader)))

    def _write_orders(self, who: Principal, reader: ReaderClass) -> list[bytes]:
        actor = actor_of(who)
        rows = sorted(self._orders.values(), key=lambda row: (row["created_at"], row["id"]), reverse=True)
        written = _kept(self._orders_written, self.variant(who))
        return _write(written, rows, lambda row: to_json(shapes.order(row, reader, actor)))


_STATE = ("online", "last_seen_at", "vals_ts", "vals", "last_event", "last_event_ts")


def _put(rows: dict[UUID, Row], id: UUID, row: Row, open: bool) -> None:
    if open:
        rows[id] = row
    else:
        rows.pop(id, None)


def _kept(by: OrderedDict[Any, Written], key: object) -> Written:
    written: Written = by.setdefault(key, {})
    by.move_to_end(key)
    while len(by) > _PEOPLE:
        by.popitem(last=False)
    return written


def _write(written: Written, rows: Iterable[Row], make: Any) -> list[bytes]:
    """Forgets what is not among the rows any more."""
    found = []
    kept: Written = {}
    for row in rows:
        known = written.get(row["id"])
        if known is None or known[0] is not row:
            known = (row, make(row))
        kept[row["id"]] = known
        found.append(known[1])
    written.clear()
    written.update(kept)
    return found


def _plan(version: int, drawn: dict[str, Any], buildings: list[Row]) -> DrawnPlanOut:
    return DrawnPlanOut(
        version=version,
        width=drawn.get("width", 0),
        height=drawn.get("height", 0),
        shapes=drawn.get("shapes", []),
        buildings=[BuildingOut(**building) for building in buildings],
    )
