"""What an answer says, without what is another each time: an id or a time may hold any few digits by chance."""

from __future__ import annotations

import re

_BY_CHANCE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # ids
    r"|[0-9a-f]{16,}"  # digests, tokens
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?"  # times
    r"|datetime\([^)]*\)"  # times as Python shows them
    r"|\b\d{13,16}\b"  # times in ms and µs
    r"|[\"']left_s[\"']: ?-?\d+(?:\.\d+)?",  # what is left of a deadline
)


def lasting(text: str) -> str:
    return _BY_CHANCE.sub("…", text)
