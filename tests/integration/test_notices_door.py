"""Notices leave by a door of their own: nothing inside is reached, nothing sent on, nothing read without end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from services.adapters.notices.carrier import PER_HOST, AppriseCarrier, Message, Outcome
from services.adapters.notices.door import Door
from services.adapters.outward import Allowed
from services.domain.notices import ChannelSort
from services.domain.vocabulary import Severity
from tests.city_kit import Request, receiver, status
from tests.ingest_kit import until

MESSAGE = Message("燃气泄漏", "1号楼101室", Severity.MAJOR)
HERE = Allowed.of(["127.0.0.1/32"], ())


def carrier(
    allowed: Allowed | None = None, *, names: dict[str, list[list[str]]] | None = None, timeout_s: float = 60.0
) -> AppriseCarrier:
    """`names`: what each look-up of a name answers, in turn; the last stays."""
    if names is None:
        return AppriseCarrier(timeout_s, Door(allowed or Allowed()))

    async def resolve(host: str, port: int) -> Sequence[str]:
        if host not in names:
            return [host]
        answers = names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    return AppriseCarrier(timeout_s, Door(allowed or Allowed(), resolve))


async def sent(by: AppriseCarrier, address: str, sort: ChannelSort = ChannelSort.WEBHOOK) -> Outcome:
    return await by.carry(sort, address, MESSAGE)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("json://169.254.169.254/latest/meta-data", "metadata"),
        ("jsons://169.254.169.254/latest/meta-data", "metadata"),
        ("json://127.0.0.1:{port}/x", "loopback"),
        ("json://localhost:{port}/x", "loopback"),
        ("jsons://10.0.0.1/x", "private"),
        ("jsons://[::ffff:127.0.0.1]/x", "loopback"),
        ("mailto://user:word@127.0.0.1:{port}/?to=a@b.cn&from=c@d.cn", "loopback"),
        ("mailtos://user:word@192.168.1.1/?to=a@b.cn&from=c@d.cn", "private"),
    ],
)
async def test_channel_that_leads_inside_is_not_connected_to(address: str, why: str) -> None:
    async with receiver() as inner:
        outcome = await sent(carrier(), address.format(port=inner.port))
        assert not outcome.ok and outcome.error is not None
        assert outcome.error.startswith(f"address refused: {why}") and "LINHUB_NOTICES_NETWORKS" in outcome.error
        assert inner.connections == 0


async def test_network_that_is_listed_is_reached_and_metadata_in_it_is_not() -> None:
    async with receiver(answering=status(200)) as there:
        assert (await sent(carrier(HERE, timeout_s=60), f"json://127.0.0.1:{there.port}/x")).ok
        assert there.heard[0].path == "/x"

        async def hung_up() -> bool:
            return not there.serving

        await until(hung_up, 20)
    wide = carrier(Allowed.of(["169.254.0.0/16"], ()))
    outcome = await sent(wide, "json://169.254.169.254/latest")
    assert outcome.error is not None and "metadata" in outcome.error


async def test_open_internet_is_spoken_to_in_the_clear_or_at_odd_ports_by_nobody() -> None:
    names = {"sms.example.cn": [["93.184.216.34"]]}
    plain = await sent(carrier(names=names), "json://sms.example.cn/x")
    odd = await sent(carrier(names=names), "jsons://sms.example.cn:5432/x")
    assert plain.error is not None and "plain HTTP" in plain.error
    assert odd.error is not None and odd.error.startswith("address refused: port")


async def test_one_bad_address_spoils_a_name_and_a_name_is_asked_once_a_connection() -> None:
    async with receiver(answering=status(200)) as there:
        address = f"json://hook.example.cn:{there.port}/x"
        both = carrier(HERE, names={"hook.example.cn": [["127.0.0.1", "10.0.0.1"]]})
        spoilt = await sent(both, address)
        assert spoilt.error is not None and "private" in spoilt.error and there.connections == 0
        answers = [["127.0.0.1"], ["169.254.169.254"]]
        turned = carrier(HERE, names={"hook.example.cn": answers})
        assert (await sent(turned, address)).ok, "connected to is what was checked, not what a second look-up says"
        assert answers == [["169.254.169.254"]] and there.connections == 1
        after = await sent(turned, address)
        assert after.error is not None and "metadata" in after.error and there.connections == 1


async def test_redirect_is_not_followed_even_where_the_address_asks_for_it() -> None:
    async with receiver() as inner, receiver(answering=status(307, f"Location: {inner.url}")) as there:
        for more in ("", "?redirect=yes"):
            outcome = await sent(carrier(HERE), f"json://127.0.0.1:{there.port}/x{more}")
            assert not outcome.ok
        assert len(there.heard) == 2 and inner.connections == 0


async def test_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver(answering=status(200)) as there:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert (await sent(carrier(HERE), f"json://127.0.0.1:{there.port}/x")).ok
        assert proxy.connections == 0 and len(there.heard) == 1


async def _endless(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def _drips(request: Request, writer: asyncio.StreamWriter) -> None:
    """Something within every patience of a socket, and never the end."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def test_answer_without_end_is_hung_up_on_and_holds_no_place() -> None:
    async with receiver(answering=_endless) as there:
        one = carrier(HERE, timeout_s=30)
        address = f"json://127.0.0.1:{there.port}/x"
        outcomes = await asyncio.gather(*(sent(one, address) for _ in range(PER_HOST + 2)))
        assert [outcome.error for outcome in outcomes] == ["the answer does not end"] * (PER_HOST + 2)
    await _no_thread_left()


async def test_answer_that_drips_ends_with_its_time_and_leaves_no_thread() -> None:
    async with receiver(answering=_drips) as there:
        outcome = await sent(carrier(HERE, timeout_s=4), f"json://127.0.0.1:{there.port}/x")
        assert outcome.error == "no answer within 4 s"
        await _no_thread_left()


@asynccontextmanager
async def mail_server(greeting: bytes) -> AsyncIterator[int]:
    """Says the greeting for as long as somebody listens."""

    over = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(greeting)
                await writer.drain()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        over.set()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        await asyncio.wait_for(over.wait(), 30)
    finally:
        server.close()


async def test_mail_server_that_greets_without_end_is_hung_up_on() -> None:
    async with mail_server(b"220-welcome\r\n" * 1000) as port:
        address = f"mailto://user:word@127.0.0.1:{port}/?to=a@b.cn&from=c@d.cn&mode=insecure"
        outcome = await sent(carrier(HERE, timeout_s=30), address, ChannelSort.SMTP)
        assert outcome.error == "the answer does not end"
    await _no_thread_left()


async def _no_thread_left() -> None:
    async def gone() -> bool:
        return all(one.name != "notice" for one in threading.enumerate())

    await until(gone, 30)


async def test_errand_ends_with_its_thread_and_others_connect_as_ever() -> None:
    """What is not on an errand is not looked at: the same process has a database and a broker of its own."""
    import socket

    async with receiver(answering=status(200)) as there:
        await sent(carrier(), f"json://127.0.0.1:{there.port}/x")
        made = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", there.port))
        made.close()
        assert there.heard == []
