"""Carries one message to one address through apprise: bounded in time, never more than a few to one host at once."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import structlog

from services.adapters.notices.door import Door, Errand
from services.domain.notices import ChannelSort
from services.domain.notices.channels import FIXED
from services.domain.vocabulary import Severity

log = structlog.get_logger(__name__)

GATEWAY_SCHEMES = frozenset(
    {
        "json", "jsons", "form", "forms", "xml", "xmls", "mailto", "mailtos", "bulksms", "burstsms", "d7sms", "httpsms",
        "serwersms", "smsc", "smseagle", "smseagles", "smsmanager", "clicksend", "twilio", "vonage", "plivo", "sinch",
    }
)  # fmt: skip
"""Of apprise's: web hooks that a gateway of one's own understands, mail, and providers of messages and calls. Those
that act on this machine (desktop, files, syslog) are not among them."""
OWN_HOST = frozenset({"json", "jsons", "form", "forms", "xml", "xmls", "mailto", "mailtos", "smseagle", "smseagles"})
"""Of these the address names the host; all others go to their provider's."""
PER_HOST = 4
"""Messages under way to one host: one that is slow costs these and no others."""
ALTOGETHER = 128
_WHY_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Message:
    title: str
    body: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class Outcome:
    ok: bool
    error: str | None
    ms: int


class Carrier(Protocol):
    async def carry(self, sort: ChannelSort, address: str, message: Message) -> Outcome: ...


def gateway_address(template: str, to: str) -> str:
    """The community's gateway with the number or mail address in its place."""
    return template.replace("{to}", quote(to, safe=""))


class AppriseCarrier:
    """Each message has a thread of its own, which no shutdown waits for: a host that never answers holds up nobody.

    apprise is imported at the first message: 0.3 s of CPU with its plugins, 40 % more than the service's own start.
    """

    def __init__(self, timeout_s: float, door: Door | None = None) -> None:
        self._timeout_s = timeout_s
        self._door = door or Door()
        self._hosts: dict[str, asyncio.Semaphore] = {}
        self._all = asyncio.Semaphore(ALTOGETHER)

    async def carry(self, sort: ChannelSort, address: str, message: Message) -> Outcome:
        """Never raises: what goes wrong is an outcome. The host's place is taken until its thread has really ended."""
        started = time.monotonic()

        def outcome(error: str | None) -> Outcome:
            return Outcome(error is None, error, round((time.monotonic() - started) * 1000))

        host = sort.value if sort in FIXED else _host(address)
        # Critical ones never wait behind others of the same host.
        place = f"{host} {message.severity is Severity.CRITICAL}"
        slots = self._hosts.setdefault(place, asyncio.Semaphore(PER_HOST))
        try:
            async with asyncio.timeout(self._timeout_s):
                await slots.acquire()
        except TimeoutError:
            return outcome("the channel is busy with messages it does not answer")
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._all.acquire()
        except TimeoutError:
            slots.release()
            return outcome("too many channels do not answer")

        def ended() -> None:
            slots.release()
            self._all.release()

        errand = self._door.errand(address, self._timeout_s)
        answer = _in_thread(lambda: _notify(address, message, self._timeout_s, errand), ended)
        try:
            # A little more than the socket's own patience: its word says more than ours.
            async with asyncio.timeout(self._timeout_s + 1.0):
                return outcome(await asyncio.shield(answer))
        except TimeoutError:
            return outcome(f"no answer within {self._timeout_s:g} s")


def _host(address: str) -> str:
    try:
        return urlsplit(address).netloc.rpartition("@")[2] or address
    except ValueError:
        return address


def _in_thread(work: Callable[[], str | None], ended: Callable[[], None]) -> asyncio.Future[str | None]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str | None] = loop.create_future()

    def say(value: str | None) -> None:
        ended()
        if not answer.done():
            answer.set_result(value)

    def run() -> None:
        try:
            value = work()
        except Exception as error:
            value = f"{type(error).__name__}"
            log.warning("channel_failed", why=repr(error)[:_WHY_LONGEST])
        try:
            loop.call_soon_threadsafe(say, value)
        except RuntimeError:
            # The loop has been closed meanwhile; nobody waits for the answer any more.
            return

    threading.Thread(target=run, daemon=True, name="notice").start()
    return answer


class _Words(logging.Handler):
    """What apprise says in this thread while it sends: its notify() answers with yes or no only."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.last = record.getMessage()


def _notify(address: str, message: Message, timeout_s: float, errand: Errand) -> str | None:
    """None: it was taken. Runs in a thread."""
    apprise: Any = _apprise()
    channel = apprise.Apprise.instantiate(address)
    if channel is None:
        return "the address makes no sense to apprise"
    channel.socket_connect_timeout = min(4.0, timeout_s)
    channel.socket_read_timeout = timeout_s
    # Whatever the address itself asks for: where a message is sent on to was never checked with it.
    channel.redirects = False
    sort = {Severity.CRITICAL: apprise.NotifyType.FAILURE, Severity.MAJOR: apprise.NotifyType.WARNING}
    words = _Words()
    logger = logging.getLogger("apprise")
    logger.addHandler(words)
    try:
        with errand.here():
            taken = channel.notify(
                body=message.body, title=message.title, notify_type=sort.get(message.severity, apprise.NotifyType.INFO)
            )
    finally:
        logger.removeHandler(words)
    if errand.said_too_much:
        return "the answer does not end"
    if errand.late:
        # An answer that was cut off may look like a whole one.
        return f"no answer within {timeout_s:g} s"
    if taken:
        return None
    if errand.refused is not None:
        return f"address refused: {errand.refused}; networks of one's own are listed in LINHUB_NOTICES_NETWORKS"
    return redacted(words.last or "the channel refused it", address)


def endpoint(address: str) -> tuple[str, int] | None:
    """Where a message to it would be taken, as (host, port); None: apprise cannot make sense of it. Sends nothing.

    ("", 443) of a provider that apprise knows: its host is not the address's to choose.
    """
    channel: Any = _apprise().Apprise.instantiate(address)
    if channel is None:
        return None
    scheme = urlsplit(address).scheme.lower()
    if scheme not in OWN_HOST:
        return "", 443
    secure = scheme.endswith("s")
    mail = getattr(channel, "smtp_host", None)
    usual = (465 if secure else 25) if mail else (443 if secure else 80)
    return str(mail or channel.host), int(channel.port or usual)


_IMPORT = threading.Lock()


def _apprise() -> Any:
    with _IMPORT:
        import apprise

        logging.getLogger("apprise").propagate = False
        return apprise


def redacted(words: str, address: str) -> str:
    """Without the parts of the address, most of which are secrets."""
    for part in sorted(set(re.split(r"[:/?&=@%]+", address.partition("://")[2])), key=len, reverse=True):
        if len(part) >= 4:
            words = words.replace(part, "***")
    return words[:_WHY_LONGEST]
