"""The shape of a wire format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.domain.messages import Message, Rejected, Topic

Decoded = Message | Rejected


@dataclass(frozen=True, slots=True)
class Codec:
    """One wire format. `name` is what the registry keeps for a device."""

    name: str
    decode: Callable[[Topic, bytes], list[Decoded]]
    """Pure and total: at least one part, in the order sent; whatever the bytes are, it never raises.

    A part's `device` is what the format calls it. A part whose format carries no time has AT_ARRIVAL_MS, a status
    without a session number has NO_SESSION.
    """
    reply: Callable[[Topic, bytes, str | None], tuple[str, bytes] | None] | None = None
    """The format's own acknowledgement, where it defines one: (levels under the publisher's `down/reply/`, payload).

    Asked after the commit; the text says why the message was refused, None: it is kept. As total as `decode`.
    """
