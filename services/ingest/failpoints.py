"""Named places where a test may have this process die, freeze or fail: `LINHUB_FAILPOINT=after_commit:kill:3`.

The third part says at which passing (1 when left out); `raise` fails at every so many passings, the others act once.
Where nothing is armed, `reach` compares one variable a batch and `wrap` gives back the function it was given.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TypeVar

import structlog

log = structlog.get_logger(__name__)

F = TypeVar("F", bound=Callable[..., object])

POINTS = {
    "received": "a batch was taken from the broker's queue",
    "plain": "some messages are about to be read the short way",
    "decode": "a message is about to be decoded; nothing goes the short way",
    "check": "a decoded part is about to be checked; nothing goes the short way",
    "store": "a transaction has begun",
    "before_commit": "everything of a batch is written and not committed",
    "after_commit": "a batch is committed and nobody was told",
    "ack": "the application acknowledgements of a batch are about to be made",
    "before_puback": "devices were told, the broker was not",
    "after_puback": "the broker was told",
}
ACTIONS = ("kill", "freeze", "raise")


class FailpointReached(Exception):
    """What an armed `raise` raises: a fault of ours that nobody foresaw."""


class _Armed:
    def __init__(self, point: str, action: str, passing: int) -> None:
        self.point = point
        self._action = action
        self._passing = passing
        self._passed = 0

    def pass_by(self) -> None:
        self._passed += 1
        if self._action == "raise":
            if self._passed % self._passing == 0:
                raise FailpointReached(self.point)
        elif self._passed == self._passing:
            os.kill(os.getpid(), signal.SIGKILL if self._action == "kill" else signal.SIGSTOP)


_armed: _Armed | None = None


def parse(text: str) -> tuple[str, str, int]:
    """(point, action, passing) of `point:action[:passing]`. Raises ValueError."""
    point, _, rest = text.partition(":")
    action, _, passing = rest.partition(":")
    if point not in POINTS or action not in ACTIONS or not (passing or "1").isdigit() or passing == "0":
        raise ValueError(
            f"expected point:action[:passing] of {', '.join(POINTS)} and {', '.join(ACTIONS)}, got {text!r}"
        )
    return point, action, int(passing or 1)


def arm(text: str) -> None:
    """From now on; an empty text disarms."""
    global _armed
    _armed = _Armed(*parse(text)) if text else None
    if _armed is not None:
        log.error("failpoint_armed", failpoint=text, doing="this process will fail on purpose; for tests alone")


def reach(point: str) -> None:
    """This place has been reached; for what happens once a batch."""
    if _armed is not None and _armed.point == point:
        _armed.pass_by()


def wrap(point: str, function: F) -> F:
    """For what happens once a message: `function` itself, unless this place is armed when the lane is made."""
    if _armed is None or _armed.point != point:
        return function
    armed = _armed

    def passing_by(*arguments: object) -> object:
        armed.pass_by()
        return function(*arguments)

    return passing_by  # type: ignore[return-value]


def armed_at(*points: str) -> bool:
    return _armed is not None and _armed.point in points
