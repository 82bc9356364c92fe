"""Signatures of Standard Webhooks: `v1` by a shared secret, `v1a` by a key pair whose public half the receiver has."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Sort = Literal["hmac", "ed25519"]
_SECRET, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_BYTES = 32


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`secret` signs; `public` is there for a key pair alone."""

    sort: Sort
    secret: str
    public: str | None = None

    def signature(self, message: bytes) -> str:
        raw = base64.b64decode(self.secret.removeprefix(_SECRET).removeprefix(_PRIVATE))
        if self.sort == "hmac":
            return f"v1,{_text(hmac.new(raw, message, hashlib.sha256).digest())}"
        return f"v1a,{_text(Ed25519PrivateKey.from_private_bytes(raw).sign(message))}"


def new_key(sort: Sort) -> SigningKey:
    if sort == "hmac":
        return SigningKey(sort, _SECRET + _text(secrets.token_bytes(_BYTES)))
    pair = Ed25519PrivateKey.generate()
    private = pair.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = pair.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SigningKey(sort, _PRIVATE + _text(private), _PUBLIC + _text(public))


def signed(id: str, at: datetime, body: bytes, keys: Sequence[SigningKey]) -> dict[str, str]:
    """The three headers. `at`: of this attempt, not of the event; receivers refuse what is old. One signature a key."""
    stamp = str(int(at.timestamp()))
    message = b".".join((id.encode(), stamp.encode(), body))
    return {
        "webhook-id": id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(key.signature(message) for key in keys),
    }


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
