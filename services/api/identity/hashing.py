"""Passwords hashed with argon2, on threads and two at a time: a hash takes long and must not hold up live streams."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import unicodedata

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

_LANES = 4


def password_mark(password_hash: str) -> str:
    """Stands in the session, so that a new password ends what was opened with the old one; reveals nothing of it."""
    return hashlib.sha256(password_hash.encode()).hexdigest()[:16]


def normal(password: str) -> str:
    """The same password typed on two keyboards is the same: composed or not, full width or not."""
    return unicodedata.normalize("NFKC", password)


class Hashing:
    def __init__(self, memory_kib: int, passes: int) -> None:
        hasher = Argon2Hasher(time_cost=passes, memory_cost=memory_kib, parallelism=_LANES)
        self._hasher = PasswordHash((hasher,))
        self._turn = asyncio.Semaphore(2)
        self.nobody = self._hasher.hash(secrets.token_urlsafe(16))
        """Compared with where there is no such account, so that this takes as long as a wrong password."""

    async def matches(self, password: str, stored: str) -> tuple[bool, str | None]:
        """Whether it is the password; and a new hash of it where the stored one was made with older parameters."""
        async with self._turn:
            try:
                return await asyncio.to_thread(self._hasher.verify_and_update, normal(password), stored)
            except UnknownHashError:
                return False, None

    async def hash(self, password: str) -> str:
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, normal(password))
