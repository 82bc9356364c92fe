"""The words of notices in Chinese and English: fixed texts with places for what may be told, and never health data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.domain.orders.states import Move
from services.domain.vocabulary import SEVERITY_LABELS, Label, Severity

MASKED_TITLE = Label("健康关怀", "Wellbeing check")
"""Stands for the title of whatever is about somebody's health."""
LISTED = 10
"""Titles named in a digest."""
_WHY_LONGEST = 120
_HOUR = 3600

_OVER = frozenset(
    {Move.RESOLVE, Move.VERIFY, Move.CLOSE, Move.CANCEL, Move.FALSE_ALARM, Move.MERGE, Move.RETURN, Move.TRANSFER}
)
_TAKEN = _OVER | {Move.ACCEPT, Move.ARRIVE, Move.PAUSE}


@dataclass(frozen=True, slots=True)
class Template:
    """`ended_by`: moves of the order after which nobody need be told of it any more. `cap`: never graver than this.

    `ack`: somebody is expected to say that they know; of critical ones nobody's saying so is taken further.
    `asked`: whoever gets it has just asked for it and is waiting: no quiet hour holds it back.
    """

    id: str
    subject: Label
    lines: tuple[Label, ...]
    expires_s: int
    ended_by: frozenset[Move] = frozenset()
    ack: bool = True
    cap: Severity = Severity.CRITICAL
    asked: bool = False


_ORDER = Label("工单 #{number} · {title}", "Order #{number} · {title}")
_PLACE = Label("地点：{place}", "Place: {place}")
_DUE = Label("期限：{due}", "Due: {due}")
_TEXT = Label("{text}", "{text}")
_WHY = Label("说明：{why}", "Note: {why}")


def _order(
    id: str,
    zh: str,
    en: str,
    *more: Label,
    expires_s: int = 12 * _HOUR,
    ended_by: frozenset[Move] = _OVER,
    ack: bool = True,
    cap: Severity = Severity.CRITICAL,
) -> Template:
    subject = Label(f"【{{severity}}】{zh}：{{title}}", f"[{{severity}}] {en}: {{title}}")
    return Template(id, subject, (_ORDER, _PLACE, *more), expires_s, ended_by, ack, cap)


_ALL = (
    _order("dispatch", "新工单", "New order", _DUE, ended_by=_TAKEN),
    _order("assign", "工单指派给您", "Order assigned to you", _DUE, ended_by=_OVER | {Move.ARRIVE}),
    _order("warn", "即将超时", "About to run out of time", _DUE, expires_s=2 * _HOUR),
    _order("breach", "已超时", "Out of time", _DUE, _WHY, expires_s=2 * _HOUR),
    _order("escalate", "工单升级，请处理", "Order escalated to you", _DUE, _WHY, ended_by=_TAKEN),
    _order("return", "工单被退回", "Order returned", _WHY, ended_by=_TAKEN | {Move.DISPATCH}),
    _order(
        "verify",
        "请核实处置结果",
        "Please verify what was done",
        expires_s=48 * _HOUR,
        ended_by=frozenset({Move.VERIFY, Move.CLOSE, Move.REOPEN, Move.CANCEL, Move.MERGE}),
        cap=Severity.MAJOR,
    ),
    _order("urge", "督办", "Wanted done now", _DUE, _WHY),
    _order("resume", "告警再次发生，暂停结束", "It called again, the pause is over", _DUE, _WHY, ended_by=_OVER),
    _order("caution", "注意，未证实", "Mind: not confirmed", _WHY, expires_s=2 * _HOUR, ended_by=_OVER),
    _order("confirmed", "现已证实", "Confirmed by now", _WHY, expires_s=2 * _HOUR, ended_by=_OVER, ack=False),
    _order("reopen", "工单重新打开", "Order opened again", _DUE, _WHY, ended_by=_TAKEN),
    _order(
        "over",
        "工单已撤销",
        "Order called off",
        expires_s=2 * _HOUR,
        ended_by=frozenset(),
        ack=False,
        cap=Severity.MAJOR,
    ),
    _order("undelivered", "通知未送达，请人工联系", "A notice did not arrive; please call", _WHY, ended_by=_TAKEN),
    Template(
        "unreached",
        Label(
            "【{severity}】通知未送达，请人工联系：{title}",
            "[{severity}] A notice did not arrive, please call: {title}",
        ),
        (_PLACE, _WHY),
        12 * _HOUR,
    ),
    Template(
        "ask",
        Label("【{severity}】请确认：{title}", "[{severity}] Please answer: {title}"),
        (
            _PLACE,
            Label(
                "家中一切正常吗？如无回复，网格员将上门查看。",
                "Is everything all right at home? Without an answer somebody comes by.",
            ),
            _DUE,
        ),
        _HOUR,
        cap=Severity.MAJOR,
    ),
    Template(
        "plan", Label("【{severity}】{title}", "[{severity}] {title}"), (Label("{text}", "{text}"), _PLACE), 6 * _HOUR
    ),
    Template(
        "approve",
        Label("【{severity}】指令待您批准", "[{severity}] A command waits for your approval"),
        (_TEXT,),
        600,
    ),
    Template(
        "review", Label("【{severity}】紧急越权待复核", "[{severity}] An emergency to review"), (_TEXT,), 24 * _HOUR
    ),
    Template(
        "command",
        Label("【{severity}】指令未成，请处置", "[{severity}] A command came to nothing"),
        (_TEXT,),
        6 * _HOUR,
    ),
    Template(
        "roster",
        Label("【{severity}】值班缺口", "[{severity}] Nobody on duty"),
        (Label("{text}", "{text}"), _PLACE),
        24 * _HOUR,
    ),
    Template(
        "report",
        Label("您的上报有进展", "News of what you reported"),
        (Label("{text}（{title}）", "{text} ({title})"),),
        72 * _HOUR,
        ack=False,
        cap=Severity.MINOR,
    ),
    _order(
        "unsatisfied",
        "上报人不满意，请回访",
        "A reporter is not satisfied; please call back",
        _WHY,
        expires_s=48 * _HOUR,
        ended_by=frozenset({Move.CALL_BACK}),
        cap=Severity.MAJOR,
    ),
    _order(
        "urged", "上报人催办", "A reporter asks when it is done", _DUE, ended_by=_OVER | {Move.URGE}, cap=Severity.MAJOR
    ),
    Template(
        "code",
        Label("验证码 {code}", "Code {code}"),
        (
            Label(
                "邻枢通知渠道验证码：{code}，15 分钟内有效。非本人操作请忽略。",
                "Your LinHub channel code is {code}, good for 15 minutes. If it was not you, do nothing.",
            ),
        ),
        900,
        ack=False,
        cap=Severity.MAJOR,
        asked=True,
    ),
)

TEMPLATES: Mapping[str, Template] = {one.id: one for one in _ALL}

CLOCK_LABELS: Mapping[str, Label] = {
    "file": Label("立案", "file"),
    "accept": Label("接单", "accept"),
    "arrive": Label("到场", "arrive"),
    "resolve": Label("处置", "resolve"),
    "verify": Label("核实", "verify"),
}


def templates_ended_by(move: str) -> list[str]:
    """Templates whose notices nobody need get any more once this move was made."""
    return sorted(one.id for one in _ALL if move in {each.value for each in one.ended_by})


def render(
    template: Template, params: Mapping[str, Any], severity: Severity, language: str, timezone: str
) -> tuple[str, str]:
    """Title and body in one language. A line with a place that nothing is known for is left out."""
    chinese = language == "zh"

    def words(label: Label) -> str:
        return label.zh if chinese else label.en

    known: dict[str, str] = {"severity": words(SEVERITY_LABELS[severity])}
    for name in ("number", "place", "why", "code"):
        if params.get(name):
            known[name] = str(params[name])[:_WHY_LONGEST]
    for name in ("title", "text"):
        text = params.get(name)
        if isinstance(text, Mapping):
            known[name] = str(text["zh" if chinese else "en"])
    if params.get("due"):
        due = datetime.fromisoformat(params["due"]).astimezone(ZoneInfo(timezone))
        clock = CLOCK_LABELS.get(str(params.get("clock")))
        known["due"] = f"{words(clock)} {due:%m-%d %H:%M}" if clock else f"{due:%m-%d %H:%M}"
    filled = [text for line in template.lines if (text := _filled(words(line), known)) is not None]
    return _filled(words(template.subject), known) or "", "\n".join(filled)


def _filled(text: str, known: Mapping[str, str]) -> str | None:
    try:
        return text.format_map(known)
    except KeyError:
        return None


def digest(titles: list[str], language: str) -> tuple[str, str]:
    """One message in place of many: how many, and what the first of them are about."""
    chinese = language == "zh"
    count = len(titles)
    more = count - LISTED
    lines = [f"{place}. {title}" for place, title in enumerate(titles[:LISTED], 1)]
    if more > 0:
        lines.append(f"…… 另有 {more} 条" if chinese else f"… and {more} more")
    return (f"您有 {count} 条通知" if chinese else f"{count} notices for you"), "\n".join(lines)
