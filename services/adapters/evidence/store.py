"""The content-addressed store of evidence: an object is named by the SHA-256 of its bytes, and proved by it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from services.adapters.evidence.errors import Damaged, Missing, NoRoom, StoreAway

__all__ = ["Damaged", "Missing", "NoRoom", "Objects", "Store", "StoreAway", "Stored", "digest_of", "open_store"]

CHUNK = 256 * 1024
_NAME = re.compile(r"^[0-9a-f]{64}$")
_PROVED = 4096
"""Of so many objects it is remembered that they were read through and are what they should be."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as the store lists it. `modified`: when it was last put."""

    name: str
    size: int
    modified: datetime


class Objects(Protocol):
    """Where objects lie. Names are 64 hexadecimal digits. Everything may raise StoreAway."""

    async def put(self, name: str, source: Path) -> None:
        """Whole and lasting when it returns, or not there. May move `source` away. Again: as if new. Raises NoRoom."""
        ...

    async def size(self, name: str) -> int:
        """Raises Missing."""
        ...

    def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes start to end (without it). Raises Missing."""
        ...

    async def delete(self, name: str) -> None:
        """What is not there is no error."""
        ...

    def everything(self) -> AsyncIterator[Stored]: ...


def is_name(text: str) -> bool:
    return _NAME.match(text) is not None


class Store:
    """What the services use: puts files by their hash, and hands out only what is still what it was."""

    def __init__(self, objects: Objects, spool: Path) -> None:
        self.objects = objects
        self.spool = spool
        """Where files lie while they come in; on the same disk as a folder store."""
        self._proved: OrderedDict[str, int] = OrderedDict()

    async def keep(self, source: Path) -> str:
        """Stores a file under its hash and returns that. The file may be gone afterwards. Raises NoRoom, StoreAway."""
        name = await asyncio.to_thread(digest_of, source)
        await self.objects.put(name, source)
        return name

    async def prove(self, name: str) -> int:
        """Reads it through once in a while; its size. Raises Missing, Damaged, StoreAway."""
        size = await self.objects.size(name)
        if self._proved.get(name) == size:
            self._proved.move_to_end(name)
            return size
        digest = hashlib.sha256()
        async for chunk in self.objects.read(name, 0, size):
            digest.update(chunk)
        if digest.hexdigest() != name:
            self._proved.pop(name, None)
            raise Damaged(name)
        self._proved[name] = size
        while len(self._proved) > _PROVED:
            self._proved.popitem(last=False)
        return size

    def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """A part of an object that was proved."""
        return self.objects.read(name, start, end)

    async def forget(self, name: str) -> None:
        self._proved.pop(name, None)
        await self.objects.delete(name)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_store(url: str, spool: Path | None = None) -> Store:
    """`file:///folder`, `s3://bucket/prefix` (with the usual AWS_* variables) or `memory://`. Raises ValueError."""
    parts = urlsplit(url)
    match parts.scheme:
        case "file" if parts.path.startswith("/") and parts.netloc in ("", "localhost"):
            from services.adapters.evidence.folder import Folder

            root = Path(unquote(parts.path))
            return Store(Folder(root), spool or root / ".incoming")
        case "s3" if parts.netloc:
            from services.adapters.evidence.buckets import bucket

            return Store(bucket(url), spool or Path(tempfile.gettempdir()) / "linhub-evidence")
        case "memory":
            from services.adapters.evidence.buckets import memory

            return Store(memory(), spool or Path(tempfile.gettempdir()) / "linhub-evidence")
    raise ValueError("expected file:///folder or s3://bucket/prefix")
