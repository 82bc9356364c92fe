"""A community's rows written once for all alike: each as JSON when it changes, in slices, and packed by the piece."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import to_json

from services.api.answers import shapes
from services.api.answers.health import HEALTH_METRICS
from services.api.answers.moves import actor_of
from services.api.answers.shapes import Row
from services.api.live.pictures.packing import Piece, pack
from services.api.live.pictures.rows import Rows, Stand
from services.domain.access import Permission, Principal, ReaderClass, allowed, reader_class

_PEOPLE = 64
"""Of so many people who may move orders, what they see is kept; what they may do differs from one to the next."""
_READERS = 16
"""Of so many classes of readers, all devices are kept in one piece."""
_DEVICE, _ALERT, _ORDER = 1, 4, 25
"""What writing one costs, in devices."""
_AT_ONCE = 300
"""Rows are written in slices of this cost, about two milliseconds; between them others get a turn."""

Written = dict[Any, tuple[Row, bytes]]


class Picture:
    """`rows` may be put in the place of others; what was written of rows that stay is kept."""

    def __init__(self, community_id: str) -> None:
        self.rows = Rows(community_id)
        self._public: Written = {}
        self._private: OrderedDict[ReaderClass, Written] = OrderedDict()
        self._alerts_written: OrderedDict[ReaderClass, Written] = OrderedDict()
        self._orders_written: OrderedDict[object, Written] = OrderedDict()
        self._plan: Piece | None = None
        self._devices: OrderedDict[ReaderClass, tuple[object, Piece]] = OrderedDict()

    def variant(self, who: Principal) -> object:
        """All who share it get the same bytes."""
        reader = reader_class(who)
        return (reader, actor_of(who)) if allowed(who.role, Permission.ORDER_MOVES) else reader

    async def pieces(self, who: Principal, first: Callable[[Rows], bytes]) -> tuple[Stand, list[Piece]]:
        """A SnapshotOut of one moment, and of when it is.

        `first`: its fields that are not of this picture, as JSON without the closing brace.
        """
        reader = reader_class(who)
        spent = 0
        for cost in self._write_what_is_new(who, reader):
            spent += cost
            if spent >= _AT_ONCE:
                spent = 0
                await asyncio.sleep(0)
        # From here to the thread without a turn for anybody else: all of it is of one moment.
        rows, stand, mark = self.rows, self.rows.stand, self.rows.devices_mark
        plan = self._plan_bytes()
        devices = self._devices_bytes(reader)
        parts = [
            first(rows),
            plan,
            devices,
            b"".join(
                (
                    b',"alerts":[', b",".join(self._write_alerts(reader)),
                    b'],"orders":[', b",".join(self._write_orders(who, reader)), b"]}",
                )
            ),
        ]  # fmt: skip
        packed = await asyncio.to_thread(lambda: [one if isinstance(one, Piece) else pack(one) for one in parts])
        self._plan = packed[1]
        self._devices[reader] = (mark, packed[2])
        self._devices.move_to_end(reader)
        while len(self._devices) > _READERS:
            self._devices.popitem(last=False)
        return stand, packed

    def _write_what_is_new(self, who: Principal, reader: ReaderClass) -> Iterator[int]:
        """Says after each row what it has cost. Rows that move meanwhile are written when they are put together."""
        if not isinstance(self._devices_bytes_known(reader), Piece):
            for no, row in list(self.rows.devices.items()):
                if self._device_written(no, row, reader):
                    yield _DEVICE
        alerts = _kept(self._alerts_written, reader)
        for row in list(self.rows.alerts.values()):
            if _write(alerts, row["id"], row, lambda row: to_json(shapes.alert(row, reader))):
                yield _ALERT
        orders, actor = _kept(self._orders_written, self.variant(who)), actor_of(who)
        for row in list(self.rows.orders.values()):
            if _write(orders, row["id"], row, lambda row: to_json(shapes.order(row, reader, actor))):
                yield _ORDER

    def _plan_bytes(self) -> bytes | Piece:
        plain = b',"plan":' + self.rows.plan
        return self._plan if self._plan is not None and self._plan.plain == plain else plain

    def _devices_bytes_known(self, reader: ReaderClass) -> Piece | None:
        known = self._devices.get(reader)
        return known[1] if known is not None and known[0] is self.rows.devices_mark else None

    def _devices_bytes(self, reader: ReaderClass) -> bytes | Piece:
        known = self._devices_bytes_known(reader)
        if known is not None:
            return known
        return b"".join((b',"devices":[', b",".join(self._write_devices(reader)), b"]"))

    def _device_written(self, no: int, row: Row, reader: ReaderClass) -> bool:
        written = _kept(self._private, reader) if row["kind"] in HEALTH_METRICS else self._public
        return _write(written, no, row, lambda row: to_json(shapes.device(row, reader)))

    def _write_devices(self, reader: ReaderClass) -> list[bytes]:
        private = _kept(self._private, reader)
        found = []
        for no, row in self.rows.devices.items():
            written = private if row["kind"] in HEALTH_METRICS else self._public
            known = written.get(no)
            if known is None or known[0] is not row:
                known = written[no] = (row, to_json(shapes.device(row, reader)))
            found.append(known[1])
        if len(self._public) > len(self.rows.devices) + 100:
            self._public = {no: one for no, one in self._public.items() if no in self.rows.devices}
        return found

    def _write_alerts(self, reader: ReaderClass) -> list[bytes]:
        rows = sorted(self.rows.alerts.values(), key=lambda row: (row["fired_at"], row["id"]), reverse=True)
        return _write_all(_kept(self._alerts_written, reader), rows, lambda row: to_json(shapes.alert(row, reader)))

    def _write_orders(self, who: Principal, reader: ReaderClass) -> list[bytes]:
        actor = actor_of(who)
        rows = sorted(self.rows.orders.values(), key=lambda row: (row["created_at"], row["id"]), reverse=True)
        written = _kept(self._orders_written, self.variant(who))
        return _write_all(written, rows, lambda row: to_json(shapes.order(row, reader, actor)))


def _kept(by: OrderedDict[Any, Written], key: object) -> Written:
    written: Written = by.setdefault(key, {})
    by.move_to_end(key)
    while len(by) > _PEOPLE:
        by.popitem(last=False)
    return written


def _write(written: Written, id: Any, row: Row, make: Callable[[Row], bytes]) -> bool:
    """Whether it was not written yet."""
    known = written.get(id)
    if known is not None and known[0] is row:
        return False
    written[id] = (row, make(row))
    return True


def _write_all(written: Written, rows: list[Row], make: Callable[[Row], bytes]) -> list[bytes]:
    """Forgets what is not among the rows any more."""
    for row in rows:
        _write(written, row["id"], row, make)
    if len(written) > len(rows):
        wanted = {row["id"] for row in rows}
        for id in [id for id in written if id not in wanted]:
            del written[id]
    return [written[row["id"]][1] for row in rows]
