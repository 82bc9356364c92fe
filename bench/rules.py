"""What the rules cost: evaluations a second on one core through the real path from log rows, and whether that is flat.

`python -m bench.rules [--quick] [--json]`: a town of meters, wristbands, detectors and covers under the default rules;
each figure is CPU time of the engine alone, from unpacked rows of the log to decisions. Garbage collection is on.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from sys import intern
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from services.adapters.rules import default_rulebook
from services.domain.devices import BY_NAME
from services.domain.engine.core import Engine
from services.domain.engine.entries import LogRow
from services.domain.engine.quiet import apply_readings
from services.domain.engine.subjects import BuildingRow, Seen, build_roster
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition, RuleId
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.registry import ELDER_LIVING_ALONE
from services.domain.rules.evaluation import Line
from services.domain.rules.parameters import Compare, NOfMParameters, ThresholdParameters
from services.domain.rules.rule import Rule, Scope
from services.domain.rules.rulebook import Rulebook
from services.domain.vocabulary import Label, Severity, Team

T0 = 1_795_305_600_000
COMMUNITY = CommunityId("town")
ROW = 4_000
"""Readings of one log row, about what ingest commits at once under load."""
TRIPS = 0.005
"""Share of readings past a limit."""
MIX = {
    "electricity_meter": 35,
    "water_meter": 25,
    "gas_alarm": 12,
    "smoke_detector": 10,
    "environment": 6,
    "wristband": 6,
    "manhole": 6,
}
USUAL: Mapping[str, Mapping[str, float]] = {
    "electricity_meter": {"voltage": 228.0, "current": 4.0, "power": 900.0},
    "water_meter": {"flow": 0.1, "total_m3": 100.0, "battery_v": 3.6},
    "gas_alarm": {"lel": 0.0, "battery": 95.0},
    "smoke_detector": {"battery": 95.0},
    "environment": {"temperature": 20.0, "pm2_5": 20.0, "noise": 45.0},
    "wristband": {"heart_rate": 72.0, "spo2": 97.0, "battery": 80.0},
    "manhole": {"tilt": 1.0, "battery": 90.0},
}
TRIPPED: Mapping[str, tuple[str, float]] = {
    "electricity_meter": ("voltage", 260.0),
    "water_meter": ("flow", 5.0),
    "gas_alarm": ("lel", 20.0),
    "smoke_detector": ("battery", 5.0),
    "environment": ("temperature", 60.0),
    "wristband": ("heart_rate", 140.0),
    "manhole": ("tilt", 25.0),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """`evaluations`: readings times the rules that read them. Microseconds of CPU a reading."""

    readings: int
    evaluations: int
    cpu_s: float
    decisions: int

    @property
    def us_per_reading(self) -> float:
        return round(self.cpu_s / self.readings * 1e6, 2)

    @property
    def evaluations_per_s(self) -> int:
        return round(self.evaluations / self.cpu_s)


@dataclass(frozen=True, slots=True)
class RuleFigures:
    """P4. Tables: what was varied → figure."""

    evaluations_per_s: int
    us_per_reading: float
    tripped_percent: float
    evaluations_per_s_by_kind: dict[str, int] = field(default_factory=dict)
    us_per_reading_by_devices: dict[str, float] = field(default_factory=dict)
    us_per_reading_by_rules_elsewhere: dict[str, float] = field(default_factory=dict)
    us_per_reading_by_rules_that_apply: dict[str, float] = field(default_factory=dict)
    evaluations_per_s_by_rules_that_apply: dict[str, int] = field(default_factory=dict)
    start_us_per_device_by_devices: dict[str, float] = field(default_factory=dict)
    """From rows of the registry to an engine that listens, CPU."""
    bytes_per_device: int = 0
    bytes_per_state: int = 0


def device(number: int, kind: str) -> DeviceRow:
    """Devices of one place share its names, as those do that are loaded from the registry."""
    house = number // 40
    return DeviceRow(
        device_no=DeviceNo(number),
        id=DeviceId(f"town-{kind}-{number}"),
        community_id=COMMUNITY,
        partition=Partition(0),
        kind=kind,
        gateway_no=None,
        building_id=intern(f"b{house}"),
        unit_id=None,
        household_id=intern(f"h{number // 4}"),
        grid_id=intern(f"g{house % 16}"),
        person_tags=_ELDER if number % 10 == 0 else _NONE,
        tags=_NONE,
        interval_s=BY_NAME[kind].interval_s,
        place=intern(f"{house}号楼"),
        x=0.0,
        y=0.0,
        floor=1,
        name=kind,
        codec="native",
        retired=False,
    )


_NONE: frozenset[str] = frozenset()
_ELDER = frozenset({ELDER_LIVING_ALONE})
_LARGE = 100_000
Say = Callable[[str], None]


class Town:
    """Devices in the order of their numbers, their engine, and the log they write round by round."""

    def __init__(
        self, devices: int, rulebook: Rulebook, mix: Mapping[str, int] = MIX, say: Say = lambda text: None
    ) -> None:
        deck = [kind for kind, share in mix.items() for _ in range(share)]
        random.Random(1).shuffle(deck)
        self.kinds = [deck[number % len(deck)] for number in range(devices)]
        began, start = time.process_time(), _rss()
        rows = [device(number + 1, kind) for number, kind in enumerate(self.kinds)]
        read = time.process_time()
        say(f"  {devices:,} rows of the registry: {read - began:.1f} s")
        communities = [CommunityRow(COMMUNITY, "town", Partition(0), 29.7, 116.0, "Asia/Shanghai")]
        buildings = [BuildingRow(f"b{house}", f"{house}号楼", "g", 0.0, 0.0) for house in range(devices // 40 + 1)]
        roster = build_roster(BY_NAME, rulebook, communities, rows, buildings, {}, Line())
        self.engine = Engine(roster)
        built = time.process_time()
        say(f"  roster: {built - read:.1f} s")
        self.engine.restore([], {row.device_no: Seen(T0, True, T0, 0, 0) for row in rows})
        self.build_s = time.process_time() - read
        del rows, buildings
        self.bytes = _rss() - start
        say(f"  engine started: {time.process_time() - built:.1f} s; {self.bytes / devices:,.0f} bytes a device")
        self._say = say
        self._draw = random.Random(2)
        self._used: dict[str, float] = {}
        self._templates = {kind: self._template(kind) for kind in set(self.kinds)}

    def _template(self, kind: str) -> list[float | None]:
        return [USUAL[kind].get(metric.name) for metric in BY_NAME[kind].metrics]

    def round(self, number: int) -> Iterator[LogRow]:
        """One reading of each device, an interval after the one before, as rows of the log."""
        metrics = {kind: [metric.name for metric in BY_NAME[kind].metrics] for kind in self._templates}
        for first in range(0, len(self.kinds), ROW):
            part = self.kinds[first : first + ROW]
            numbers = list(range(first + 1, first + 1 + len(part)))
            times = [T0 + number * BY_NAME[kind].interval_s * 1000 for kind in part]
            vals: list[float | None] = []
            for kind in part:
                values = list(self._templates[kind])
                if "total_m3" in metrics[kind]:
                    values[metrics[kind].index("total_m3")] = 100.0 + number * 0.01
                if self._draw.random() < TRIPS:
                    name, value = TRIPPED[kind]
                    values[metrics[kind].index(name)] = value
                vals += values
            widths = [len(metrics[kind]) for kind in part]
            now = datetime.fromtimestamp(T0 / 1000, UTC)
            yield LogRow(1, number, now, numbers, times, [ts + 200 for ts in times], widths, vals, [])

    def run(self, readings: int, warm_up: int = 3) -> Cost:
        """At least so many readings, after rounds in which counters are met for the first time."""
        engine, spent, read, decisions = self.engine, 0.0, 0, 0
        for number in range(1, warm_up + 1):
            for row in self.round(number):
                apply_readings(engine, row)
            if len(self.kinds) >= _LARGE:
                self._say(f"  round {number} of {warm_up} before measuring")
        engine.take()
        evaluated, number = engine.evaluations, warm_up
        while read < readings:
            number += 1
            for row in self.round(number):
                began = time.process_time()
                apply_readings(engine, row)
                decisions += len(engine.take().decisions)
                spent += time.process_time() - began
                read += row.size
        return Cost(read, engine.evaluations - evaluated, spent, decisions)


def elsewhere(rules: int) -> Rulebook:
    """The defaults and so many of the community's own that concern none of the devices: other kinds, other places."""
    book = default_rulebook()
    kinds = list(MIX)
    own: dict[str, list[Rule]] = {}
    for number in range(rules):
        scope = Scope(buildings=frozenset({f"far-{number}"}))
        kind = "bin" if number % 2 else kinds[number % len(kinds)]
        parameters = ThresholdParameters(BY_NAME[kind].metrics[0].name, Compare.AT_LEAST, float(number))
        own.setdefault(kind, []).append(own_rule(number, parameters, scope))
    return replace(book, communities={COMMUNITY: {kind: tuple(found) for kind, found in own.items()}})


def applying(rules: int) -> Rulebook:
    """So many rules that read each reading of an electricity meter, and no other."""
    found = []
    for number in range(rules):
        metric = ("voltage", "current", "power")[number % 3]
        limit = {"voltage": 250.0, "current": 60.0, "power": 10_000.0}[metric] + number
        threshold = ThresholdParameters(metric, Compare.AT_LEAST, limit, for_s=60, clear_limit=limit - 5)
        found.append(
            own_rule(number, NOfMParameters(metric, Compare.AT_LEAST, limit) if number % 4 == 3 else threshold)
        )
    return Rulebook({"electricity_meter": tuple(found)})


def own_rule(number: int, parameters: Any, scope: Scope | None = None) -> Rule:
    title = Label(f"规则{number}", f"rule {number}")
    id = RuleId(f"own.rule_{number}")
    return Rule(id, title, Severity.MINOR, Team.GENERAL, parameters, scope=scope or Scope(), opens_order=False)


def measure(*, quick: bool = False, say: Say = lambda text: None) -> RuleFigures:
    """`quick`: no town of a million, fewer readings."""
    readings = 60_000 if quick else 300_000
    sizes = [1_000, 10_000] if quick else [1_000, 10_000, 100_000, 1_000_000]
    by_devices: dict[str, float] = {}
    build_us: dict[str, float] = {}
    whole: Cost | None = None
    memory = (0, 0)
    for size in sizes:
        say(f"{size:,} devices")
        town = Town(size, default_rulebook(), say=say if size >= _LARGE else lambda text: None)
        built = _rss()
        build_us[f"{size:,}"] = round(town.build_s / size * 1e6, 1)
        cost = town.run(max(readings, size), warm_up=3 if size <= 100_000 else 2)
        by_devices[f"{size:,}"] = cost.us_per_reading
        say(f"{size:,} devices: {cost.us_per_reading} us a reading, {cost.evaluations_per_s:,} evaluations/s")
        if size in (10_000, 100_000):
            whole = cost
            states = max(town.engine.remembers, 1)
            memory = (town.bytes // size, max(0, _rss() - built) // states)
        del town
        gc.collect()
    assert whole is not None
    small = 5_000
    say("by kind")
    kinds = {kind: Town(small, default_rulebook(), {kind: 1}).run(readings).evaluations_per_s for kind in MIX}
    say("rules that do not apply")
    others = {f"{n:,}": Town(small, elsewhere(n)).run(readings).us_per_reading for n in (0, 10, 100, 1_000)}
    say("rules that apply")
    costs = {n: Town(small, applying(n), {"electricity_meter": 1}).run(readings) for n in (1, 2, 5, 10, 20)}
    return RuleFigures(
        whole.evaluations_per_s,
        whole.us_per_reading,
        100 * TRIPS,
        kinds,
        by_devices,
        others,
        {str(n): cost.us_per_reading for n, cost in costs.items()},
        {str(n): cost.evaluations_per_s for n, cost in costs.items()},
        build_us,
        *memory,
    )


def _rss() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def show(figures: RuleFigures) -> None:
    table = Table(title="P4: rule evaluation on one core, CPU time")
    for column in ("figure", "of", "value"):
        table.add_column(column)
    for name, value in asdict(figures).items():
        for of, one in value.items() if isinstance(value, dict) else [("", value)]:
            table.add_row(name, of, f"{one:,}")
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.rules", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small towns: shows that it works")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    figures = measure(quick=given.quick, say=lambda text: print(text, file=sys.stderr, flush=True))
    if given.json:
        print(json.dumps(asdict(figures)))
    else:
        show(figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
