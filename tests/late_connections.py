"""A connection accepted in the moment its server closes is closed too.

`asyncio` up to Python 3.12 leaves it open, unheard of, until it is collected: its transport is refused by the closed
server when it is half made (CPython issue 109564). The services run on uvloop, which has no such moment; servers that
tests run in their own process have it, and the warning would fail whichever test is run by then.
"""

from __future__ import annotations

import asyncio.selector_events
import functools
from typing import Any


def close_what_comes_too_late() -> None:
    kind: Any = asyncio.selector_events._SelectorTransport  # type: ignore[attr-defined]
    if hasattr(kind.__init__, "__wrapped__"):
        return
    made = kind.__init__

    @functools.wraps(made)
    def make(self: Any, loop: Any, sock: Any, *more: Any, **named: Any) -> None:
        try:
            made(self, loop, sock, *more, **named)
        except AssertionError:
            sock.close()
            self._sock = None
            raise

    kind.__init__ = make
