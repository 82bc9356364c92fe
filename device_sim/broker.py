"""Where the broker is, who may say what there, and what went over the wire."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit


@dataclass(slots=True)
class Traffic:
    """What went over the wire, summed over the connections that share it."""

    connected: int = 0
    connects: int = 0
    published: int = 0
    resent: int = 0
    acknowledged: int = 0
    rejected: int = 0
    commands: int = 0
    refused: str = ""
    """Why the broker last refused somebody."""


@dataclass(frozen=True, slots=True)
class Broker:
    host: str
    port: int
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "connect"))
    """TCP connects block; a few threads do them for everybody. Nothing else runs there."""

    @classmethod
    def at(cls, url: str) -> Broker:
        """From `mqtt://host:port`; an account in it is ignored, devices have their own. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme != "mqtt" or not parts.hostname:
            raise ValueError(f"{url!r} is no mqtt://host:port")
        return cls(unquote(parts.hostname), parts.port or 1883)
