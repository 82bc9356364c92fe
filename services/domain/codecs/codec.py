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
    """Pure and total: at least one part, in the order sent; whatever the bytes are, it never raises."""
