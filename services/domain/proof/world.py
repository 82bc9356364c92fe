"""Builds what a case describes: its devices as the engine's roster, and what they say as items in order of arrival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.domain.devices.kind import DeviceKind
from services.domain.engine.compiled import metric_positions
from services.domain.engine.platform import NOBODY, PLATFORM
from services.domain.engine.subjects import BuildingRow, Roster, build_roster
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition
from services.domain.proof.case import (
    Moment,
    WrittenCase,
    WrittenDevice,
    WrittenEvent,
    WrittenFile,
    WrittenReply,
    WrittenSeries,
    WrittenStatus,
    WrittenWorld,
    moment_ms,
    start_ms,
)
from services.domain.proof.series import WORDS, BadSeries, read_series
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.rules.evaluation import Clock, Event, Flood, Item, Lag, Line, Reading, Reply, Status
from services.domain.rules.rulebook import Rulebook

COMMUNITY = CommunityId("case")


class BadCase(ValueError):
    """What is wrong with a case, for people."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A case ready to be run. `numbers`: what the devices are called → their number."""

    start: int
    until: int
    zone: str
    numbers: Mapping[str, DeviceNo]
    alive: frozenset[DeviceNo]
    roster: Roster
    items: tuple[Item, ...]
    platform: tuple[Item, ...]
    """What happened to the platform itself, in order; of two of one moment this comes after what a device said."""


def stage(file: WrittenFile, case: WrittenCase, catalogue: Mapping[str, DeviceKind], rulebook: Rulebook) -> Staged:
    """Raises BadCase."""
    world = case.world or file.world or WrittenWorld()
    devices = dict(world.devices) or ({"device": WrittenDevice(kind=file.kind)} if file.kind else {})
    if not devices:
        raise BadCase("the world has no device: say `kind` at the top of the file, or `world.devices`")
    for name, device in devices.items():
        if device.kind not in catalogue:
            raise BadCase(f"{name}: there is no kind {device.kind}")
        if device.gateway is not None and device.gateway not in devices:
            raise BadCase(f"{name}: there is no device {device.gateway}")
    try:
        start = start_ms(case.start or file.start, world.zone)
    except ValueError as error:
        raise BadCase(f"start: {error}") from None
    builder = _Builder(case, catalogue, devices, start, world.zone)
    items, platform = builder.items(), builder.platform()
    until = max((item.received_ms for item in (*items, *platform)), default=start)
    if case.until is not None:
        until = moment_ms(case.until, start, world.zone)
    return Staged(
        start=start,
        until=until,
        zone=world.zone,
        numbers=builder.numbers,
        alive=frozenset(builder.numbers[name] for name, device in devices.items() if device.alive),
        roster=_roster(world, devices, builder.numbers, catalogue, rulebook, start),
        items=items,
        platform=platform,
    )


def _roster(
    world: WrittenWorld,
    devices: Mapping[str, WrittenDevice],
    numbers: Mapping[str, DeviceNo],
    catalogue: Mapping[str, DeviceKind],
    rulebook: Rulebook,
    start: int,
) -> Roster:
    rows = [
        DeviceRow(
            device_no=numbers[name],
            id=DeviceId(name),
            community_id=COMMUNITY,
            partition=Partition(0),
            kind=device.kind,
            gateway_no=numbers[device.gateway] if device.gateway else None,
            building_id=device.building,
            unit_id=device.unit,
            household_id=device.household,
            grid_id=device.grid,
            person_tags=frozenset(device.person_tags),
            tags=frozenset(device.tags),
            interval_s=device.interval // 1000 if device.interval else catalogue[device.kind].interval_s,
            place=name,
            x=0.0,
            y=0.0,
            floor=1,
            name=name,
            codec="native",
            retired=False,
            person_id=device.person,
        )
        for name, device in devices.items()
    ]
    community = CommunityRow(COMMUNITY, "case", Partition(0), world.latitude, world.longitude, world.zone)
    buildings = [
        BuildingRow(id, id, next(row.grid_id or "g1" for row in rows if row.building_id == id), 0.0, 0.0)
        for id in sorted({row.building_id for row in rows if row.building_id})
    ]
    away = {household: moment_ms(until, start, world.zone) for household, until in world.away.items()}
    return build_roster(catalogue, rulebook, [community], rows, buildings, away, Line())


class _Builder:
    def __init__(
        self,
        case: WrittenCase,
        catalogue: Mapping[str, DeviceKind],
        devices: Mapping[str, WrittenDevice],
        start: int,
        zone: str,
    ) -> None:
        self._case, self._catalogue, self._devices = case, catalogue, devices
        self._start, self._zone = start, zone
        self.numbers = {name: DeviceNo(place) for place, name in enumerate(devices, start=1)}

    def items(self) -> tuple[Item, ...]:
        """In the order in which they arrive; what arrives at the same time, as it is written."""
        case = self._case
        found: list[Item] = []
        for series in case.series:
            found += self._readings(series)
        for event in case.events:
            at, arrives = self._times(event)
            kind = self._catalogue[self._device(event.device).kind]
            if all(known.name != event.event for known in kind.events):
                raise BadCase(f"a {kind.name} has no event {event.event}")
            found.append(Event(self._number(event.device), at, arrives, event.event, event.data))
        for status in case.statuses:
            found.append(Status(self._number(status.device), *self._times(status), status.online, status.session))
        for clock in case.clocks:
            at = self._at(clock.at)
            found.append(Clock(self._number(clock.device), at + clock.ahead, at, clock.ahead))
        for flood in case.floods:
            at = self._at(flood.at)
            found.append(Flood(self._number(flood.device), at, at, flood.count))
        found += [Reply(self._number(reply.device), *self._times(reply)) for reply in case.replies]
        return tuple(sorted(found, key=lambda item: item.received_ms))

    def platform(self) -> tuple[Item, ...]:
        found: list[Item] = []
        for lag in self._case.lags:
            at = self._at(lag.at)
            found.append(Lag(NOBODY, at, at, lag.delay))
        for happening in self._case.platform:
            if all(known.name != happening.event for known in PLATFORM.events):
                raise BadCase(f"the platform has no event {happening.event}")
            at = self._at(happening.at)
            found.append(Event(NOBODY, at, at, happening.event, happening.data))
        return tuple(sorted(found, key=lambda item: item.received_ms))

    def _readings(self, series: WrittenSeries) -> list[Item]:
        device = self._device(series.device)
        kind = self._catalogue[device.kind]
        columns: dict[str, list[float | None]] = {}
        for name, written in series.values.items():
            metric = next((known for known in kind.metrics if known.name == name), None)
            if metric is None:
                raise BadCase(f"a {kind.name} has no metric {name}")
            words = {**WORDS, **{option: float(place) for place, option in enumerate(metric.options)}}
            try:
                columns[name] = read_series(written, words)
            except BadSeries as error:
                raise BadCase(f"{name}: {error}") from None
        length = max(map(len, columns.values()), default=0)
        if any(len(column) not in (1, length) for column in columns.values()):
            lengths = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
            raise BadCase(f"series of different lengths: {lengths}")
        if series.arrives and len(series.arrives) != length:
            raise BadCase(f"{length} readings, but {len(series.arrives)} times of arrival")
        step = series.step or device.interval or kind.interval_s * 1000
        first, positions, found = self._at(series.at), metric_positions(kind), list[Item]()
        for place in range(length):
            row = {name: column[place if len(column) > 1 else 0] for name, column in columns.items()}
            if all(value is None for value in row.values()):
                continue
            ts = first + place * step
            arrives = self._at(series.arrives[place]) if series.arrives else ts + series.delay
            values = [row.get(metric.name) for metric in kind.metrics]
            found.append(Reading(self._number(series.device), ts, arrives, values, positions))
        return found

    def _times(self, said: WrittenEvent | WrittenStatus | WrittenReply) -> tuple[int, int]:
        """When it was said and when it arrived."""
        at = self._at(said.at)
        return at, at if said.arrives is None else self._at(said.arrives)

    def _at(self, moment: Moment) -> int:
        return moment_ms(moment, self._start, self._zone)

    def _device(self, name: str | None) -> WrittenDevice:
        return self._devices[self._name(name)]

    def _number(self, name: str | None) -> DeviceNo:
        return self.numbers[self._name(name)]

    def _name(self, name: str | None) -> str:
        if name is None:
            return next(iter(self._devices))
        if name not in self._devices:
            raise BadCase(f"there is no device {name}; there are {', '.join(self._devices)}")
        return name
