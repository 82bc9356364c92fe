"""The door outwards against servers that mean harm: on real sockets, with names that somebody else answers for."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from services.adapters.outward import Allowed, Answer, Failed, Limits, OutwardClient
from tests.city_kit import Request, receiver, status

HERE = Allowed.of(["127.0.0.1/32"], [443])
QUICK = Limits(connect_s=20.0, total_s=30.0)


class Names:
    """A resolver: each look-up of a name takes the next of its answers, the last one for ever."""

    def __init__(self, **answers: list[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        given = self._answers.get(host)
        if given is None:
            return [str(ip_address(host))]
        return given.pop(0) if len(given) > 1 else given[0]


async def posted(client: OutwardClient, url: str) -> Answer | Failed:
    try:
        return await client.post(url, {"Content-Type": "application/json"}, b"{}")
    finally:
        await client.close()


async def test_receiver_in_a_listed_network_is_reached() -> None:
    async with receiver() as there:
        answer = await posted(OutwardClient(HERE), there.url)
    assert isinstance(answer, Answer) and answer.status == 204
    assert there.heard[0].body == b"{}" and there.heard[0].headers["host"] == f"127.0.0.1:{there.port}"


async def test_nothing_is_connected_to_before_every_address_was_checked() -> None:
    async with receiver() as there:
        for answers in (["127.0.0.1"], ["1.1.1.1", "127.0.0.1"], ["127.0.0.1", "1.1.1.1"], ["::ffff:127.0.0.1"]):
            client = OutwardClient(Allowed(), QUICK, resolve=Names(inner_example=[answers]))
            assert await posted(client, f"https://inner.example:{there.port}/") == _refused("loopback")
        assert await posted(OutwardClient(Allowed(), QUICK), there.url) == _refused("loopback")
    assert there.connections == 0


def _refused(what: str) -> object:
    class Like:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Failed) and other.why == f"address refused: {what}"

    return Like()


async def test_name_that_changes_its_address_after_the_check_leads_where_it_was_checked() -> None:
    """DNS rebinding: the second answer would be another server's. One look-up, one connection, to what was checked."""
    async with receiver() as listed, receiver() as other:
        names = Names(turns_example=[["127.0.0.1"], ["127.0.0.2"]])
        client = OutwardClient(HERE, QUICK, resolve=names)
        answer = await client.post(f"http://turns.example:{listed.port}/", {}, b"1")
        assert isinstance(answer, Answer) and names.asked == ["turns.example"]
        # A new connection is a new look-up, and a new check: this one is refused, and nobody is asked.
        answer = await client.post(f"http://turns.example:{other.port}/", {}, b"2")
        assert answer == _refused("loopback") and other.connections == 0
        await client.close()
    assert [one.body for one in listed.heard] == [b"1"]


async def test_redirect_is_an_answer_and_is_not_followed() -> None:
    async with receiver() as inner, receiver() as there:
        there.answering = status(302, f"Location: {inner.url}")
        answer = await posted(OutwardClient(HERE), there.url)
    assert isinstance(answer, Answer) and answer.status == 302 and inner.connections == 0


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver() as there:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert isinstance(await posted(OutwardClient(HERE), there.url), Answer)
    assert proxy.connections == 0 and there.connections == 1


async def test_plain_http_and_other_ports_are_for_listed_networks_alone() -> None:
    names = Names(open_example=[["1.1.1.1"]])
    assert await posted(OutwardClient(HERE, QUICK, resolve=names), "http://open.example/") == _refused("plain HTTP")
    assert await posted(OutwardClient(HERE, QUICK, resolve=names), "https://open.example:22/") == _refused("port")


async def test_answer_without_end_is_hung_up_on() -> None:
    sent = 0

    async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with receiver(answering=endless) as there:
        answer = await posted(OutwardClient(HERE, Limits(total_s=20.0)), there.url)
    assert isinstance(answer, Answer) and answer.status == 200
    assert sent < 64 * 1024 * 1024, "what the sockets hold, and no more"


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12"],
    ids=["nothing", "half a head", "half a body"],
)
async def test_receiver_that_does_not_come_to_an_end_is_left(said: bytes) -> None:
    async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        await asyncio.Event().wait()

    async with receiver(answering=stall) as there:
        client = OutwardClient(HERE, Limits(connect_s=1.0, total_s=1.0))
        answer = await posted(client, there.url)
    assert isinstance(answer, Failed) and answer.why == "timeout"


@pytest.mark.parametrize(
    "said",
    [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n", b"HTTP/9.9 abc\r\n\r\n"],
    ids=["another protocol", "a head without end", "nonsense"],
)
async def test_what_is_no_http_is_a_failure_and_no_crash(said: bytes) -> None:
    async def lie(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    async with receiver(answering=lie) as there:
        answer = await posted(OutwardClient(HERE, QUICK), there.url)
    assert isinstance(answer, Failed) and answer.why in ("no HTTP", "connection lost")


async def test_name_that_nobody_knows_and_port_that_nobody_hears_are_failures() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        import socket

        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    assert await posted(OutwardClient(HERE, QUICK, resolve=unknown), "https://nobody.example/") == Failed(
        "name not found",
        pytest.approx(0, abs=3000),  # type: ignore[arg-type]
    )
    async with receiver() as gone:
        url = gone.url
    answer = await posted(OutwardClient(HERE, QUICK), url)
    assert isinstance(answer, Failed) and answer.why == "not reached"


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[str], tuple[ssl.SSLContext, Path]]:
    """A server's context with a certificate for that name, and the file to trust it by."""

    def make(name: str) -> tuple[ssl.SSLContext, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        trusted, secret = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        trusted.write_bytes(made.public_bytes(Encoding.PEM))
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(trusted, secret)
        return context, trusted

    return make


async def test_certificate_and_sni_are_of_the_name_though_an_address_is_connected_to(
    certificate: Callable[[str], tuple[ssl.SSLContext, Path]],
) -> None:
    context, trusted = certificate("events.example")
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    names = Names(events_example=[["127.0.0.1"]], wrong_example=[["127.0.0.1"]])
    async with receiver(tls=context) as there:
        client = OutwardClient(HERE, QUICK, resolve=names, ca_file=trusted)
        answer = await client.post(f"https://events.example:{there.port}/", {}, b"{}")
        assert isinstance(answer, Answer) and answer.status == 204 and asked == ["events.example"]
        for url in (f"https://wrong.example:{there.port}/", f"https://127.0.0.1:{there.port}/"):
            answer = await client.post(url, {}, b"{}")
            assert isinstance(answer, Failed) and answer.why == "certificate"
        await client.close()
        answer = await posted(OutwardClient(HERE, QUICK, resolve=names), f"https://events.example:{there.port}/")
        assert isinstance(answer, Failed) and answer.why == "certificate", "nobody vouches for it"
    assert len(there.heard) == 1
