"""The core as a fold: who it routes to, what it joins, and that batches and restarts change nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.adapters.registry import CommunityRow, DeviceRow
from services.adapters.rules import default_rulebook, load_defaults
from services.domain.devices import BY_NAME
from services.domain.engine.core import LATE_MS, LATE_SAFETY_MS, Engine
from services.domain.engine.decisions import Clear, Decision, OpenAlert, Presence, Raise, Recover, Repeat, StateChange
from services.domain.engine.entries import LogRow, Unreadable, items_of
from services.domain.engine.set_aside import SetAside
from services.domain.engine.subjects import BuildingRow, Roster, Seen, build_roster
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition, RuleId
from services.domain.registry import ELDER_LIVING_ALONE
from services.domain.rules.evaluation import Clock, Event, Flood, Item, Line, Reading, Status
from services.domain.rules.parameters import OfflineParameters
from services.domain.rules.rulebook import Rulebook
from services.domain.vocabulary import Severity

S = 1000
MIN = 60 * S
HOUR = 60 * MIN
T0 = 1_795_305_600_000
KINDS = ("gas_alarm", "smoke_detector", "smoke_detector", "manhole", "wristband", "water_meter", "electricity_meter")
GATEWAY = DeviceNo(20)


def device(number: int, kind: str, **more: Any) -> DeviceRow:
    values: dict[str, Any] = {
        "device_no": DeviceNo(number),
        "id": DeviceId(f"c-{kind}-{number}"),
        "community_id": CommunityId("c"),
        "partition": Partition(1),
        "kind": kind,
        "gateway_no": None,
        "building_id": "b1",
        "unit_id": None,
        "household_id": "h1",
        "grid_id": "g1",
        "person_tags": frozenset({ELDER_LIVING_ALONE}),
        "tags": frozenset(),
        "interval_s": BY_NAME[kind].interval_s,
        "place": "1号楼101室",
        "x": 1.0,
        "y": 2.0,
        "floor": 1,
        "name": kind,
        "codec": "native",
        "retired": False,
    }
    return DeviceRow(**{**values, **more})


def roster(*extra: DeviceRow, rulebook: Rulebook | None = None) -> Roster:
    rows = [device(number, kind) for number, kind in enumerate(KINDS, start=1)]
    rows += [device(GATEWAY, "gateway"), device(21, "electricity_meter", gateway_no=GATEWAY), *extra]
    communities = [CommunityRow(CommunityId("c"), "社区", Partition(1), 29.7, 116.0, "Asia/Shanghai")]
    buildings = [BuildingRow("b1", "1号楼", "g1", 5.0, 5.0)]
    return build_roster(BY_NAME, rulebook or default_rulebook(), communities, rows, buildings, {}, Line())


def reading(number: int, kind: str, ts: int, delay: int = 0, **values: float) -> Reading:
    metrics = BY_NAME[kind].metrics
    return Reading(
        DeviceNo(number),
        ts,
        ts + delay,
        [values.get(metric.name) for metric in metrics],
        {metric.name: place for place, metric in enumerate(metrics)},
    )


def event(number: int, name: str, ts: int, delay: int = 0) -> Event:
    return Event(DeviceNo(number), ts, ts + delay, name)


def decided(engine: Engine, *items: Item) -> list[Decision]:
    for item in items:
        assert engine.apply(item)
    return list(engine.take().decisions)


# routing and joining


def test_core_unknown_device_is_told_to_the_caller() -> None:
    assert not Engine(roster()).apply(event(999, "alarm", T0))


def test_core_evaluates_only_the_rules_of_the_device_and_the_item() -> None:
    """Cost must not depend on the rules that cannot apply."""
    engine = Engine(roster())
    engine.apply(reading(4, "manhole", T0, tilt=1))
    applying = sum(1 for rule in load_defaults()["manhole"] if getattr(rule.parameters, "metric", None))
    assert engine.evaluations == applying
    assert applying < sum(map(len, load_defaults().values())) / 5


def test_core_person_and_device_tags_decide_which_rules_apply() -> None:
    untagged = device(30, "water_meter", person_tags=frozenset())
    rules = roster(untagged).devices
    assert "water_meter.elder_silence" in rules[DeviceNo(6)].rules.by_id
    assert "water_meter.elder_silence" not in rules[DeviceNo(30)].rules.by_id


def test_core_alert_says_why_with_value_limit_and_place() -> None:
    engine = Engine(roster())
    raised = decided(engine, reading(1, "gas_alarm", T0, lel=18), reading(1, "gas_alarm", T0 + 5 * S, lel=18))[0]
    assert isinstance(raised, Raise)
    assert raised.why.zh.endswith("18 %LEL ≥ 10 %LEL 持续 5 秒，1号楼101室")
    assert raised.why.en.endswith("18 %LEL ≥ 10 %LEL for 5 s, 1号楼101室")
    assert (raised.onset_ms, raised.last_ms, raised.correlation) == (T0, T0 + 5 * S, f"c-gas_alarm-1@{T0 + 5 * S}")


def test_core_keeps_readings_of_the_body_out_of_words_and_foreign_triggers() -> None:
    engine = Engine(roster())
    hr = [reading(5, "wristband", T0 + step * 5 * MIN, heart_rate=150, battery=5) for step in range(3)]
    high = next(found for found in decided(engine, *hr) if isinstance(found, Raise) and "heart" in found.rule_id)
    assert "150" not in high.why.zh + high.why.en
    assert high.trigger["health"] is True
    more = [reading(5, "wristband", T0 + step * 5 * MIN, heart_rate=80, battery=5) for step in range(3, 16)]
    low = next(found for found in decided(engine, *more) if isinstance(found, Raise) and "battery" in found.rule_id)
    assert "heart_rate" not in low.trigger["values"]


def test_core_family_shares_one_alert_and_clears_when_none_of_it_holds() -> None:
    engine = Engine(roster())
    tilted = [reading(4, "manhole", T0 + step * S, tilt=20) for step in range(0, 8, 4)]
    opened = [reading(4, "manhole", T0 + 10 * S + step * S, tilt=95) for step in range(0, 8, 4)]
    found = decided(engine, *tilted, *opened)
    assert [type(one) for one in found] == [Raise, Repeat]
    worse = found[1]
    assert isinstance(worse, Repeat)
    assert (worse.worse, worse.alert.id) == (Severity.CRITICAL, found[0].id)  # type: ignore[union-attr]
    joined = decided(engine, event(4, "displaced", T0 + 30 * S))
    assert [one.worse for one in joined if isinstance(one, Repeat)] == [None]
    righted = decided(engine, reading(4, "manhole", T0 + 60 * S, tilt=0))
    assert [one.active_rules for one in righted if isinstance(one, Clear)][-1] == ("manhole.displaced",)
    engine.tick(T0 + HOUR)
    ended = engine.take().decisions
    assert [one.active_rules for one in ended if isinstance(one, Clear)] == [()]
    assert not [alert for alert in engine.alerts.open.values() if alert.family == "manhole.open"]


def test_core_second_detector_joins_the_fire() -> None:
    engine = Engine(roster())
    decided(engine, event(2, "alarm", T0))
    fire, second = decided(engine, event(3, "alarm", T0 + 60 * S))
    assert isinstance(fire, Raise)
    assert isinstance(second, Raise)
    assert (fire.subject, fire.absorbs) == ("building:b1", (("smoke_detector.alarm", "device:2"),))
    assert second.joins == ("smoke_detector.fire", "building:b1")


# lateness and order


@pytest.mark.parametrize(
    ("name", "number", "delay", "pages"),
    [
        ("alarm", 1, LATE_SAFETY_MS, True),
        ("alarm", 1, LATE_SAFETY_MS + 1, False),
        ("fault", 1, LATE_MS, True),
        ("fault", 1, LATE_MS + 1, False),
        ("alarm", 1, 48 * HOUR, False),
    ],
)
def test_core_late_events_page_only_while_they_can_still_help(name: str, number: int, delay: int, pages: bool) -> None:
    assert bool(decided(Engine(roster()), event(number, name, T0, delay))) is pages


def test_core_overtaken_reading_means_nothing() -> None:
    engine = Engine(roster())
    decided(engine, reading(7, "electricity_meter", T0 + MIN, voltage=230))
    for step in range(10):
        assert decided(engine, reading(7, "electricity_meter", T0 - step * MIN, voltage=300)) == []
    assert engine.overtaken == 10


def test_core_reading_that_fills_a_hole_of_the_same_time_counts() -> None:
    engine = Engine(roster())
    found = decided(
        engine,
        reading(1, "gas_alarm", T0, battery=90),
        reading(1, "gas_alarm", T0, lel=18),
        reading(1, "gas_alarm", T0 + 5 * S, lel=18),
    )
    assert [type(one) for one in found] == [Raise]


# offline


def offline_only(found: Sequence[Decision]) -> list[tuple[str, str]]:
    return [
        (type(one).__name__, one.rule_id if isinstance(one, Raise) else str(one.online))
        for one in found
        if isinstance(one, Raise | Presence)
    ]


def test_core_gateway_is_blamed_for_the_meters_behind_it() -> None:
    engine = Engine(roster())
    decided(engine, reading(21, "electricity_meter", T0, voltage=230))
    engine.apply(Status(GATEWAY, T0, T0 + MIN, False, 1))
    engine.apply(event(3, "fault", T0 + HOUR))
    engine.take()
    engine.tick(T0 + HOUR)
    found = offline_only(engine.take().decisions)
    assert ("Raise", "gateway.offline") in found
    assert ("Presence", "False") in found
    assert ("Raise", "electricity_meter.offline") not in found
    back = decided(engine, reading(21, "electricity_meter", T0 + HOUR + MIN, voltage=230))
    assert sum(isinstance(one, Presence) and one.online for one in back) == 2
    assert any(isinstance(one, Clear) for one in back)


def test_core_gateway_is_not_brought_back_by_what_came_through_it_before_it_went() -> None:
    engine = Engine(roster())
    decided(engine, reading(21, "electricity_meter", T0, voltage=230))
    engine.apply(Status(GATEWAY, T0, T0 + MIN, False, 1))
    engine.tick(T0 + 2 * MIN)
    assert ("Raise", "gateway.offline") in offline_only(engine.take().decisions)
    on_its_way = reading(21, "electricity_meter", T0 + 50 * S, 2 * MIN, voltage=230)
    assert offline_only(decided(engine, on_its_way)) == []
    assert not engine.roster.devices[GATEWAY].facts.online
    made_now = reading(21, "electricity_meter", T0 + 3 * MIN, voltage=230)
    assert ("Presence", "True") in offline_only(decided(engine, made_now))


def test_core_suspects_are_those_whose_silence_is_about_to_be_believed() -> None:
    engine = Engine(roster())
    decided(engine, reading(7, "electricity_meter", T0, voltage=230), reading(1, "gas_alarm", T0, lel=0))
    engine.tick(T0)
    assert engine.suspects(T0 + 2 * MIN) == []
    assert engine.suspects(T0 + 4 * MIN) == [7]
    engine.heard(DeviceNo(7), T0 + 3 * MIN)
    engine.tick(T0 + 4 * MIN)
    assert engine.take().decisions == ()


# faults


def poison(engine: Engine, number: int, rule: str) -> None:
    """What the rule remembers of the device is something it stumbles over."""
    subject = engine.roster.devices[DeviceNo(number)]
    assert rule in subject.rules.by_id
    subject.remember(RuleId(rule), {"phase": "?"})


def test_core_failing_rule_is_set_aside_for_its_subject_and_tried_again() -> None:
    faults: list[tuple[str, str]] = []
    engine = Engine(roster(device(8, "manhole")), on_fault=lambda rule, subject, _error: faults.append((rule, subject)))
    poison(engine, 4, "manhole.tilted")
    for second in range(0, 60, 5):
        decided(engine, reading(4, "manhole", T0 + second * S, tilt=20))
    assert faults == [("manhole.tilted", "device:4")]
    assert engine.aside.which() == faults
    other = decided(engine, *(reading(8, "manhole", T0 + second * S, tilt=20) for second in range(0, 12, 4)))
    assert [one.rule_id for one in other if isinstance(one, Raise)] == ["manhole.tilted"]
    # After a minute it is tried again; what it remembers is what it stumbles over, so it starts from nothing.
    decided(engine, reading(4, "manhole", T0 + MIN, tilt=20))
    assert len(faults) == 2
    decided(engine, reading(4, "manhole", T0 + 2 * MIN + 59 * S, tilt=20))
    assert len(faults) == 2 and len(engine.aside)
    again = decided(engine, *(reading(4, "manhole", T0 + 3 * MIN + second * S, tilt=20) for second in range(0, 12, 4)))
    assert [one.rule_id for one in again if isinstance(one, Raise)] == ["manhole.tilted"]
    assert not len(engine.aside)


def test_core_pause_of_a_failing_rule_doubles_up_to_an_hour() -> None:
    aside, one = SetAside(), roster().devices[DeviceNo(4)]
    rule = one.rules.by_id[RuleId("manhole.tilted")]
    pauses, now = [], T0
    for _ in range(8):
        aside.failed(rule, one, now)
        until_ms = aside.rests(rule, one, now)
        assert until_ms is not None and aside.rests(rule, one, until_ms) is None
        pauses.append((until_ms - now) // MIN)
        now = until_ms
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_core_life_safety_rule_is_never_set_aside() -> None:
    """What made it stumble may be one message; the next one is a call."""
    faults: list[tuple[str, str]] = []
    engine = Engine(roster(), on_fault=lambda rule, subject, _error: faults.append((rule, subject)))
    poison(engine, 2, "smoke_detector.alarm")
    engine.roster.devices[DeviceNo(2)].remember(RuleId("smoke_detector.alarm"), {"onset": "?"})
    decided(engine, event(2, "alarm", T0), event(2, "alarm", T0 + S))
    assert len(faults) == 2
    found = decided(engine, event(2, "alarm", T0 + 2 * S))
    assert [one.rule_id for one in found if isinstance(one, Raise)] == ["smoke_detector.alarm"]


def test_core_alert_of_a_retired_device_is_cleared() -> None:
    engine = Engine(roster())
    decided(engine, event(1, "alarm", T0))
    after = Engine(roster(device(1, "gas_alarm", retired=True)), engine.alerts.open.values())
    del after.roster.devices[DeviceNo(1)]
    after.tick(T0 + S)
    assert [type(one) for one in after.take().decisions] == [Clear]


def test_core_registry_change_keeps_what_is_remembered() -> None:
    engine = Engine(roster())
    decided(engine, reading(1, "gas_alarm", T0, lel=18))
    changed = Engine(roster(device(40, "bin")), engine.alerts.open.values())
    changed.carry_over(engine)
    assert [type(one) for one in decided(changed, reading(1, "gas_alarm", T0 + 5 * S, lel=18))] == [Raise]


# entries


def test_entries_unreadable_parts_leave_the_rest() -> None:
    good = {"type": "event", "device_no": 1, "ts_ms": 1, "received_ms": 2, "event": "alarm", "data": {}}
    status = {"type": "status", "device_no": 1, "ts_ms": 1, "received_ms": 2, "online": True, "session": 3}
    clock = {"type": "clock", "device_no": 1, "ts_ms": 1, "received_ms": 2, "offset_ms": 9}
    flood = {"type": "flood", "device_no": 1, "ts_ms": 1, "received_ms": 2, "count": 870}
    reply = {"type": "reply", "device_no": 1, "ts_ms": 1, "received_ms": 2}
    body = [good, "text", None, {"type": "event"}, {**good, "type": "riddle"}, status, clock, flood, reply]
    row = LogRow(0, 1, None, [], [], [], [], [], body)  # type: ignore[arg-type]
    assert [type(item) for item in items_of(row, roster())] == [
        Event,
        Unreadable,
        Unreadable,
        Unreadable,
        Unreadable,
        Status,
        Clock,
        Flood,
        type(list(items_of(row, roster()))[-1]),
    ]


def test_entries_widths_that_do_not_add_up_are_not_guessed() -> None:
    row = LogRow(1, 1, None, [1, 2], [1, 1], [1, 1], [1, 2], [0.5], [])  # type: ignore[arg-type]
    assert [type(item) for item in items_of(row, roster())] == [Unreadable]


# batches and restarts

_EVENTS = [(1, "alarm"), (1, "fault"), (2, "alarm"), (3, "alarm"), (5, "sos"), (5, "fall"), (4, "displaced")]
_happening = st.one_of(
    st.tuples(st.just("event"), st.sampled_from(_EVENTS), st.sampled_from([0, 200, 20 * MIN])),
    st.tuples(st.just("lel"), st.sampled_from([0.0, 5.0, 10.0, 25.0]), st.just(0)),
    st.tuples(st.just("tilt"), st.sampled_from([0.0, 10.0, 20.0, 95.0]), st.just(0)),
    st.tuples(st.just("hr"), st.sampled_from([70.0, 111.0, 135.0]), st.sampled_from([0, HOUR])),
    st.tuples(st.just("water"), st.sampled_from([0.0, 0.3]), st.just(0)),
    st.tuples(st.just("status"), st.sampled_from([True, False]), st.just(0)),
    st.tuples(st.just("clock"), st.sampled_from([100 * S, 900 * S]), st.just(0)),
    st.tuples(st.just("tick"), st.just(0), st.just(0)),
)
_steps = st.lists(
    st.tuples(_happening, st.sampled_from([1, 2 * S, 5 * S, MIN, 5 * MIN, 15 * MIN, HOUR]), st.booleans()), max_size=60
)


class Database:
    """What a restart finds: states through JSON, open alerts, and when devices were heard and read."""

    def __init__(self) -> None:
        self.states: dict[tuple[Any, str], str] = {}
        self.log: list[Decision] = []

    def commit(self, engine: Engine) -> None:
        taken = engine.take()
        for change in taken.states:
            if change.state is None:
                self.states.pop((change.rule_id, change.subject), None)
            else:
                self.states[change.rule_id, change.subject] = json.dumps(change.state)
        self.log += taken.decisions

    def restart(self, before: Engine) -> Engine:
        seen = {
            number: Seen(
                subject.facts.seen_ms,
                subject.facts.online,
                subject.facts.online_since_ms,
                subject.facts.session,
                subject.facts.made_ms,
            )
            for number, subject in before.roster.devices.items()
        }
        opened = [
            OpenAlert(a.id, a.family, a.subject, a.severity, a.state, list(a.active), a.correlation, a.onset_ms)
            for a in before.alerts.open.values()
        ]
        engine = Engine(roster(), opened)
        engine.restore(
            [StateChange(rule, subject, json.loads(state)) for (rule, subject), state in self.states.items()], seen
        )
        return engine


def play(steps: Sequence[tuple[tuple[str, Any, int], int, bool]], *, restarts: bool) -> list[Decision]:
    engine, database, at, water, session = Engine(roster()), Database(), T0, 100.0, 1
    for (what, value, delay), pause, cut in steps:
        at += pause
        match what:
            case "event":
                engine.apply(event(value[0], value[1], at - delay, delay))
            case "lel":
                engine.apply(reading(1, "gas_alarm", at, lel=value))
            case "tilt":
                engine.apply(reading(4, "manhole", at, tilt=value))
            case "hr":
                engine.apply(reading(5, "wristband", at - delay, delay, heart_rate=value))
            case "water":
                water += value
                engine.apply(reading(6, "water_meter", at, total_m3=water))
            case "status":
                session += bool(value)
                engine.apply(Status(DeviceNo(7), at, at, value, session))
            case "clock":
                engine.apply(Clock(DeviceNo(7), at + value, at, value))
            case _:
                engine.tick(at)
        if cut:
            database.commit(engine)
            if restarts:
                engine = database.restart(engine)
    database.commit(engine)
    return database.log


def essence(log: Sequence[Decision]) -> list[Any]:
    """Everything that can be seen of a decision, but for the order within one tick."""
    return sorted(repr(one) for one in log)


GAS_TWICE = [
    (("event", (1, "alarm"), 0), 1, False),
    (("tick", 0, 0), 1, True),
    (("lel", 10.0, 0), 1, False),
    (("tick", 0, 0), 300_000, False),
]
"""Two rules of one family due in one tick: whether the second joins or opens must not depend on a restart."""


@settings(max_examples=60, deadline=None)
@given(_steps)
@example(GAS_TWICE)
def test_core_batches_and_restarts_change_nothing(steps: list[tuple[tuple[str, Any, int], int, bool]]) -> None:
    straight = play([(what, pause, False) for what, pause, _ in steps], restarts=False)
    batched = play(steps, restarts=False)
    restarted = play(steps, restarts=True)
    assert straight == batched
    assert essence(straight) == essence(restarted)


@settings(max_examples=60, deadline=None)
@given(_steps)
def test_core_never_has_two_open_alerts_of_one_trouble(steps: list[tuple[tuple[str, Any, int], int, bool]]) -> None:
    opened: dict[Any, tuple[str, str]] = {}
    ids: set[Any] = set()
    for one in play(steps, restarts=True):
        if isinstance(one, Raise):
            assert one.id not in ids
            assert (one.family, one.subject) not in opened.values()
            ids.add(one.id)
            opened[one.id] = (one.family, one.subject)
        elif isinstance(one, Repeat):
            assert one.alert.id in opened
        elif isinstance(one, Recover | Clear):
            assert one.id in opened
            if isinstance(one, Clear) and not one.active_rules:
                del opened[one.id]


def test_core_offline_rules_stand_on_every_kind() -> None:
    """The clocks of silence are set at the start for each device, so none can die unnoticed."""
    for subject in roster().devices.values():
        assert any(isinstance(one.rule.parameters, OfflineParameters) for one in subject.rules.starts)
