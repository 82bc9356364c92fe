"""The API restarts under two hundred screens behind one address: every one of them is let in again, none is refused."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.api_server import api_server
from tests.factory import PASSWORD, put_community, small_community

SCREENS = 200
_PLACE = "/communities/test"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    cookies: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def body(self) -> bytes:
        try:
            return await self.reader.read()
        finally:
            self.writer.close()


async def _ask(url: str, method: str, path: str, cookies: str = "", body: bytes = b"") -> _Answer:
    """One request on a connection of its own, as each screen has its own; its body is still to be read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port, limit=1 << 22)
    lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json", "X-LinHub: 1", *([f"Cookie: {cookies}"] if cookies else [])]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    given = [line[12:].partition(";")[0] for line in head.split("\r\n") if line.lower().startswith("set-cookie: ")]
    return _Answer(int(head[9:12]), "; ".join(given), reader, writer)


async def _login(url: str) -> str:
    answer = await _ask(url, "POST", "/auth/login", body=f'{{"username":"desk","password":"{PASSWORD}"}}'.encode())
    said = await answer.body()
    assert answer.status == 200, said
    return answer.cookies


async def _watch(url: str, cookies: str, stack: AsyncExitStack) -> asyncio.StreamReader:
    """A stream that has said hello."""
    answer = await _ask(url, "GET", f"{_PLACE}/stream", cookies)
    stack.callback(answer.writer.close)
    assert answer.status == 200, await answer.body()
    assert b"event: hello" in await answer.reader.readuntil(b"\n\n")
    return answer.reader


async def _return(url: str, cookies: str, stack: AsyncExitStack) -> list[int]:
    """As the page does it after an outage that was longer than its access lasts."""
    renewed = await _ask(url, "POST", "/auth/refresh", cookies)
    await renewed.body()
    snapshot = await _ask(url, "GET", f"{_PLACE}/snapshot", renewed.cookies)
    await snapshot.body()
    if (renewed.status, snapshot.status) == (200, 200):
        await _watch(url, renewed.cookies, stack)
    return [renewed.status, snapshot.status]


async def test_return_of_two_hundred_screens_behind_one_address(database_url: str) -> None:
    """All at the same moment, without the spread that their back-off gives them; limits as they are by default."""
    await put_community(database_url, small_community())
    async with asyncio.timeout(300), AsyncExitStack() as stack:
        async with api_server(database_url, query_timeout_s=120) as url:
            cookies = [await _login(url) for _ in range(SCREENS)]
            streams = await asyncio.gather(*(_watch(url, one, stack) for one in cookies))
        for stream in streams:
            await stream.read()  # to its end: the service closed them all as it stopped
        async with api_server(database_url, query_timeout_s=120) as url:
            found = await asyncio.gather(*(_return(url, one, stack) for one in cookies))
            assert found == [[200, 200]] * SCREENS
