"""The same log comes to the same alerts, however it is cut into turns, whenever clocks run, wherever it restarts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest

from services.adapters.rules import default_rulebook
from services.domain.devices import BY_NAME
from services.domain.devices.kind import DeviceKind, EventType, Metric
from services.domain.engine.alerts import Alerts
from services.domain.engine.core import Engine
from services.domain.engine.decisions import Clear, Decision, Ease, OpenAlert, Raise, Recover, Repeat, StateChange
from services.domain.engine.hold.capping import RULE as SUMMARY
from services.domain.engine.replay import replay
from services.domain.engine.subjects import Compiled, Roster, Seen, Subject, build_roster
from services.domain.ids import CommunityId, DeviceNo, Partition, RuleId
from services.domain.registered import CommunityRow
from services.domain.rules import BY_PARAMETERS
from services.domain.rules import parameters as p
from services.domain.rules.evaluation import Event, Flood, Item, Line, Reading, Signal, Status
from services.domain.rules.parameters import Compare, Parameters
from services.domain.rules.rule import Rule
from services.domain.rules.rulebook import Rulebook
from services.domain.vocabulary import Label, Severity, Team
from tests.unit.test_alerts_core import HOUR, MIN, T0, S, device, roster

LIKE = BY_NAME["manhole"]
METRICS = ("level", "total", "switch", "latitude", "longitude")
EVENTS = ("alarm", "over", "opened")
UP, DOWN = Compare.AT_LEAST, Compare.AT_MOST

WATCHES: dict[str, Parameters] = {
    "level_now": p.ThresholdParameters("level", UP, 10),
    "level_soon": p.ThresholdParameters("level", UP, 10, for_s=20, clear_limit=5, clear_for_s=25),
    "level_long": p.ThresholdParameters("level", UP, 10, for_s=300, clear_for_s=180),
    "night": p.ThresholdParameters("level", UP, 10, for_s=20, daylight=False),
    "twice": p.NOfMParameters("level", UP, 10, 2, 3),
    "much": p.ConsumptionParameters("total", 1800, UP, 5),
    "none": p.ConsumptionParameters("total", 1800, DOWN, 0.5),
    "drip": p.ConsumptionParameters("total", 3600, UP, 0.2, every_s=600),
    "alarm": p.EventParameters("alarm", clear_after_s=240),
    "opened": p.EventParameters("opened", clear_event="over"),
    "daily": p.AbsenceParameters("opened", 6, 9),
    "nightly": p.AbsenceParameters("alarm", 22, 2),
    "flood": p.FloodParameters(120),
}
"""One of each kind that is a fold over one lane; new kinds are taken from FURTHER as soon as they are there."""
FURTHER: dict[str, Callable[[], Parameters]] = {
    "rises": lambda: p.RateParameters("level", UP, 8, 120, 60),
    "window": lambda: p.WindowParameters("level", p.Aggregate.MEAN, 600, UP, 9, 7),
    "silent": lambda: p.SilenceParameters("switch", 400),
    "sequence": lambda: p.SequenceParameters("alarm", "over", 180),
    "leaves": lambda: p.GeofenceParameters(p.Edge.EXIT, radius_m=300, for_s=60),
    "stays": lambda: p.GeofenceParameters(p.Edge.DWELL, radius_m=300, for_s=300),
    "timetable": lambda: p.ScheduleParameters("switch", 1.0, from_hour=8, to_hour=20, for_s=90),
    "unusual": lambda: p.BaselineParameters("level", sigmas=3, min_weeks=1, for_s=60),
}
ELSEWHERE = {
    p.OfflineParameters: "judged by tick alone: its differences are bounded below",
    p.ClockParameters: "reads both lanes: `test_lanes_in_step`",
    p.CorrelationParameters: "reads several devices: `test_lanes_in_step`",
    p.GatheringParameters: "reads alerts of several devices",
    p.DelayParameters: "reads the engine's own delay, which is not in the log",
}
SEEDS = range(40)


def rule(name: str, parameters: Parameters, **more: Any) -> Rule:
    return Rule(RuleId(f"thing.{name}"), Label(name, name), Severity.MINOR, Team.GENERAL, parameters, **more)


def further() -> dict[str, Parameters]:
    made = {name: make() for name, make in FURTHER.items()}
    return {name: parameters for name, parameters in made.items() if type(parameters) in BY_PARAMETERS}


def thing() -> DeviceKind:
    metrics = tuple(Metric(name, "", Label(name, name), -180, 1e9) for name in METRICS)
    events = tuple(EventType(name, Label(name, name)) for name in EVENTS)
    return replace(LIKE, name="thing", metrics=metrics, events=events, interval_s=60)


def world(*rules: Rule) -> Callable[[], Roster]:
    catalogue, rulebook = {"thing": thing()}, Rulebook({"thing": rules})

    def build() -> Roster:
        row = replace(device(1, "manhole"), kind="thing", interval_s=60)
        community = CommunityRow(CommunityId("c"), "社区", Partition(1), 29.7, 116.0, "Asia/Shanghai")
        return build_roster(catalogue, rulebook, [community], [row], [], {}, Line())

    return build


def started(build: Callable[[], Roster]) -> Engine:
    """Watching since T0, when every device had just been heard."""
    engine = Engine(build())
    engine.restore([], {number: Seen(T0 - 1, True, T0 - 1) for number in engine.roster.devices})
    engine.tick(T0)
    return engine


def telemetry(draw: random.Random, until: int) -> list[Item]:
    """About a day of one device that wanders about its limits, falls silent, sends late, twice and out of order."""
    found: list[Item] = []
    at, level, total, positions = T0, 8.0, 100.0, {name: place for place, name in enumerate(METRICS)}
    while at < until:
        at += draw.choice([20 * S, MIN, MIN, MIN, MIN, 5 * MIN, 3 * MIN + 1, 40 * MIN])
        level = draw.choice([level, level, level, 4.0, 7.0, 10.0, 14.0])
        total += draw.choice([0.0, 0.0, 0.1, 1.0, 3.0])
        values = [level, total, draw.choice([0.0, 1.0]), 29.7 + draw.choice([0, 0, 0.01]), 116.0]
        shown = [value if draw.random() < 0.9 else None for value in values]
        ts = at - draw.choice([0, 0, 0, 0, 100, 2 * MIN, 11 * MIN, 2 * HOUR])
        found.append(Reading(DeviceNo(1), ts, at, shown, positions))
        if draw.random() < 0.05:
            found.append(Reading(DeviceNo(1), ts, at + 5, shown, positions))
    return [item for item in found if item.received_ms <= until]


def events(draw: random.Random, until: int) -> list[Item]:
    found: list[Item] = []
    at = T0
    while at < until:
        at += draw.choice([S, 30 * S, 5 * MIN, HOUR, 3 * HOUR])
        if draw.random() < 0.1:
            found.append(Flood(DeviceNo(1), at, at, 100))
            continue
        ts = at - draw.choice([0, 0, 0, 200, 20 * MIN])
        found.append(Event(DeviceNo(1), ts, at, draw.choice(EVENTS)))
    return [item for item in found if item.received_ms <= until]


class Committed:
    """What the database holds after each turn, and what an engine built from it begins with."""

    def __init__(self, build: Callable[[], Roster]) -> None:
        self._build = build
        self.states: dict[tuple[RuleId, str], str] = {}
        self.log: list[Decision] = []

    def commit(self, engine: Engine) -> None:
        taken = engine.take()
        for change in taken.states:
            self.states[change.rule_id, change.subject] = json.dumps(change.state)
        self.log += taken.decisions

    def restart(self, before: Engine) -> Engine:
        seen = {
            number: Seen(
                one.facts.seen_ms, one.facts.online, one.facts.online_since_ms, one.facts.session, one.facts.made_ms
            )
            for number, one in before.roster.devices.items()
        }
        opened = [
            OpenAlert(a.id, a.family, a.subject, a.severity, a.state, list(a.active), a.correlation, a.onset_ms)
            for a in before.alerts.open.values()
        ]
        engine = Engine(self._build(), opened)
        states = [StateChange(*key, json.loads(state)) for key, state in self.states.items()]
        engine.restore([change for change in states if change.state is not None], seen)
        return engine


def live(
    build: Callable[[], Roster],
    lanes: tuple[Sequence[Item], Sequence[Item]],
    until: int,
    draw: random.Random,
    together: bool,
    ticks: float = 0.7,
) -> list[Decision]:
    """Turns as the worker takes them: events first, telemetry when none waits, a tick when nothing does; with breaks of
    up to an hour, in any sizes, with restarts. `together`: it keeps up, so that no lane runs ahead of the other."""
    engine, store, wall = started(build), Committed(build), T0
    store.commit(engine)
    waiting = [list(lanes[0]), list(lanes[1])]
    while wall < until:
        wall = min(until, wall + draw.choice([100, S, 10 * S, MIN, 10 * MIN] + [HOUR] * (not together)))
        if together:
            at_hand = sorted((i for lane in waiting for i in lane if i.received_ms <= wall), key=arrival)
            waiting = [[i for i in lane if i.received_ms > wall] for lane in waiting]
            batches = cut(at_hand, draw)
        else:
            batches = []
            for lane in (0, 1):
                batches += cut([i for i in waiting[lane] if i.received_ms <= wall], draw)
                waiting[lane] = [i for i in waiting[lane] if i.received_ms > wall]
        for batch in batches:
            for item in batch:
                assert engine.apply(item)
            store.commit(engine)
            if draw.random() < 0.05:
                engine = store.restart(engine)
        if draw.random() < ticks:
            engine.tick(wall)
            store.commit(engine)
    engine.tick(until)
    store.commit(engine)
    return store.log


def arrival(item: Item) -> tuple[int, bool]:
    return item.received_ms, isinstance(item, Reading)


def cut(items: list[Item], draw: random.Random) -> list[list[Item]]:
    found = []
    while items:
        size = draw.choice([1, 2, 7, 50])
        found.append(items[:size])
        items = items[size:]
    return found


def canonical(build: Callable[[], Roster], items: Iterable[Item], until: int) -> list[Decision]:
    engine = started(build)
    log = list(engine.take().decisions)
    return log + [one for turn in replay(engine, sorted(items, key=arrival), until) for one in turn.decisions]


def alerts(log: Iterable[Decision]) -> dict[Any, Any]:
    """The alerts as they end up, with all that was said of each: ids, times, severity, how often.

    The summary of what a cap held back is no rule's: it is about how many alerts came within an hour of each other.
    """
    found: dict[Any, Any] = {}
    for one in log:
        match one:
            case Raise():
                assert one.id not in found
                found[one.id] = [
                    one.rule_id,
                    one.subject,
                    one.onset_ms,
                    one.fired_ms,
                    one.last_ms,
                    one.severity,
                    dict(one.trigger),
                ]
            case Repeat():
                found[one.alert.id] += ["again", one.alert.fired_ms, one.worse, one.counts]
            case Recover():
                found[one.id] += ["recovering", one.at_ms]
            case Ease():
                found[one.id] += ["eased", one.at_ms, one.severity]
            case Clear():
                found[one.id] += ["cleared", one.at_ms, one.active_rules]
            case _:
                pass
    return {id: told for id, told in found.items() if told[0] != SUMMARY}


def test_every_rule_kind_is_watched_or_said_why_not() -> None:
    covered = {type(parameters) for parameters in [*WATCHES.values(), *(make() for make in FURTHER.values())]}
    assert covered | set(ELSEWHERE) == set(get_args(Parameters))


@pytest.mark.parametrize("seed", SEEDS)
def test_turns_ticks_lanes_and_restarts_change_nothing(seed: int) -> None:
    """Every rule for itself: lanes may run apart as far as they can."""
    draw = random.Random(seed)
    until = T0 + draw.choice([6, 30]) * HOUR
    build = world(*(rule(name, parameters) for name, parameters in {**WATCHES, **further()}.items()))
    lanes = events(draw, until), telemetry(draw, until)
    expected = alerts(canonical(build, [*lanes[0], *lanes[1]], until))
    assert len(expected) > 5
    assert alerts(live(build, lanes, until, draw, together=False)) == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_families_of_one_lane_change_nothing(seed: int) -> None:
    """Rules of one family share an alert, so its beginning and end depend on all of them."""
    draw = random.Random(seed)
    until = T0 + 12 * HOUR
    build = world(*(graded(draw, name, parameters, "te") for name, parameters in {**WATCHES, **further()}.items()))
    lanes = events(draw, until), telemetry(draw, until)
    expected = alerts(canonical(build, [*lanes[0], *lanes[1]], until))
    assert len(expected) > 3
    assert alerts(live(build, lanes, until, draw, together=False)) == expected


def graded(draw: random.Random, name: str, parameters: Parameters, families: str) -> Rule:
    """A rule of some severity, in one of two families of its lane, or (`families` one letter) in one of all lanes."""
    lane = families[Reading not in BY_PARAMETERS[type(parameters)].reads] if len(families) > 1 else families
    severity = draw.choice([Severity.MINOR, Severity.MAJOR, Severity.CRITICAL])
    return replace(rule(name, parameters, family=f"{lane}{draw.choice([1, 2])}"), severity=severity)


@pytest.mark.parametrize("seed", range(20))
def test_families_of_both_lanes_say_the_same_and_may_only_join(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event may be read before the telemetry that raises or ends the alert of its family, so which of the two names
    the alert, and whether the second joins it, is open. What each rule says is not."""
    draw = random.Random(seed)
    until = T0 + 12 * HOUR
    build = world(*(graded(draw, name, parameters, "f") for name, parameters in {**WATCHES, **further()}.items()))
    lanes = events(draw, until), telemetry(draw, until)
    said: list[Any] = []
    take_in = Alerts.take_in

    def heard(self: Alerts, subject: Subject, one: Compiled, signal: Signal, now_ms: int, *rest: Any) -> None:
        said.append((one.rule.id, subject.key, now_ms, repr(signal)))
        take_in(self, subject, one, signal, now_ms, *rest)

    monkeypatch.setattr(Alerts, "take_in", heard)
    canonical(build, [*lanes[0], *lanes[1]], until)
    expected, said = sorted(said), []
    live(build, lanes, until, draw, together=False)
    assert len(expected) > 10
    assert sorted(said) == expected


@pytest.mark.parametrize("seed", range(20))
def test_lanes_in_step(seed: int) -> None:
    """The catalogue's own rules on several devices of one building, those that look at each other among them; each for
    itself, since families of both lanes are seen to above."""
    draw = random.Random(seed)
    until = T0 + 8 * HOUR
    watched = [
        (1, "gas_alarm", "lel"),
        (4, "manhole", "tilt"),
        (5, "wristband", "heart_rate"),
        (7, "electricity_meter", "voltage"),
    ]
    items: list[Item] = []
    at = T0
    while at < until:
        at += draw.choice([100, S, 5 * S, MIN, 4 * MIN])
        if draw.random() < 0.3:
            number, name = draw.choice(
                [(1, "alarm"), (1, "fault"), (2, "alarm"), (3, "alarm"), (5, "sos"), (4, "displaced")]
            )
            items.append(Event(DeviceNo(number), at - draw.choice([0, 300]), at, name))
        else:
            number, kind, metric = draw.choice(watched)
            metrics = BY_NAME[kind].metrics
            value = {"lel": [0, 5, 12, 30], "tilt": [0, 20, 95], "heart_rate": [70, 140], "voltage": [230, 270]}[metric]
            values = [float(draw.choice(value)) if one.name == metric else None for one in metrics]
            positions = {one.name: place for place, one in enumerate(metrics)}
            items.append(Reading(DeviceNo(number), at - draw.choice([0, 300]), at, values, positions))
    rulebook = Rulebook(
        {
            kind: tuple(
                replace(one, family=None) for one in rules if not isinstance(one.parameters, p.OfflineParameters)
            )
            for kind, rules in default_rulebook().defaults.items()
        }
    )

    def build() -> Roster:
        return roster(rulebook=rulebook)

    items = [item for item in items if item.received_ms <= until]
    lanes = [i for i in items if isinstance(i, Event)], [i for i in items if isinstance(i, Reading)]
    expected = alerts(canonical(build, items, until))
    assert len(expected) > 10
    assert alerts(live(build, lanes, until, draw, together=True)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_offline_is_late_by_no_more_than_the_tick_and_is_not_said_of_what_is_over(seed: int) -> None:
    """What the canonical order calls offline for longer than the worker was away is called so live, with the same id
    and onset; shorter silences, which were over before the worker looked, may be left out. Nothing is called offline
    that was not."""
    draw = random.Random(seed)
    until = T0 + 12 * HOUR
    build = world(rule("offline", p.OfflineParameters(3)))
    at = T0
    items: list[Item] = []
    positions = {name: place for place, name in enumerate(METRICS)}
    while at < until - 2 * HOUR:
        at += draw.choice([MIN] * 8 + [10 * MIN, 30 * MIN, 2 * HOUR])
        items.append(Reading(DeviceNo(1), at, at, [1.0] * 5, positions))
        if draw.random() < 0.05:
            at += S
            items.append(Status(DeviceNo(1), at, at, False, 1))
    expected = alerts(canonical(build, items, until))
    found = alerts(live(build, ([], items), until, draw, together=False, ticks=1.0))
    assert expected
    assert set(found) <= set(expected)
    away = HOUR
    for one, told in expected.items():
        _, _, _, fired, *rest = told
        over = rest[rest.index("cleared") + 1] if "cleared" in rest else until
        if over - fired > away:
            assert found[one][:3] == told[:3]
            assert fired <= found[one][3] <= fired + away
