"""Upward topics: `sc/{community}/{device}/up/{telemetry|event|status|reply}`, and what foreign formats add behind."""

from __future__ import annotations

import re
from functools import lru_cache

from services.domain.ids import CommunityId, DeviceId
from services.domain.messages import Reason, Rejected, Topic

CHANNELS = ("telemetry", "event", "status", "reply")

_ID = r"([a-z0-9][a-z0-9_-]{0,63})"
_TOPIC = re.compile(rf"sc/{_ID}/{_ID}/up/({'|'.join(CHANNELS)})(?:/(.+))?", re.DOTALL)


@lru_cache(maxsize=1 << 17)
def parse_topic(topic: str) -> Topic | Rejected:
    """The topic taken apart, or BAD_TOPIC. Cached: each device uses the same few topics for years."""
    match = _TOPIC.fullmatch(topic)
    if match is None:
        shown = topic if len(topic) <= 200 else topic[:200] + "…"
        return Rejected(
            Reason.BAD_TOPIC,
            f"{shown!r} is not sc/{{community}}/{{device}}/up/{{{'|'.join(CHANNELS)}}} "
            "(ids: small letters, digits, _ and -, at most 64)",
        )
    return Topic(CommunityId(match[1]), DeviceId(match[2]), match[3], match[4] or "")
