"""What a phone takes on site: a small true picture, made here."""

from __future__ import annotations

import random
import struct
import zlib

SIDE = 64
"""Pixels."""


def photo(seed: str) -> bytes:
    """A PNG (ISO/IEC 15948) of its own colours for each seed, so that no two are the same file."""
    tint = random.Random(seed)
    start, end = ([tint.randrange(256) for _ in range(3)] for _ in range(2))
    rows = bytearray()
    for y in range(SIDE):
        rows.append(0)
        for x in range(SIDE):
            share = (x + y) / (2 * SIDE - 2)
            rows += bytes(round(a + (b - a) * share) for a, b in zip(start, end, strict=True))
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
