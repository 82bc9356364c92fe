"""The public API as a story's witness and its staff use it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx

from device_sim.bearer import Bearer

Json = dict[str, Any]


class Unreachable(Exception):
    """The API or the broker does not answer; the message says which and what it said."""


class ApiRefused(Exception):
    """The API answered, and said no."""

    def __init__(self, message: str, status: int = 0, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """Somebody who can log in."""

    username: str
    password: str
    role: str
    team: str | None


class Api:
    """One connection pool, one session an account, renewed while it is used. Raises Unreachable and ApiRefused."""

    def __init__(self, base_url: str, accounts: Mapping[str, AccountInfo]) -> None:
        self.base_url = base_url.rstrip("/")
        self.accounts = accounts
        self._client = httpx.AsyncClient(base_url=f"{self.base_url}/api/v1/", timeout=15.0)
        self._logins: dict[str, Bearer] = {}

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def _send(self, method: str, path: str, **more: Any) -> Json:
        try:
            answer = await self._client.request(method, path, **more)
        except httpx.HTTPStatusError as error:
            raise _refused("POST", "auth/token", error.response) from None
        except httpx.HTTPError as error:
            raise Unreachable(
                f"the API at {self.base_url} does not answer ({type(error).__name__}: {error}); "
                "is services/api running?"
            ) from error
        if answer.is_error:
            raise _refused(method, path, answer)
        body = answer.json() if answer.content else {}
        return body if isinstance(body, dict) else {"items": body}

    def _login(self, username: str) -> Bearer:
        if username not in self._logins:
            account = self.accounts.get(username)
            if account is None:
                raise ApiRefused(f"there is no account {username} in accounts.json; run `linhub seed`")
            self._logins[username] = Bearer(f"{self.base_url}/api/v1/auth/token", username, account.password)
        return self._logins[username]

    async def get(self, path: str, *, as_user: str, **params: Any) -> Json:
        asked = {name: value for name, value in params.items() if value is not None}
        return await self._send("GET", path, auth=self._login(as_user), params=asked)

    async def pages(self, path: str, *, as_user: str, **params: Any) -> list[Json]:
        """All items of a list, page by page."""
        items: list[Json] = []
        cursor: str | None = None
        while True:
            page = await self.get(path, as_user=as_user, cursor=cursor, limit=100, **params)
            items += page["items"]
            cursor = page.get("next")
            if cursor is None:
                return items

    async def call(
        self,
        method: str,
        path: str,
        *,
        as_user: str,
        json: Any = None,
        key: str | None = None,
        seen: int | None = None,
        **more: Any,
    ) -> Json:
        """Anything else; `key` is the Idempotency-Key, a fresh one where none is given, `seen` the version that is
        changed (0: there is none yet)."""
        headers = {"Idempotency-Key": key or str(uuid4())}
        if seen is not None:
            headers |= {"If-Match": f'"{seen}"'} if seen else {"If-None-Match": "*"}
        return await self._send(method, path, auth=self._login(as_user), headers=headers, json=json, **more)

    async def move(self, order_id: str, move: str, *, as_user: str, note: str | None = None, **fields: Any) -> Json:
        """One move as a person makes it: who is told that the order has changed meanwhile, looks again."""
        key = str(uuid4())
        for attempt in range(5):
            seen = await self.get(f"orders/{order_id}", as_user=as_user)
            try:
                return await self.press(
                    order_id, move, as_user=as_user, version=seen["version"], key=key, note=note, **fields
                )
            except ApiRefused as refused:
                if refused.status != httpx.codes.CONFLICT or attempt == 4:
                    raise
        raise AssertionError

    async def press(
        self, order_id: str, move: str, *, as_user: str, version: int, key: str | None = None, **fields: Any
    ) -> Json:
        """The same once, by what the person saw: whoever was faster wins, and this raises ApiRefused."""
        body = {
            "move": move,
            "version": version,
            **{name: value for name, value in fields.items() if value is not None},
        }
        return await self.call("POST", f"orders/{order_id}/moves", as_user=as_user, json=body, key=key)


def _refused(method: str, path: str, answer: httpx.Response) -> ApiRefused:
    said = answer.text[:200]
    try:
        body = answer.json()
        said = str(body.get("detail") or body.get("error_description") or said)
    except ValueError:
        pass
    return ApiRefused(f"{method} {path} said {answer.status_code}: {said}", answer.status_code, said)


POLL_S = 0.1


async def until(deadline: float, look: Any) -> Any:
    """Asks again until the answer is truthy or the loop's clock passes `deadline`; the last answer."""
    loop = asyncio.get_running_loop()
    while True:
        found = await look()
        if found or loop.time() >= deadline:
            return found
        await asyncio.sleep(POLL_S)
