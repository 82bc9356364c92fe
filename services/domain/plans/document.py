"""Plans as people write them: plain values into a plan, or everything that is wrong with it at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from services.domain.devices import BY_NAME
from services.domain.devices.kind import CommandType
from services.domain.plans import conditions
from services.domain.plans.facts import PLACE, PLACES
from services.domain.plans.plan import Broadcast, Command, Notice, Order, Plan, Step, Trigger, Wait
from services.domain.rules.faults import Fault, Faults, Path
from services.domain.rules.fields import BAD, read, read_parts
from services.domain.rules.spans import read_span
from services.domain.vocabulary import Label

PLAN_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
ACTIONS: Mapping[str, type] = {
    "command": Command, "broadcast": Broadcast, "order": Order, "notice": Notice, "wait": Wait
}  # fmt: skip
MOST_STEPS = 50
LONGEST_TIMEOUT_S = 24 * 3600.0
IF = "if"


@dataclass(frozen=True, slots=True)
class Document:
    """`plan` None: there are faults, and nothing of it is to be used."""

    plan: Plan | None
    faults: tuple[Fault, ...]


def read_plan(given: Any, known: Iterable[tuple[str, str]] | None = None) -> Document:
    """`known`: (rule id, family) of the rules there are; a pattern must name one of them. None: not checked."""
    faults = Faults([])
    parts = read_parts(
        Plan, given, (), faults, besides=frozenset({IF, "steps"}), without=frozenset({"condition", "steps"})
    )
    if not isinstance(given, Mapping):
        return Document(None, tuple(faults.found))
    _check_head(parts, given, faults)
    condition = _condition(given, (), faults)
    steps = _steps(given, faults)
    trigger = parts.get("trigger")
    if isinstance(trigger, Trigger):
        _check_trigger(trigger, known, faults)
    if faults.found:
        return Document(None, tuple(faults.found))
    return Document(Plan(**{**parts, "steps": tuple(steps), "condition": condition}), ())


def _check_head(parts: Mapping[str, Any], given: Mapping[str, Any], faults: Faults) -> None:
    if "id" in parts and not PLAN_ID.fullmatch(parts["id"]):
        faults.add(
            ("id",), "id 由小写字母、数字与 _ 组成，以字母开头", "an id is small letters, digits and _, a letter first"
        )
    if parts.get("mode", "live") not in ("live", "off"):
        faults.unknown(("mode",), Label("取值", "value"), given["mode"], ("live", "off"))


def _check_trigger(trigger: Trigger, known: Iterable[tuple[str, str]] | None, faults: Faults) -> None:
    if not trigger.alerts:
        faults.add(("trigger", "alerts"), "至少写一个规则或规则族", "name at least one rule or family")
    rules = None if known is None else list(known)
    for index, pattern in enumerate(trigger.alerts if rules is not None else ()):
        assert rules is not None  # noqa: S101
        if not any(fnmatchcase(rule, pattern) or fnmatchcase(family, pattern) for rule, family in rules):
            names = sorted({name for pair in rules for name in pair})
            faults.unknown(("trigger", "alerts", index), Label("规则", "rule or family"), pattern, names)


def _steps(given: Mapping[str, Any], faults: Faults) -> list[Step]:
    listed = given.get("steps")
    if not isinstance(listed, list) or not listed:
        faults.add(("steps",) if "steps" in given else (), "应为步骤列表 steps", "steps: expected a list of steps")
        return []
    if len(listed) > MOST_STEPS:
        faults.add(("steps",), f"超过 {MOST_STEPS} 步", f"more than {MOST_STEPS} steps")
        return []
    found: list[Step] = []
    for index, one in enumerate(listed):
        step = _step(one, ("steps", index), faults)
        if step is not None:
            found.append(step)
    _check_order(listed, faults)
    return found


def _step(given: Any, path: Path, faults: Faults) -> Step | None:
    before = len(faults.found)
    parts = read_parts(
        Step, given, path, faults, besides=frozenset({IF, *ACTIONS}), without=frozenset({"condition", "action"})
    )
    if not isinstance(given, Mapping):
        return None
    if "id" in parts and not PLAN_ID.fullmatch(parts["id"]):
        faults.add((*path, "id"), "id 由小写字母、数字与 _ 组成", "an id is small letters, digits and _")
    if not 1 <= parts.get("timeout_s", 60) <= LONGEST_TIMEOUT_S:
        faults.add((*path, "timeout"), "timeout 须在 1s 到 24h 之间", "a timeout lies between 1s and 24h")
    condition = _condition(given, path, faults)
    words = [word for word in ACTIONS if word in given]
    if len(words) != 1:
        said = ", ".join(ACTIONS)
        faults.add(path, f"每步恰有一个动作：{said}", f"a step has exactly one action: {said}")
        return None
    action = _action(words[0], given[words[0]], (*path, words[0]), faults)
    if len(faults.found) > before:
        return None
    return Step(**{**parts, "action": action, "condition": condition})


def _action(word: str, given: Any, path: Path, faults: Faults) -> Any:
    if word == "wait":
        seconds = read_span(given)
        if seconds is None or not 0 < seconds <= LONGEST_TIMEOUT_S:
            faults.add(path, "wait 为 1s 到 24h 的时长", "wait is a span up to 24h: 30s, 5m")
            return BAD
        return Wait(seconds)
    if word == "command":
        return _command(given, path, faults)
    action = read(ACTIONS[word], given, path, faults)
    if action is BAD:
        return BAD
    if isinstance(action, Notice) and not (action.people or action.roles or action.teams):
        faults.add(path, "写明 people、roles 或 teams", "say who: people, roles or teams")
    text = action.text
    for language, one in (("zh", text.zh), ("en", text.en)) if text is not None else ():
        if not one.strip():
            faults.add((*path, "text", language), "缺少文字", "the text is empty")
        _check_places(one, (*path, "text", language), faults)
    return action


def _command(given: Any, path: Path, faults: Faults) -> Any:
    before = len(faults.found)
    parts = read_parts(Command, given, path, faults, besides=frozenset({"params"}), without=frozenset({"params"}))
    if not isinstance(given, Mapping):
        return BAD
    params = given.get("params") or {}
    if not isinstance(params, Mapping):
        faults.add((*path, "params"), "应为“名称: 值”", "expected names with values")
        return BAD
    for name, one in params.items():
        if not isinstance(one, str | int | float | bool):
            faults.add((*path, "params", name), "应为文字或数", "expected text or a number")
        elif isinstance(one, str):
            _check_places(one, (*path, "params", name), faults)
    if len(faults.found) == before:
        _check_catalogue(parts, params, path, faults)
    return Command(**{**parts, "params": dict(params)}) if len(faults.found) == before else BAD


def _check_catalogue(parts: Mapping[str, Any], params: Mapping[str, Any], path: Path, faults: Faults) -> None:
    """Only what the catalogue lets each of these kinds be told."""
    if not parts["kinds"]:
        faults.add((*path, "kinds"), "写明设备类型", "say which kinds of devices are meant")
    able: list[CommandType] = []
    for index, name in enumerate(parts["kinds"]):
        kind = BY_NAME.get(name)
        if kind is None:
            faults.unknown((*path, "kinds", index), Label("设备类型", "device kind"), name, BY_NAME)
            continue
        own = [one for one in kind.commands if one.name == parts["name"]]
        if not own:
            what = Label(f"{kind.label.zh}的命令", f"command of {kind.name}")
            faults.unknown((*path, "name"), what, parts["name"], [one.name for one in kind.commands])
        able += own
    for name in params if able else ():
        if not all(name in one.params for one in able):
            known = sorted({each for one in able for each in one.params})
            faults.unknown((*path, "params", name), Label("参数", "parameter"), name, known)


def _check_places(text: str, path: Path, faults: Faults) -> None:
    for name in PLACE.findall(text):
        if name not in PLACES:
            faults.unknown(path, Label("占位", "place"), f"{{{name}}}", [f"{{{one}}}" for one in PLACES])


def _condition(given: Mapping[str, Any], path: Path, faults: Faults) -> str | None:
    if IF not in given:
        return None
    source = given[IF]
    if not isinstance(source, str):
        faults.add((*path, IF), "条件应为文字", "a condition is text")
        return None
    try:
        conditions.check(source)
    except conditions.ConditionError as error:
        zh, _, en = str(error).partition(" · ")
        faults.add((*path, IF), zh, en or zh)
        return None
    return source


def _check_order(listed: list[Any], faults: Faults) -> None:
    """Ids are there once, needs name steps, and nothing waits for itself."""
    ids: dict[str, int] = {}
    needs: dict[str, list[str]] = {}
    for index, one in enumerate(listed):
        name = one.get("id") if isinstance(one, Mapping) else None
        if not isinstance(name, str):
            continue
        if name in ids:
            faults.add(
                ("steps", index, "id"), f"{name} 已用于 steps[{ids[name]}]", f"{name} is steps[{ids[name]}] already"
            )
        ids.setdefault(name, index)
        wanted = one.get("needs", [])
        needs[name] = [each for each in wanted if isinstance(each, str)] if isinstance(wanted, list) else []
    for name, wanted in needs.items():
        for place, each in enumerate(wanted):
            if each not in ids:
                faults.unknown(("steps", ids[name], "needs", place), Label("步骤", "step"), each, ids)
    for name in _circling(needs):
        faults.add(("steps", ids[name], "needs"), f"步骤 {name} 在等待自己", f"step {name} waits for itself")


def _circling(needs: Mapping[str, list[str]]) -> list[str]:
    """Steps that would have to end before they begin."""
    left = {name: {one for one in wanted if one in needs} for name, wanted in needs.items()}
    while free := [name for name, wanted in left.items() if not wanted]:
        for name in free:
            del left[name]
        for wanted in left.values():
            wanted.difference_update(free)
    return list(left)


def dangerous(plan: Plan) -> tuple[str, ...]:
    """`kind.command` of every dangerous command that the plan names: what its approval answers for."""
    found: dict[str, None] = {}
    for step in plan.steps:
        for kind, name in _told(step):
            if any(one.name == name and one.dangerous for one in BY_NAME[kind].commands):
                found[f"{kind}.{name}"] = None
    return tuple(found)


def _told(step: Step) -> Iterable[tuple[str, str]]:
    action = step.action
    if isinstance(action, Command):
        return [(kind, action.name) for kind in action.kinds]
    if isinstance(action, Broadcast):
        return [("loudspeaker", "speak"), *([("siren", "siren_on")] if action.siren_s is not None else [])]
    return []
