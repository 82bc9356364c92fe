"""Tokens: short-lived access tokens (JWT), and refresh tokens that are random, rotated and known again when stolen."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import jwt

ALGORITHM = "HS256"
ISSUER = "linhub"
AUDIENCE = "linhub-api"
TYPE = "at+jwt"
SKEW_S = 30
"""Clocks of two machines may differ by so much before one refuses what the other has issued."""
MOST_ACCESS_S = 900 - SKEW_S


@dataclass(frozen=True, slots=True)
class AccessClaims:
    user_id: str
    session_id: str
    generation: int
    """Which renewal of the session it came with; see `app_session.generation`."""
    expires_at: datetime


def new_session_id() -> str:
    return secrets.token_urlsafe(12)


class Tokens:
    """Signs with the first key and believes any of them, so that a key can be replaced without logging anybody out."""

    def __init__(self, keys: tuple[str, ...], access_s: float) -> None:
        self._keys = keys
        self._access = timedelta(seconds=access_s)

    def access(self, user_id: str, session_id: str, generation: int, until: datetime) -> tuple[str, datetime]:
        """The token and its end, which is never past the session's (`until`)."""
        now = datetime.now(UTC)
        expires_at = min(now + self._access, until)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": session_id,
            "gen": generation,
            "iat": now,
            "exp": expires_at,
        }
        return jwt.encode(claims, self._keys[0], algorithm=ALGORITHM, headers={"typ": TYPE}), expires_at

    def read_access(self, token: str) -> AccessClaims | None:
        """None for anything that is not an access token of ours, or is over."""
        for key in self._keys:
            try:
                whole = jwt.decode_complete(
                    token,
                    key,
                    algorithms=[ALGORITHM],
                    issuer=ISSUER,
                    audience=AUDIENCE,
                    leeway=SKEW_S,
                    # A machine whose clock is ahead issues tokens from the future; its signature is as good.
                    options={"require": ["sub", "sid", "gen", "exp"], "verify_iat": False},
                )
            except jwt.InvalidTokenError:
                continue
            claims = whole["payload"]
            named = isinstance(claims["sub"], str) and isinstance(claims["sid"], str) and isinstance(claims["gen"], int)
            if not named or whole["header"].get("typ") != TYPE:
                return None
            return AccessClaims(claims["sub"], claims["sid"], claims["gen"], datetime.fromtimestamp(claims["exp"], UTC))
        return None

    def refresh(self, session_id: str) -> str:
        """`{session}.{random}.{seal}`. The seal tells a token that was once given out from one that never was: only
        the first betrays a thief when it comes a second time."""
        body = f"{session_id}.{secrets.token_urlsafe(32)}"
        return f"{body}.{_seal(self._keys[0], body)}"

    def read_refresh(self, token: str) -> str | None:
        """The session's id, if this was ever given out; whether it still counts is for the session's row to say."""
        body, _, seal = token.rpartition(".")
        if not body.isascii() or not seal.isascii() or len(token) > 256:
            return None
        if not any(hmac.compare_digest(_seal(key, body), seal) for key in self._keys):
            return None
        return body.partition(".")[0]


def _seal(key: str, body: str) -> str:
    return hmac.new(key.encode(), f"refresh:{body}".encode(), hashlib.sha256).hexdigest()[:32]


def digest(token: str) -> bytes:
    """As it stands in the database: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).digest()
