"""What an order says of a plan's step that was not shown to be done: which devices, what to do, what came after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.domain.commands.states import STATE_LABELS, CommandState
from services.domain.devices import BY_NAME
from services.domain.plans.plan import Command, Enough, Plan, Step
from services.domain.vocabulary import Label

NAMED = 3
"""So many devices are named; of more it is said how many."""
_GOOD = frozenset({CommandState.DONE, CommandState.CONFIRMED})


def not_shown(plan: Plan, step: Step, result: Mapping[str, Any]) -> Label:
    """That the step did not come off, with each device that has not been shown to do it. Ids and states alone."""
    what = _what(step)
    open_still = _named(_left(result.get("answers") or {}, result))
    return Label(
        f"预案“{plan.title.zh}”：{what.zh}未证实（{open_still.zh or '没有下发'}），请现场确认",
        f"Plan “{plan.title.en}”: {what.en} is NOT confirmed ({open_still.en or 'nothing was sent'}); check on site",
    )


def shown_late(
    plan: Plan, step: Step, result: Mapping[str, Any], answers: Mapping[str, str], shown: Sequence[str]
) -> tuple[Label, bool]:
    """That `shown` were shown to do what the order said they had not been, when the step was over; and whether nothing
    of it is open any more. `answers`: the states by now, by device id."""
    what = _what(step)
    by_name = _named([(device, Label("", "")) for device in sorted(shown)])
    left = _left(answers, result)
    if not left or not isinstance(step.action, Command) or step.action.enough is Enough.ANY:
        words = Label(
            f"预案“{plan.title.zh}”：{what.zh}现已证实（{by_name.zh}）",
            f"Plan “{plan.title.en}”: {what.en} is confirmed by now ({by_name.en})",
        )
        return words, True
    open_still = _named(left)
    words = Label(
        f"预案“{plan.title.zh}”：{what.zh}，{by_name.zh} 现已证实；仍未证实：{open_still.zh}，请现场确认",
        f"Plan “{plan.title.en}”: {what.en} is confirmed by now for {by_name.en}, and still NOT for {open_still.en}; "
        "check on site",
    )
    return words, False


def _left(answers: Mapping[str, str], result: Mapping[str, Any]) -> list[tuple[str, Label]]:
    """Each device that has not been shown to do it, and how far it came."""
    states = [
        (device, STATE_LABELS[CommandState(state)])
        for device, state in sorted(answers.items())
        if CommandState(state) not in _GOOD
    ]
    return states + [(device, Label("无法下行", "cannot be told")) for device in result.get("unreachable") or ()]


def _named(states: Sequence[tuple[str, Label]]) -> Label:
    more = len(states) - NAMED
    zh = "、".join(f"{device} {state.zh}".strip() for device, state in states[:NAMED])
    en = ", ".join(f"{device} {state.en.lower()}".strip() for device, state in states[:NAMED])
    return Label(f"{zh} 等 {len(states)} 台", f"{en} and {more} more") if more > 0 else Label(zh, en)


def _what(step: Step) -> Label:
    if not isinstance(step.action, Command):
        return Label("播报", "the broadcast")
    name = step.action.name
    known = (command for kind in step.action.kinds for command in BY_NAME[kind].commands if command.name == name)
    label = next((command.label for command in known), Label(name, name))
    return Label(label.zh, f"“{label.en}”")
