"""Puts one event to its receiver: what differs between the ways that deliver."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.adapters.city.reading import Wanted
from services.adapters.city.signing import SigningKey, signed
from services.adapters.outward import Failed, OutwardClient
from services.domain.city import CityEvent, Format
from services.domain.city.delivery import Attempt, retry_after_s

AGENT = "LinHub-City/1"


@dataclass(frozen=True, slots=True)
class Sent:
    attempt: Attempt
    ms: int


@dataclass(frozen=True, slots=True)
class Sending:
    """What an attempt needs beside the event. `previous`: number of what was sent before; `ahead`: how many were sent
    since the receiver said how far it has come; `link`: the sender's own when the turn last proved its lease."""

    keys: Sequence[SigningKey]
    now: datetime
    previous: int | None = None
    ahead: int = 0
    link: int = 0


class Sender(Protocol):
    """Returns when the receiver has it or an attempt has failed; raises only for faults of ours."""

    @property
    def link(self) -> int | None:
        """Number of the connection that everything goes over; 0 where each event makes its own, None where there is
        none just now and nothing is to be begun."""

    async def run(self) -> None:
        """What has to go on beside the attempts, until cancelled."""

    async def send(self, to: Wanted, event: CityEvent, sending: Sending) -> Sent: ...

    async def close(self) -> None:
        """Nothing is under way any more; `run` goes on until after this."""


class WebhookSender:
    """CloudEvents over HTTP, signed as Standard Webhooks says.

    The signature is over id, time and body: in the binary mode the attributes, being headers, are not under it.
    """

    def __init__(self, client: OutwardClient) -> None:
        self._client = client

    @property
    def link(self) -> int:
        return 0

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def send(self, to: Wanted, event: CityEvent, sending: Sending) -> Sent:
        now = sending.now
        headers, body = event.binary() if to.format is Format.BINARY else event.structured()
        headers |= signed(event.id, now, body, sending.keys)
        headers["User-Agent"] = AGENT
        answer = await self._client.post(to.url or "", headers, body)
        if isinstance(answer, Failed):
            return Sent(Attempt(None, answer.why), answer.ms)
        asked_s = retry_after_s(answer.headers.get("retry-after"), now)
        error = None if 200 <= answer.status < 300 else _why(answer.status)
        return Sent(Attempt(answer.status, error, asked_s), answer.ms)

    async def close(self) -> None:
        await self._client.close()


def _why(status: int) -> str:
    return f"HTTP {status}, a redirect, which is not followed" if 300 <= status < 400 else f"HTTP {status}"
