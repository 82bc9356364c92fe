"""What an order says of a step of a plan that was not shown to be done: which devices, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.domain.commands.states import STATE_LABELS, CommandState
from services.domain.devices import BY_NAME
from services.domain.plans.plan import Command, Plan, Step
from services.domain.vocabulary import Label

NAMED = 3
"""So many devices are named; of more it is said how many."""
_GOOD = frozenset({CommandState.DONE, CommandState.CONFIRMED})


def not_shown(plan: Plan, step: Step, result: Mapping[str, Any]) -> Label:
    """That the step did not come off, with each device that has not been shown to do it. Ids and states alone."""
    what = _what(step)
    answers: dict[str, str] = dict(result.get("answers") or {})
    states: list[tuple[str, Label]] = [
        (device, STATE_LABELS[CommandState(state)])
        for device, state in sorted(answers.items())
        if CommandState(state) not in _GOOD
    ]
    states += [(device, Label("无法下行", "cannot be told")) for device in result.get("unreachable") or ()]
    more = len(states) - NAMED
    zh = "、".join(f"{device} {state.zh}" for device, state in states[:NAMED]) or "没有下发"
    en = ", ".join(f"{device} {state.en.lower()}" for device, state in states[:NAMED]) or "nothing was sent"
    if more > 0:
        zh, en = f"{zh} 等 {len(states)} 台", f"{en} and {more} more"
    return Label(
        f"预案“{plan.title.zh}”：{what.zh}未证实（{zh}），请现场确认",
        f"Plan “{plan.title.en}”: {what.en} is NOT confirmed ({en}); check on site",
    )


def _what(step: Step) -> Label:
    if not isinstance(step.action, Command):
        return Label("播报", "the broadcast")
    name = step.action.name
    known = (command for kind in step.action.kinds for command in BY_NAME[kind].commands if command.name == name)
    label = next((command.label for command in known), Label(name, name))
    return Label(label.zh, f"“{label.en}”")
