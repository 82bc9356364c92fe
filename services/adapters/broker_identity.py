"""Who may speak on the broker: device secrets and service accounts in the form mosquitto keeps them."""

from __future__ import annotations

import base64
import hashlib
import secrets


def secret_hash(secret: str, *, iterations: int = 1) -> str:
    """`$7$iterations$salt$hash`, PBKDF2-SHA512. Secrets of 160 random bits gain nothing from stretching."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
