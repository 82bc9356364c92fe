"""Codes that hang at places (场所码): an id with the installation's signature, so that a made-up one is refused."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from uuid import UUID

PREFIX = "LINHUB:"
"""Upper case throughout: a QR symbol holds such text in fewer modules."""
_MAC_BYTES = 14
_SHAPE = re.compile(r"^LINHUB:([A-Z2-7]{48})$")


class Signer:
    """Makes and checks codes. Only the id lies in the database: whoever reads that still cannot make a code."""

    def __init__(self, key: str) -> None:
        self._key = hmac.digest(key.encode(), b"linhub place codes 1", hashlib.sha256)

    def code(self, id: UUID) -> str:
        """What hangs on the wall: 55 characters."""
        return PREFIX + base64.b32encode(id.bytes + self._mac(id)).decode()

    def read(self, text: str) -> UUID | None:
        """The id behind a scanned code; None for one this installation never made."""
        shape = _SHAPE.match(text.strip().upper())
        if shape is None:
            return None
        try:
            raw = base64.b32decode(shape[1])
        except binascii.Error:
            return None
        id = UUID(bytes=raw[:16])
        return id if hmac.compare_digest(raw[16:], self._mac(id)) else None

    def _mac(self, id: UUID) -> bytes:
        return hmac.digest(self._key, id.bytes, hashlib.sha256)[:_MAC_BYTES]
