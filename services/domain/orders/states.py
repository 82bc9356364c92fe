"""The words of a work order (工单): its states and the moves between them."""

from __future__ import annotations

from enum import StrEnum

from services.domain.vocabulary import Label


class OrderState(StrEnum):
    CREATED = "created"
    DISPATCHED = "dispatched"
    ACCEPTED = "accepted"
    ARRIVED = "arrived"
    RESOLVED = "resolved"
    VERIFIED = "verified"
    CLOSED = "closed"
    PAUSED = "paused"
    RETURNED = "returned"
    CANCELLED = "cancelled"
    FALSE_ALARM = "false_alarm"
    MERGED = "merged"


class Move(StrEnum):
    CREATE = "create"
    DISPATCH = "dispatch"
    ACCEPT = "accept"
    ARRIVE = "arrive"
    RESOLVE = "resolve"
    VERIFY = "verify"
    CLOSE = "close"
    RETURN = "return"
    TRANSFER = "transfer"
    PAUSE = "pause"
    RESUME = "resume"
    REOPEN = "reopen"
    CANCEL = "cancel"
    FALSE_ALARM = "false_alarm"
    MERGE = "merge"
    ESCALATE = "escalate"
    REPEAT = "repeat"
    """The alert came again; recorded, the state stays."""
    ASSIGN = "assign"
    """A person is named for it; the state stays."""
    WARN = "warn"
    """A clock is amber: it is about to run out."""
    BREACH = "breach"
    """A clock has run out."""
    URGE = "urge"
    """督办: whoever watches over it wants it done now."""
    EVIDENCE = "evidence"
    """A photo, clip, voice note or signature is kept with it."""
    NOTE = "note"
    CALL_BACK = "call_back"
    """回访: whoever reported it was asked."""
    RATE = "rate"
    """评价: whoever reported it says how it was done, 1 to 5."""


ENDED = frozenset({OrderState.CLOSED, OrderState.CANCELLED, OrderState.FALSE_ALARM, OrderState.MERGED})

STATE_LABELS: dict[OrderState, Label] = {
    OrderState.CREATED: Label("待立案", "Created"),
    OrderState.DISPATCHED: Label("已派单", "Dispatched"),
    OrderState.ACCEPTED: Label("已接单", "Accepted"),
    OrderState.ARRIVED: Label("已到场", "On site"),
    OrderState.RESOLVED: Label("已处置", "Resolved"),
    OrderState.VERIFIED: Label("已核查", "Verified"),
    OrderState.CLOSED: Label("已结案", "Closed"),
    OrderState.PAUSED: Label("已暂停", "Paused"),
    OrderState.RETURNED: Label("已退回", "Returned"),
    OrderState.CANCELLED: Label("已取消", "Cancelled"),
    OrderState.FALSE_ALARM: Label("误报", "False alarm"),
    OrderState.MERGED: Label("已合并", "Merged"),
}

MOVE_LABELS: dict[Move, Label] = {
    Move.CREATE: Label("开单", "Open"),
    Move.DISPATCH: Label("派单", "Dispatch"),
    Move.ACCEPT: Label("接单", "Accept"),
    Move.ARRIVE: Label("到场", "Arrive"),
    Move.RESOLVE: Label("处置完成", "Resolve"),
    Move.VERIFY: Label("核查", "Verify"),
    Move.CLOSE: Label("结案", "Close"),
    Move.RETURN: Label("退回", "Return"),
    Move.TRANSFER: Label("转派", "Transfer"),
    Move.PAUSE: Label("暂停", "Pause"),
    Move.RESUME: Label("恢复", "Resume"),
    Move.REOPEN: Label("重开", "Reopen"),
    Move.CANCEL: Label("取消", "Cancel"),
    Move.FALSE_ALARM: Label("判为误报", "False alarm"),
    Move.MERGE: Label("合并", "Merge"),
    Move.ESCALATE: Label("升级", "Escalate"),
    Move.REPEAT: Label("重复告警", "Repeat"),
    Move.ASSIGN: Label("指派", "Assign"),
    Move.WARN: Label("预警", "Warn"),
    Move.BREACH: Label("超时", "Breach"),
    Move.URGE: Label("督办", "Urge"),
    Move.EVIDENCE: Label("添加证据", "Add evidence"),
    Move.NOTE: Label("备注", "Note"),
    Move.CALL_BACK: Label("回访", "Call back"),
    Move.RATE: Label("评价", "Rate"),
}
