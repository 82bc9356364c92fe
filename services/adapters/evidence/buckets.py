"""Objects in an S3-compatible bucket, or in memory, through obstore."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import MemoryStore, S3Store

from services.adapters.evidence.errors import Missing, StoreAway
from services.adapters.evidence.store import Stored, is_name

_PART = 8 * 1024 * 1024


def bucket(url: str) -> Bucket:
    """Where the bucket is and who asks stand in AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and their kin."""
    store = S3Store.from_url(
        url,
        client_options={
            "timeout": timedelta(seconds=60),
            "connect_timeout": timedelta(seconds=5),
            # Plain HTTP only where somebody wrote that address down: a store on the same host or network.
            "allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"),
        },
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
    )
    return Bucket(store)


def memory() -> Bucket:
    return Bucket(MemoryStore())


class Bucket:
    def __init__(self, store: S3Store | MemoryStore) -> None:
        self._store = store

    @staticmethod
    def _key(name: str) -> str:
        if not is_name(name):
            raise ValueError(f"{name!r} names no object")
        return f"{name[:2]}/{name}"

    async def put(self, name: str, source: Path) -> None:
        """An object appears when its last part has come: S3 knows no half ones."""
        with _told(name):
            await obstore.put_async(self._store, self._key(name), source, chunk_size=_PART, max_concurrency=2)

    async def size(self, name: str) -> int:
        with _told(name):
            return int((await obstore.head_async(self._store, self._key(name)))["size"])

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        if end <= start:
            return
        with _told(name):
            found = await obstore.get_async(self._store, self._key(name), options={"range": (start, end)})
            async for chunk in found.stream(min_chunk_size=256 * 1024):
                yield bytes(chunk)

    async def delete(self, name: str) -> None:
        try:
            with _told(name):
                await obstore.delete_async(self._store, self._key(name))
        except Missing:
            return

    async def everything(self) -> AsyncIterator[Stored]:
        with _told(""):
            async for page in obstore.list(self._store, chunk_size=1000):
                for found in page:
                    name = found["path"].rpartition("/")[2]
                    if is_name(name):
                        yield Stored(name, found["size"], found["last_modified"])


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError):
        raise Missing(name) from None
    except BaseError as error:
        raise StoreAway(f"the evidence store does not answer: {str(error).splitlines()[0]}") from error
