"""A dry run: the same core, played forward through supposed answers, with everything it would do and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.domain.plans import conditions
from services.domain.plans.core import (
    Answer,
    Doing,
    RaiseOrder,
    Run,
    SendBroadcast,
    SendCommand,
    SendNotice,
    TellOrder,
    advance,
    begin,
    run_id,
)
from services.domain.plans.facts import Facts, World, fits, variables
from services.domain.plans.plan import Plan

ANSWER_MS = 1000
"""A device that is there is supposed to answer within so long."""
_MOST_TURNS = 1000


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that would be done, so long after the alert was raised."""

    after_ms: int
    step: str
    what: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """`starts` False: `why_not` says what keeps the plan from this alert; it is played through all the same.

    `troubles`: what would not be possible, as (step, why).
    """

    starts: bool
    why_not: str
    happenings: tuple[Happening, ...]
    troubles: tuple[tuple[str, str], ...]
    run: Run


def rehearse(plan: Plan, version: int, facts: Facts, world: World, now_ms: int) -> Rehearsal:
    """Devices that are offline never answer; all others do what they are told after a second."""
    run = begin(plan, run_id(facts.community_id, plan.id, version, facts.alert_id), now_ms)
    happenings: list[Happening] = []
    troubles: dict[tuple[str, str], None] = {}
    asked: dict[str, list[tuple[SendCommand, int]]] = {}
    at = now_ms
    for _ in range(_MOST_TURNS):
        answers = {step: [_answer(command, sent, at) for command, sent in sent_to] for step, sent_to in asked.items()}
        advanced = advance(plan, run, facts, world, answers, at)
        run = advanced.run
        for doing in advanced.doings:
            happenings.append(Happening(at - now_ms, doing.step, _told(doing)))
            if isinstance(doing, SendCommand):
                asked.setdefault(doing.step, []).append((doing, at))
                if doing.device.online is not True:
                    troubles[doing.step, f"{doing.device.id} 离线 · is offline"] = None
        if run.state != "running":
            break
        coming = [sent + ANSWER_MS for sent_to in asked.values() for _, sent in sent_to if sent + ANSWER_MS > at]
        coming += [ms for ms in [_soonest(run, at)] if ms is not None]
        if not coming:
            break
        at = min(coming)
    for name, one in run.steps.items():
        if one.state in ("failed", "timed_out") and "why" in one.result:
            troubles[name, str(one.result["why"])] = None
        for device in one.result.get("unreachable", ()):
            troubles[name, f"{device} 的协议不支持下行命令 · speaks a format without a way down"] = None
    why_not = _why_not(plan, facts, world, now_ms)
    return Rehearsal(not why_not, why_not, tuple(happenings), tuple(troubles), run)


def _soonest(run: Run, after_ms: int) -> int | None:
    times = [
        ms for one in run.steps.values() for ms in (one.due_ms, one.expires_ms) if ms is not None and ms > after_ms
    ]
    return min(times, default=None)


def _answer(command: SendCommand, sent_ms: int, now_ms: int) -> Answer:
    answered = command.device.online is True and now_ms >= sent_ms + ANSWER_MS
    return Answer(command.device.id, "done" if answered else "sent")


def _why_not(plan: Plan, facts: Facts, world: World, now_ms: int) -> str:
    if plan.mode != "live":
        return "预案已停用 · the plan is off"
    if not fits(plan, facts):
        return "规则、级别或范围不符 · rule, severity or scope do not fit"
    held = conditions.holds(plan.condition, variables(facts, world, now_ms))
    if held is None:
        return f"条件无法判断 · the condition cannot be told: {plan.condition}"
    return "" if held else f"条件不成立 · the condition does not hold: {plan.condition}"


def _told(doing: Doing) -> dict[str, Any]:
    match doing:
        case SendCommand():
            return {
                "command": doing.name,
                "device": doing.device.id,
                "place": doing.device.place,
                "params": dict(doing.params),
                "dangerous": doing.dangerous,
                "online": doing.device.online,
            }
        case SendNotice():
            return {
                "notice": {"zh": doing.text.zh, "en": doing.text.en},
                "people": [one.id for one in doing.people],
                "escalation": doing.escalation,
            }
        case SendBroadcast():
            return {
                "broadcast": {"zh": doing.text.zh, "en": doing.text.en},
                "within": doing.within.value,
                "devices": list(doing.devices),
            }
        case TellOrder():
            return {"note": {"zh": doing.text.zh, "en": doing.text.en}}
        case RaiseOrder():
            return {"order": doing.team.value, "severity": doing.severity.value}
