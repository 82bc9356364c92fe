"""The words of a work order (工单): its states and the moves between them."""

from __future__ import annotations

from enum import StrEnum


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
