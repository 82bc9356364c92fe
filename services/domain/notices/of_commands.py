"""What people are told of commands to devices: that one waits for them, that one came to nothing, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from services.domain.devices import CATALOGUE
from services.domain.vocabulary import Label, Severity


class To(Enum):
    DESK = "desk"
    """And whoever asked for it."""
    SECOND = "second"
    """Who may approve and review, save for whoever asked."""


@dataclass(frozen=True, slots=True)
class Said:
    """`once`: what this is said of; many commands of one batch are said once."""

    to: To
    template: str
    severity: Severity
    text: Label
    once: str


_APPROVE = Label(
    "{what}等待您批准，十分钟内有效。请在“指令”页核对地点与后果后批准或拒绝。",
    "{what} waits for your approval, for ten minutes. See place and consequence on the commands page, then decide.",
)
_EMERGENCY = Label(
    "{by} 未经批准紧急下发了{what}。请在一天内复核是否正当。",
    "{by} sent {what} as an emergency, before anybody approved it. Review within a day whether it was justified.",
)
_OVERDUE = Label(
    "{by} 紧急下发的{what}已超过一天无人复核，请立即复核。",
    "{what}, sent by {by} as an emergency, has not been reviewed for more than a day. Review it now.",
)
_UNAPPROVED = Label(
    "{what}无人批准，已过期，未下发，设备没有动作。如仍需要：找到第二人后重新提出；警报和播报可紧急越权，事后复核。",
    "Nobody approved {what} in time: it expired and was NOT sent, nothing happened. If it is still needed, find a "
    "second person and ask again; sirens and loudspeakers may go out as an emergency, reviewed afterwards.",
)
_UNSENT = Label(
    "{what}未能送出，已过期，设备没有动作。请派人到现场处置，或恢复连接后重新提出。",
    "{what} could not be sent and expired; the device did nothing. Send somebody, or ask again once it is back.",
)
_UNANSWERED = Label(
    "{what}已下发，设备没有答复，已过期：是否执行不明。请到现场确认。",
    "{what} was sent and expired without an answer: nobody knows whether it was carried out. Check on site.",
)
_UNCONFIRMED = Label(
    "{what}：设备称已执行，但读数没有证实。请按未执行对待，到现场确认。",
    "{what}: the device says that it is done, and its readings do not show it. Take it as not done; check on site.",
)
_REJECTED = Label(
    "{what}被第二人拒绝，未下发，设备没有动作。理由见“指令”页。",
    "The second person refused {what}: it was NOT sent, nothing happened. The commands page says why.",
)
_WITHDRAWN = Label(
    "{what}已获批准，但申请人或批准人此后不再有权限，因而未下发，设备没有动作。如仍需要，请由有权限的两人重新提出并批准。",
    "{what} was approved, and whoever asked or approved may not do so any more: it was NOT sent, nothing happened. If "
    "it is still needed, two people who may have to ask and approve again.",
)
_FAILED = Label(
    "{what}执行失败。请到现场处置。", "{what} failed: the device says that it could not. See to it on site."
)


def said_of(event_type: str, data: Mapping[str, Any]) -> Said | None:
    """None: nobody need be told by a notice. A plan speaks for its own commands: to the desk and in the order."""
    once = str(data.get("batch_id") or data.get("command_id"))
    match event_type:
        case "command.requested" if data.get("dangerous") and data.get("state") == "awaiting":
            return Said(To.SECOND, "approve", Severity.CRITICAL, _filled(_APPROVE, data), once)
        case "command.emergency":
            return Said(To.SECOND, "review", Severity.MAJOR, _filled(_EMERGENCY, data), once)
        case "command.review_overdue":
            return Said(To.SECOND, "review", Severity.MAJOR, _filled(_OVERDUE, data), f"{once}:overdue")
        case "command.expired" | "command.unconfirmed" | "command.failed" | "command.refused":
            if not data.get("dangerous") or data.get("run_id"):
                return None
            text = _end(event_type.partition(".")[2], data)
            return Said(To.DESK, "command", Severity.CRITICAL, _filled(text, data), f"{once}:{event_type}")
    return None


def _end(state: str, data: Mapping[str, Any]) -> Label:
    if state == "unconfirmed":
        return _UNCONFIRMED
    if state == "failed":
        return _FAILED
    if state == "refused":
        return _WITHDRAWN if data.get("approved") or data.get("emergency") else _REJECTED
    if not data.get("approved") and not data.get("emergency"):
        return _UNAPPROVED
    return _UNANSWERED if data.get("sends") else _UNSENT


def _filled(text: Label, data: Mapping[str, Any]) -> Label:
    name = str(data["name"])
    commands = (one for kind in CATALOGUE for one in kind.commands if one.name == name)
    label = next((one.label for one in commands), Label(name, name))
    where = "" if data.get("batch_id") or not data.get("device_id") else str(data["device_id"])
    zh, en = f"“{label.zh}”", f"“{label.en}”"
    if data.get("batch_id"):
        zh, en = f"批量指令{zh}", f"the batch {en}"
    elif where:
        zh, en = f"{where} 的{zh}", f"{en} at {where}"
    by = str(data.get("by") or "")
    english = text.en.format(what=en, by=by)
    return Label(text.zh.format(what=zh, by=by), english[:1].upper() + english[1:])
