"""Meter frames in a payload: hex text or raw bytes, preambles, packed decimal digits."""

from __future__ import annotations

import re

from services.domain.codecs.common.parts import Bad

_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}[\s,]*)+", re.DOTALL)
MAX_FRAME_BYTES = 64 * 1024


def octets(payload: bytes) -> bytes:
    """The bytes themselves; a DTU that writes them as hex text is understood as well."""
    if not payload:
        raise Bad("the message is empty")
    if len(payload) > MAX_FRAME_BYTES:
        raise Bad(f"{len(payload)} bytes are no meter frame; a DTU sends a few frames of at most 300 bytes at a time")
    stripped = payload.strip()
    # A frame itself starts with 68H, FEH or 40H; the text "68" starts with 36H.
    if len(stripped) >= 4 and _HEX.fullmatch(stripped):
        return bytes.fromhex(re.sub(rb"[\s,]", b"", stripped).decode())
    return payload


def bcd(data: bytes) -> int | None:
    """The decimal number in packed digits, low byte first; None where a digit is none (FFH: not measured)."""
    digits = data[::-1].hex()
    return int(digits) if digits.isascii() and digits.isdigit() else None


def digits(data: bytes) -> str:
    """An address as it is printed on the meter: high byte first."""
    return data[::-1].hex().upper()


def checksum(data: bytes) -> int:
    return sum(data) & 0xFF
