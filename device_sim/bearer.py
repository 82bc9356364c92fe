"""Keeps a program logged in: OAuth 2.0 password grant, renewed before the access token's end and after a 401."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import httpx

_SHARE = 0.8
"""Of an access token's life after which it is renewed."""


class Bearer(httpx.Auth):
    """For `httpx.AsyncClient(auth=…)`; `token_url`: where the API gives tokens. A client's requests share one session.

    Raises httpx.HTTPStatusError where neither the session nor the password is taken.
    """

    def __init__(self, token_url: str, username: str, password: str) -> None:
        self._url, self._username, self._password = token_url, username, password
        # A refresh token counts once, so those who renew take turns.
        self._turn = asyncio.Lock()
        self._access: str | None = None
        self._refresh: str | None = None
        self._renew_at = 0.0

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        refused: str | None = None
        for last in (False, True):
            async with self._turn:
                if self._access is None or self._access == refused or time.monotonic() >= self._renew_at:
                    if self._refresh is not None:
                        form = {"grant_type": "refresh_token", "refresh_token": self._refresh}
                        self._refresh = None
                        answer = yield httpx.Request("POST", self._url, data=form)
                        await self._take(answer)
                    if self._refresh is None:
                        form = {"grant_type": "password", "username": self._username, "password": self._password}
                        answer = yield httpx.Request("POST", self._url, data=form)
                        await self._take(answer)
                        answer.raise_for_status()
            request.headers["Authorization"] = f"Bearer {self._access}"
            refused = self._access
            answer = yield request
            if last or answer.status_code != httpx.codes.UNAUTHORIZED:
                return

    async def _take(self, answer: httpx.Response) -> None:
        # Only these are read here: another answer may be a stream without an end.
        await answer.aread()
        if answer.is_error:
            return
        said = answer.json()
        self._access, self._refresh = said["access_token"], said.get("refresh_token")
        self._renew_at = time.monotonic() + _SHARE * float(said["expires_in"])
