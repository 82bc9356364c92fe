"""Drives an engine over readings of a few devices, with restarts in between where a test wants them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from services.domain.devices import BY_NAME
from services.domain.engine.core import Engine
from services.domain.engine.decisions import Clear, Decision, Hold, Raise, Release, Repeat, StateChange
from services.domain.engine.hold.caps import Caps
from services.domain.engine.hold.inputs import hold_inputs
from services.domain.engine.hold.settling import Start
from services.domain.engine.hold.silences import Matcher, Silence
from services.domain.engine.subjects import BuildingRow, Roster, Seen, build_roster
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition, RuleId
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.rules.evaluation import Line, Reading
from services.domain.rules.parameters import Compare, ThresholdParameters
from services.domain.rules.rule import Rule
from services.domain.rules.rulebook import Rulebook
from services.domain.vocabulary import Label, Severity, Team

T0 = 1_795_363_200_000
"""2026-11-22 16:00 UTC, midnight of a Monday in Shanghai."""
S, MIN, HOUR = 1000, 60_000, 3_600_000
ZONE = ZoneInfo("Asia/Shanghai")
METERS = tuple(range(1, 9))
ROOM, SECOND_GATE, GATE = 30, 21, 20
"""A gas detector in the building, and gateways; all meters are behind GATE."""


def rule(name: str, metric: str, limit: float, severity: Severity = Severity.MINOR, **more: Any) -> Rule:
    """Fires at or past the limit with the first reading, and is over with the first one below."""
    more.setdefault("team", Team.MAINTENANCE)
    return Rule(
        RuleId(name),
        Label(name, name),
        severity,
        parameters=ThresholdParameters(metric, Compare.AT_LEAST, limit, for_s=0.0),
        **more,
    )


VOLTAGE = rule("meter.high", "voltage", 250, family="meter.voltage")
GRAVER = rule("meter.higher", "voltage", 270, Severity.MAJOR, family="meter.voltage", team=Team.PATROL)
SAFETY = rule("meter.burning", "current", 50, Severity.CRITICAL, family="meter.fire", life_safety=True)


def _device(number: int, kind: str, **more: Any) -> DeviceRow:
    values: dict[str, Any] = {
        "device_no": DeviceNo(number),
        "id": DeviceId(f"c-{kind}-{number}"),
        "community_id": CommunityId("c"),
        "partition": Partition(1),
        "kind": kind,
        "gateway_no": DeviceNo(GATE) if kind == "electricity_meter" else None,
        "building_id": "b1",
        "unit_id": "u1",
        "household_id": f"h{number}",
        "grid_id": "g1",
        "person_tags": frozenset(),
        "tags": frozenset(),
        "interval_s": 60,
        "place": f"1号楼{number}室",
        "x": 1.0,
        "y": 2.0,
        "floor": 1,
        "name": kind,
        "codec": "native",
        "retired": False,
    }
    return DeviceRow(**{**values, **more})


def silence(from_ms: int, to_ms: int, sort: str = "silence", recurring: Any = None, **matcher: Any) -> Silence:
    return Silence("s1", "c", sort, Matcher(**(matcher or {"rules": ("*",)})), from_ms, to_ms, ZONE, recurring)


class Drive:
    """Readings in, decisions out. `restarting`: the engine is thrown away and built from what it stored before each
    reading and after each clock."""

    def __init__(
        self,
        *rules: Rule,
        root: Rule | None = None,
        silences: tuple[Silence, ...] = (),
        caps: Caps | None = None,
        start: Start | None = None,
        restarting: bool = False,
    ) -> None:
        self.rules: Mapping[str, tuple[Rule, ...]] = {"electricity_meter": rules, "gas_alarm": (root,) if root else ()}
        self.silences, self.caps, self.start = silences, caps, start
        self.restarting = restarting
        self.states: dict[tuple[str, str], str] = {}
        self.engine = Engine(self._roster())
        self.engine.alerts.book.start = start or Start()
        self.engine.restore([], {})
        self.all: list[Decision] = []

    def _roster(self) -> Roster:
        devices = [_device(number, "electricity_meter") for number in METERS]
        devices += [_device(ROOM, "gas_alarm"), _device(GATE, "gateway"), _device(SECOND_GATE, "gateway")]
        communities = [CommunityRow(CommunityId("c"), "社区", Partition(1), 29.7, 116.0, "Asia/Shanghai")]
        book = Rulebook({**dict.fromkeys((*BY_NAME, "platform"), ()), **self.rules})
        roster = build_roster(BY_NAME, book, communities, devices, [BuildingRow("b1", "1号楼", "g1", 5, 5)], {}, Line())
        roster.holding = hold_inputs(self.silences, {"c": self.caps} if self.caps else {})
        return roster

    def restart(self) -> None:
        """Killed and started again: only what was committed is known."""
        seen = {
            number: Seen(subject.facts.seen_ms, subject.facts.online, 0, 0, subject.facts.made_ms)
            for number, subject in self.engine.roster.devices.items()
        }
        opened = [replace(alert, active=list(alert.active), cause="") for alert in self.engine.alerts.open.values()]
        start = self.engine.alerts.book.start
        self.engine = Engine(self._roster(), opened)
        self.engine.alerts.book.start = start
        self.engine.restore(
            [StateChange(RuleId(rule), key, json.loads(state)) for (rule, key), state in self.states.items()], seen
        )

    def reload(self) -> None:
        """The registry changed."""
        engine = Engine(self._roster(), self.engine.alerts.open.values())
        engine.carry_over(self.engine)
        self.engine = engine

    def _take(self) -> list[Decision]:
        decided = self.engine.take()
        for change in decided.states:
            if change.state is None:
                self.states.pop((change.rule_id, change.subject), None)
            else:
                self.states[change.rule_id, change.subject] = json.dumps(change.state)
        self.all += decided.decisions
        if self.restarting:
            self.restart()
        return list(decided.decisions)

    def until(self, at_ms: int) -> list[Decision]:
        """Every clock that is due by then."""
        found: list[Decision] = []
        while (due_ms := self.engine.next_due()) is not None and due_ms <= at_ms:
            self.engine.tick(due_ms or at_ms)
            found += self._take()
            if self.engine.next_due() == due_ms:
                # What a restart has set anew at a time that has passed; the tick below runs it and all after it.
                break
        self.engine.tick(at_ms)
        return found + self._take()

    def read(self, number: int, at_ms: int, **values: float) -> list[Decision]:
        found = self.until(at_ms)
        kind = "gas_alarm" if number == ROOM else "electricity_meter"
        metrics = BY_NAME[kind].metrics
        row = [values.get(metric.name) for metric in metrics]
        positions = {metric.name: place for place, metric in enumerate(metrics)}
        assert self.engine.apply(Reading(DeviceNo(number), at_ms, at_ms, row, positions))
        return found + self._take()

    def answer(self, alert_id: Any, ok: bool, at_ms: int) -> list[Decision]:
        found = self.until(at_ms)
        self.engine.alerts.book.answer(alert_id, 1, ok, "resident", at_ms)
        return found + self._take()


def sent(decisions: list[Decision]) -> list[tuple[str, int]]:
    """(rule, server time in ms since T0) of everything that went out, in order."""
    out: list[tuple[str, int]] = []
    for one in decisions:
        match one:
            case Raise() if one.sends:
                out.append((one.rule_id, one.fired_ms - T0))
            case Release():
                out.append((one.alert.rule_id, one.at_ms - T0))
    return out


def held(decisions: list[Decision]) -> list[tuple[str, ...]]:
    """The reasons as they were said, one after another."""
    return [one.held for one in decisions if isinstance(one, Raise | Hold) and one.held and "capped" not in str(one.id)]


def suppressed(decisions: list[Decision]) -> list[tuple[str, ...]]:
    return [one.suppressed for one in decisions if isinstance(one, Clear) and one.suppressed]


def repeats(decisions: list[Decision]) -> list[Repeat]:
    return [one for one in decisions if isinstance(one, Repeat)]
