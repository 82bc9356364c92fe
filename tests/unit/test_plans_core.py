"""Linkage plans: read with the line of every fault, carried on deterministically, rehearsed by the same code."""

from __future__ import annotations

import dataclasses
import random
import re
from pathlib import Path
from typing import Any

import pytest

from services.adapters.plans.files import load_defaults, read_text
from services.domain.devices import BY_NAME
from services.domain.plans.conditions import ConditionError, check, holds
from services.domain.plans.core import (
    ENDED,
    Answer,
    Run,
    SendBroadcast,
    SendCommand,
    SendNotice,
    StepState,
    TellOrder,
    advance,
    cancel,
    run_id,
    start,
)
from services.domain.plans.document import dangerous
from services.domain.plans.facts import Facts, Near, Person, World, fits
from services.domain.plans.plan import Plan
from services.domain.plans.rehearsal import rehearse
from services.domain.plans.words import shown_late

T0 = 1_795_000_000_000
FACTS = Facts(
    alert_id="0f6e3f7a-0000-4000-8000-000000000001",
    community_id="test",
    community="测试社区",
    timezone="Asia/Shanghai",
    rule_id="gas_alarm.alarm",
    family="gas_alarm.leak",
    kind="gas_alarm",
    severity="critical",
    life_safety=True,
    title_zh="燃气泄漏报警",
    title_en="Gas alarm",
    place="1号楼101室",
    onset_ms=T0 - 500,
    correlation="gas-1@1",
    device_no=1,
    device_id="gas-1",
    device_name="燃气报警器 1",
    building_id="b1",
    unit_id="u1",
    household_id="h1",
    floor=1,
    grid_id="g1",
    person_id="p1",
)


def near(number: int, kind: str, *, home: str | None = None, building: str | None = "b1", **more: Any) -> Near:
    known: dict[str, Any] = {
        "device_no": number,
        "id": f"{kind}-{number}",
        "kind": kind,
        "name": f"{kind} {number}",
        "place": "",
        "building_id": building,
        "unit_id": "u1" if home else None,
        "household_id": home,
        "grid_id": "g1",
        "tags": frozenset(),
        "online": True,
        "publisher": f"{kind}-{number}",
        "codec": "native",
    }
    return Near(**{**known, **more})


WORLD = World(
    (
        near(1, "gas_alarm", home="h1", id="gas-1"),
        near(2, "gas_meter", home="h1"),
        near(3, "gas_meter", home="h2"),
        near(4, "siren"),
        near(5, "siren", building="b2"),
        near(6, "loudspeaker"),
    ),
    (
        Person("p1", False, "王秀英", household_id="h1", unit_id="u1", building_id="b1", floor=1),
        Person("p2", False, "李伟", household_id="h2", unit_id="u1", building_id="b1", floor=1),
        Person("p3", False, "张敏", household_id="h3", unit_id="u2", building_id="b1", floor=1),
        Person("desk", True, "值班", role="desk", team="desk"),
        Person("grid1", True, "网格员", role="grid", team="grid", grid_id="g1"),
        Person("grid2", True, "网格员", role="grid", team="grid", grid_id="g2"),
    ),
)


def plan_of(steps: str, head: str = "") -> Plan:
    text = "id: p\ntitle: {zh: 甲, en: A}\ntrigger: {alerts: [gas_alarm.leak]}\n" + head + "steps:\n" + steps
    found = read_text(text, ())
    assert found.plan is not None, [one.said("p") for one in found.findings]
    return found.plan


def begun(plan: Plan, world: World = WORLD, facts: Facts = FACTS) -> Any:
    return start(plan, run_id("test", plan.id, 1, facts.alert_id), facts, world, T0)


def on(plan: Plan, run: Run, at_ms: int, answers: dict[str, list[Answer]] | None = None, world: World = WORLD) -> Any:
    return advance(plan, run, FACTS, world, answers or {}, at_ms)


VALVE = "  - id: valve\n    command: {name: valve_close, kinds: [gas_meter], within: household}\n    timeout: 30s\n"


def test_every_default_plan_can_be_read_and_names_alerts_there_are() -> None:
    plans = load_defaults()
    assert set(plans) == {
        "charger_hot", "ebike_in_lift", "elder_sos", "fire", "gas_leak", "high_throw", "tunnel_gas", "water_edge",
    }  # fmt: skip
    assert dangerous(plans["gas_leak"].plan) == (
        "gas_meter.valve_close", "gas_alarm.valve_close", "loudspeaker.speak", "siren.siren_on",
    )  # fmt: skip
    for one in plans.values():
        assert not any(name.endswith("valve_open") for name in dangerous(one.plan))


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (3, "trigger: {alerts: [gas_alrm.leak]}", "gas_alarm.leak"),
        (3, "trigger: {alerts: []}", "at least"),
        (3, "trigger: {alerts: [gas_alarm.leak], severity: terrible}", "severity"),
        (4, "if: alert.sevrity == 'x'", "sevrity"),
        (4, "if: alert.rank", "neither true nor false"),
        (4, "mod: live", "mod"),
        (5, "command: {name: valve_clos, kinds: [gas_meter], within: household}", "valve_close"),
        (5, "command: {name: valve_close, kinds: [gas_metre], within: household}", "gas_meter"),
        (5, "command: {name: valve_close, kinds: [gas_meter], within: flat}", "household"),
        (5, "command: {name: siren_on, kinds: [siren], within: building, params: {loud: 1}}", "seconds"),
        (5, "notice: {text: {zh: a, en: b}}", "say who"),
        (5, 'notice: {people: [unit], text: {zh: "{plce}", en: b}}', "{place}"),
        (5, "wait: 0s", "wait"),
        (5, "order: {team: patroll, severity: major}", "patrol"),
        (5, "shout: loud", "shout"),
    ],
)
def test_faults_are_named_with_their_line(line: int, text: str, said: str) -> None:
    lines = ["id: p", "title: {zh: 甲, en: A}", "trigger: {alerts: [gas_alarm.leak]}"]
    step = "    wait: 5s"
    if line == 3:
        lines[2] = text
    elif line == 4:
        lines.append(text)
    else:
        step = f"    {text}"
    whole = "\n".join([*lines, "steps:", "  - id: a", step])
    found = read_text(whole, ())
    assert found.plan is None
    wanted = {3: (3,), 4: (4,), 5: (5, 6)}[line]
    assert any(one.line in wanted and said in one.said("f") for one in found.findings), [
        one.said("f") for one in found.findings
    ]


def test_steps_that_wait_for_each_other_or_for_nobody_are_refused() -> None:
    text = "id: p\ntitle: {zh: 甲, en: A}\ntrigger: {alerts: [gas_alarm.leak]}\nsteps:\n"
    for steps, said in (
        ("  - {id: a, needs: [b], wait: 1s}\n  - {id: b, needs: [a], wait: 1s}\n", "waits for itself"),
        ("  - {id: a, needs: [c], wait: 1s}\n", "no step c"),
        ("  - {id: a, wait: 1s}\n  - {id: a, wait: 1s}\n", "already"),
    ):
        assert any(said in one.said("f") for one in read_text(text + steps, ()).findings), said


def test_gas_plan_shuts_the_valve_of_this_household_and_no_other() -> None:
    done = begun(load_defaults()["gas_leak"].plan)
    commands = [one for one in done.doings if isinstance(one, SendCommand)]
    assert {(one.device.id, one.name) for one in commands} == {
        ("gas_meter-2", "valve_close"), ("gas-1", "valve_close"), ("siren-4", "siren_on"), ("loudspeaker-6", "speak"),
    }  # fmt: skip
    assert all(one.dangerous for one in commands)
    leave = next(one for one in done.doings if isinstance(one, SendNotice) and one.step == "leave")
    assert [one.id for one in leave.people] == ["p1", "p2"]
    assert "1号楼101室" in leave.text.zh


def test_same_alert_gives_the_same_run_and_the_same_commands() -> None:
    plan = load_defaults()["gas_leak"].plan
    one, two = begun(plan), begun(plan)
    assert one == two
    assert len({each.id for each in one.doings if isinstance(each, SendCommand)}) == 4


def test_run_read_back_at_any_moment_ends_the_same() -> None:
    """Steps, answers and looks at random moments: whoever looks more often comes to the same end."""
    plan = plan_of(
        VALVE
        + "  - {id: pause, needs: [valve], wait: 20s}\n"
        + "  - id: tell\n    needs: [pause]\n    after: 10s\n    notice: {roles: [desk], text: {zh: 好, en: ok}}\n"
    )
    ends = set()
    for seed in range(40):
        rng = random.Random(seed)
        done = begun(plan)
        run, told = done.run, list(done.doings)
        answered = T0 + 7_000
        moments = sorted({T0 + rng.randrange(120_000) for _ in range(rng.randrange(3, 40))} | {answered, T0 + 200_000})
        for at in moments:
            state = "done" if at >= answered else "sent"
            after = advance(plan, run, FACTS, WORLD, {"valve": [Answer("gas_meter-2", state)]}, at)
            stored = {name: dataclasses.replace(one) for name, one in after.run.steps.items()}
            run, told = dataclasses.replace(after.run, steps=stored), told + list(after.doings)
        ends.add((run.state, tuple(one.state for one in run.steps.values()), len(told)))
    assert ends == {("done", ("done", "done", "done"), 2)}


@pytest.mark.parametrize(
    ("state", "at", "step", "run"),
    [
        ("done", 5_000, "done", "done"),
        ("failed", 5_000, "failed", "failed"),
        ("acknowledged", 5_000, "requested", "running"),
        ("sent", 29_999, "requested", "running"),
        ("sent", 30_000, "timed_out", "failed"),
        ("expired", 30_000, "timed_out", "failed"),
        ("acknowledged", 30_000, "timed_out", "failed"),
    ],
)
def test_command_step_follows_its_answer_to_the_edge_of_its_time(state: str, at: int, step: str, run: str) -> None:
    plan = plan_of(VALVE)
    after = on(plan, begun(plan).run, T0 + at, {"valve": [Answer("gas_meter-2", state)]})
    assert (after.run.steps["valve"].state, after.run.state) == (step, run)


def test_what_follows_is_on_failure_and_on_timeout() -> None:
    later = "  - {id: later, needs: [valve], wait: 5s}\n"
    for rule, state, notices in (("go_on", "requested", 0), ("escalate", "requested", 1), ("stop", "skipped", 0)):
        plan = plan_of(VALVE + f"    on_failure: {rule}\n" + later)
        after = on(plan, begun(plan).run, T0 + 1_000, {"valve": [Answer("gas_meter-2", "failed", "jammed")]})
        assert after.run.steps["later"].state == state, rule
        told = [one for one in after.doings if isinstance(one, SendNotice)]
        assert len(told) == notices and all(one.escalation and one.people[0].id == "desk" for one in told)
        assert after.run.steps["valve"].result["details"] == {"gas_meter-2": "jammed"}


def test_household_without_a_valve_fails_aloud() -> None:
    plan = plan_of(VALVE + "    on_failure: escalate\n")
    world = World(tuple(one for one in WORLD.devices if one.kind != "gas_meter"), WORLD.people)
    after = begun(plan, world)
    assert after.run.steps["valve"].state == "failed" and after.run.state == "failed"
    assert any(isinstance(one, SendNotice) and one.escalation for one in after.doings)


def test_device_of_a_format_without_a_way_down_is_named_not_waited_for() -> None:
    plan = plan_of(VALVE)
    world = World((near(2, "gas_meter", home="h1", codec="cjt188"),), ())
    after = begun(plan, world)
    assert after.run.steps["valve"].state == "failed"
    assert after.run.steps["valve"].result["unreachable"] == ["gas_meter-2"]


def test_what_was_shown_after_the_step_was_over_is_said_and_what_is_still_open_beside_it() -> None:
    plan = plan_of(VALVE)
    (step,) = plan.steps
    answers = {"gas_meter-2": "confirmed", "gas_meter-3": "expired"}
    words, settled = shown_late(plan, step, {}, {"gas_meter-2": "confirmed"}, ["gas_meter-2"])
    assert settled and "现已证实（gas_meter-2）" in words.zh and "confirmed by now (gas_meter-2)" in words.en
    words, settled = shown_late(plan, step, {}, answers, ["gas_meter-2"])
    assert not settled and "gas_meter-2 现已证实；仍未证实：gas_meter-3 已过期" in words.zh and "NOT" in words.en
    _, settled = shown_late(plan, step, {"unreachable": ["gas_meter-9"]}, {"gas_meter-2": "done"}, ["gas_meter-2"])
    assert not settled, "one that cannot be told is never shown"
    any_is_enough = plan_of(VALVE.replace("command: {", "command: {enough: any, "))
    _, settled = shown_late(any_is_enough, any_is_enough.steps[0], {}, answers, ["gas_meter-2"])
    assert settled


def test_siren_is_not_sounded_an_hour_late() -> None:
    plan = plan_of(
        "  - id: s\n    after: 10s\n    timeout: 30s\n    "
        "broadcast: {within: building, siren: 60s, text: {zh: 撤, en: out}}\n"
    )
    run = begun(plan).run
    late = on(plan, run, T0 + 3_600_000)
    assert late.run.steps["s"].state == "timed_out"
    (told,) = late.doings
    assert isinstance(told, TellOrder) and "没有下发" in told.text.zh, "nothing sounds; the order says so"
    in_time = on(plan, run, T0 + 40_000)
    assert in_time.run.steps["s"].state == "requested"


def test_notice_and_order_are_given_however_late() -> None:
    plan = plan_of("  - id: n\n    after: 10s\n    notice: {roles: [desk], text: {zh: 好, en: ok}}\n")
    assert on(plan, begun(plan).run, T0 + 3_600_000).run.steps["n"].state == "done"


def test_condition_is_asked_when_the_step_is_due() -> None:
    plan = plan_of(
        "  - id: n\n    after: 60s\n    if: alert.open\n    notice: {roles: [desk], text: {zh: 好, en: ok}}\n"
    )
    run = begun(plan).run
    assert on(plan, run, T0 + 60_000).run.steps["n"].state == "done"
    cleared = World(WORLD.devices, WORLD.people, alert_open=False)
    assert on(plan, run, T0 + 60_000, world=cleared).run.steps["n"].state == "skipped"


def test_enough_any_is_done_with_the_first_answer() -> None:
    step = "  - id: v\n    command: {name: siren_on, kinds: [siren], within: community, enough: %s}\n"
    answers = {"v": [Answer("siren-4", "done"), Answer("siren-5", "sent")]}
    for enough, state in (("any", "done"), ("all", "requested")):
        plan = plan_of(step % enough)
        assert on(plan, begun(plan).run, T0 + 1_000, answers).run.steps["v"].state == state


def test_broadcast_takes_the_communitys_speakers_where_the_building_has_none() -> None:
    plan = plan_of("  - id: b\n    broadcast: {within: building, text: {zh: 撤, en: out}}\n")
    world = World((near(6, "loudspeaker", building="b2"),), ())
    told = [one for one in begun(plan, world).doings if isinstance(one, SendBroadcast)]
    assert told[0].within.value == "community" and told[0].devices == ("loudspeaker-6",)


def test_cancelled_run_begins_nothing_more() -> None:
    plan = load_defaults()["fire"].plan
    run = cancel(begun(plan).run, "演习", T0 + 1_000)
    assert run.state == "cancelled" and all(one.state in ENDED for one in run.steps.values())
    assert advance(plan, run, FACTS, WORLD, {}, T0 + 600_000).doings == ()


def test_grid_members_of_another_grid_are_not_disturbed() -> None:
    plan = plan_of("  - id: n\n    notice: {roles: [grid], text: {zh: 好, en: ok}}\n")
    (told,) = [one for one in begun(plan).doings if isinstance(one, SendNotice)]
    assert [one.id for one in told.people] == ["grid1"]


@pytest.mark.parametrize(
    ("change", "fitting"),
    [
        ({}, True),
        ({"family": "smoke_detector.alarm", "rule_id": "smoke_detector.alarm"}, False),
        ({"severity": "major"}, False),
        ({"building_id": "b9"}, False),
        ({"device_id": "gas-9"}, False),
    ],
)
def test_trigger_takes_rules_severity_and_scope(change: dict[str, Any], fitting: bool) -> None:
    plan = plan_of("  - {id: a, wait: 1s}\n")
    scoped = dataclasses.replace(
        plan,
        trigger=dataclasses.replace(
            plan.trigger,
            severity=type(plan.trigger.severity)("critical"),
            scope=dataclasses.replace(
                plan.trigger.scope, buildings=frozenset({"b1"}), except_devices=frozenset({"gas-9"})
            ),
        ),
    )
    assert fits(scoped, dataclasses.replace(FACTS, **change)) is fitting


def test_conditions_know_what_they_may_ask_and_what_they_do_not_know() -> None:
    given = {"alert": {"rank": 3, "open": True}, "hour": 23.5, "weekday": 7, "device": {"tags": ["x"]}, "place": {}}
    assert holds("alert.rank >= 3 && hour > 22.0 && 'x' in device.tags", given) is True
    assert holds("alert.rank > 3", given) is False
    assert holds("place.floor > 3", given) is None
    assert holds(None, given) is True
    for bad in ("", "1 +", "nothing.x", "alert.open && matches('a', 'b')", "alert.rank + 1", "x" * 600):
        with pytest.raises(ConditionError):
            check(bad)


def test_dry_run_says_what_would_happen_when_and_what_would_not() -> None:
    world = World(
        tuple(dataclasses.replace(one, online=one.kind != "gas_meter") for one in WORLD.devices), WORLD.people
    )
    found = rehearse(load_defaults()["gas_leak"].plan, 0, FACTS, world, T0)
    assert found.starts
    assert ("valve_at_meter", "gas_meter-2 离线 · is offline") in found.troubles
    assert found.run.steps["valve_at_meter"].state == "timed_out"
    assert found.run.steps["valve_at_alarm"].state == "done"
    escalation = next(one for one in found.happenings if one.what.get("escalation"))
    assert escalation.after_ms == 60_000
    assert rehearse(load_defaults()["fire"].plan, 0, FACTS, world, T0).why_not


def test_commands_named_by_defaults_are_in_the_catalogue() -> None:
    for one in load_defaults().values():
        for name in dangerous(one.plan):
            kind, command = name.split(".")
            assert any(each.name == command and each.dangerous for each in BY_NAME[kind].commands)


def test_examples_of_the_documentation_can_be_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "plans.md").read_text(encoding="utf-8")
    examples = [one for one in re.findall(r"```yaml\n(.*?)```", text, re.S) if one.startswith("id:")]
    assert len(examples) >= 2
    for example in examples:
        found = read_text(example, ())
        assert found.plan is not None, [one.said("docs/plans.md") for one in found.findings]
    for plan_id in load_defaults():
        assert f"`{plan_id}`" in text, f"docs/plans.md says nothing of {plan_id}"


def test_a_step_state_says_when_it_is_owed() -> None:
    run = Run(run_id("c", "p", 1, "a"), T0, {"a": StepState("due", due_ms=T0 + 5), "b": StepState("done")})
    assert run.next_ms == T0 + 5
