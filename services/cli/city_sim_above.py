"""The asking end of a small city platform: opens cases, follows them to their end, and pulls to see what never came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import httpx

Json = dict[str, Any]
_PAGE = 500
_WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0)


class NotDone(Exception):
    """What was asked for was refused, or nobody answered; the text says which."""


class Above:
    """Talks to one LinHub with the key of a service account. All it asks is safe to repeat, so it is, where nobody
    answers."""

    def __init__(
        self, url: str, key: str, waits_s: tuple[float, ...] = _WAITS_S, via: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1",
            headers={"Authorization": f"Bearer {key}"},
            timeout=15.0,
            trust_env=False,
            transport=via,
        )
        self._waits_s = waits_s

    async def __aenter__(self) -> Above:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def _ask(self, method: str, path: str, **more: Any) -> Json:
        said = "nobody answers 无应答"
        for wait_s in (*self._waits_s, None):
            try:
                answer = await self._http.request(method, path, **more)
            except httpx.TransportError as error:
                said = f"nobody answers 无应答: {type(error).__name__}"
            else:
                if answer.is_success:
                    found: Json = answer.json()
                    return found
                said = _said(answer)
                if answer.status_code < 500 and answer.status_code != 429:
                    break
            if wait_s is not None:
                await asyncio.sleep(wait_s)
        raise NotDone(said)

    async def open(self, case: Json) -> Json:
        return await self._ask("POST", "/city/cases", json=case)

    async def case(self, id: str) -> Json:
        return await self._ask("GET", f"/city/cases/{id}")

    async def cases(self) -> Json:
        """The newest of the account's."""
        return await self._ask("GET", "/city/cases", params={"limit": 20})

    async def urge(self, id: str, reason: str, key: str) -> Json:
        """`key`: the same for each repetition."""
        headers = {"Idempotency-Key": key}
        return await self._ask("POST", f"/city/cases/{id}/urge", json={"reason": reason}, headers=headers)

    async def withdraw(self, id: str, reason: str) -> Json:
        return await self._ask("POST", f"/city/cases/{id}/withdraw", json={"reason": reason})

    async def follow(self, id: str, every_s: float) -> AsyncIterator[Json]:
        """The case each time it stands elsewhere, up to where it is over."""
        last: list[Json] | None = None
        while True:
            case = await self.case(id)
            if case["steps"] != last:
                last = case["steps"]
                yield case
            if case["over"]:
                return
            await asyncio.sleep(every_s)

    async def ids(self, after: int, subscription: str | None) -> AsyncIterator[list[str]]:
        """The ids of everything that the account was to hear of, page by page, from a cursor to now."""
        async for page in self.pages(after, subscription):
            yield [one["id"] for one in page["items"]]

    async def pages(self, after: int | None, subscription: str | None) -> AsyncIterator[Json]:
        """Everything that the account was to hear of from a cursor to now; None: from where the subscription began,
        or behind what was delivered by its own way."""
        named: Json = {} if subscription is None else {"subscription": subscription}
        while True:
            asked = {"limit": _PAGE, **named} if after is None else {"cursor": after, "limit": _PAGE, **named}
            page = await self._ask("GET", "/city/events", params=asked)
            yield page
            if not page["more"]:
                return
            after = page["next"]


def _said(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code}: {answer.json()['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
