"""What every store of evidence must do: a folder, memory, and a real S3 server over HTTP."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from moto.s3.utils import _VersionedKeyStore
from moto.server import ThreadedMotoServer

from services.adapters.evidence import Damaged, Missing, NoRoom, Store, StoreAway, open_store

KINDS = ("folder", "memory", "s3")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patched:
        _one_at_a_time(patched)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


def _one_at_a_time(patched: pytest.MonkeyPatch) -> None:
    """Of two objects that are stored under one name at once, moto would forget to put one away."""
    alone, replace = threading.Lock(), _VersionedKeyStore.setlist

    def setlist(keys: _VersionedKeyStore, name: Any, versions: Any) -> None:
        with alone:
            replace(keys, name, versions)

    patched.setattr(_VersionedKeyStore, "setlist", setlist)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    url = {"folder": (tmp_path / "store").as_uri(), "memory": "memory://", "s3": "s3://evidence/own"}[request.param]
    if request.param == "s3":
        import httpx

        address = request.getfixturevalue("s3")
        for name, value in {
            "AWS_ENDPOINT_URL": address, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        httpx.post(f"{address}/moto-api/reset", trust_env=False, timeout=60)
        assert httpx.put(f"{address}/evidence", trust_env=False, timeout=60).status_code == 200
    return open_store(url, tmp_path / "spool")


def file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / f"in-{os.urandom(4).hex()}"
    path.write_bytes(data)
    return path


async def whole(store: Store, name: str) -> bytes:
    return b"".join([chunk async for chunk in store.read(name, 0, await store.prove(name))])


@pytest.mark.parametrize("size", [1, 70_000, 17 * 1024 * 1024])
async def test_object_is_named_by_its_bytes_and_comes_back_whole_and_in_parts(
    store: Store, tmp_path: Path, size: int
) -> None:
    data = os.urandom(size)
    name = await store.keep(file(tmp_path, data))
    assert name == hashlib.sha256(data).hexdigest()
    assert await store.objects.size(name) == size
    assert await whole(store, name) == data
    start, end = size // 3, size - size // 4
    assert b"".join([chunk async for chunk in store.read(name, start, end)]) == data[start:end]
    listed = [found async for found in store.objects.everything()]
    assert [(one.name, one.size) for one in listed] == [(name, size)]
    assert abs((datetime.now(UTC) - listed[0].modified).total_seconds()) < 60


async def test_same_bytes_are_one_object_even_at_once(store: Store, tmp_path: Path) -> None:
    names = await asyncio.gather(*(store.keep(file(tmp_path, b"same" * 1000)) for _ in range(12)))
    assert len(set(names)) == 1
    assert [found.name async for found in store.objects.everything()] == [names[0]]
    assert await whole(store, names[0]) == b"same" * 1000


async def test_what_is_not_there_is_missing_and_deleted_twice_without_harm(store: Store, tmp_path: Path) -> None:
    name = await store.keep(file(tmp_path, b"x"))
    await store.forget(name)
    await store.forget(name)
    with pytest.raises(Missing):
        await store.prove(name)
    with pytest.raises(Missing):
        _ = [chunk async for chunk in store.read(name, 0, 1)]
    assert [found async for found in store.objects.everything()] == []


async def test_names_that_are_no_hashes_are_refused(store: Store, tmp_path: Path) -> None:
    for name in ("../../etc/passwd", "a" * 63, "A" * 64, ""):
        with pytest.raises(ValueError, match="names no object"):
            await store.objects.put(name, file(tmp_path, b"x"))
        with pytest.raises(ValueError, match="names no object"):
            await store.objects.size(name)


async def test_object_of_other_bytes_than_its_name_is_damaged(store: Store, tmp_path: Path) -> None:
    name = hashlib.sha256(b"what was meant").hexdigest()
    await store.objects.put(name, file(tmp_path, b"what is there"))
    with pytest.raises(Damaged):
        await store.prove(name)
    await store.objects.put(name, file(tmp_path, b"what was meant"))
    assert await whole(store, name) == b"what was meant"


async def test_folder_that_is_full_or_forbidden_says_so_and_keeps_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.adapters.evidence import folder

    store = open_store((tmp_path / "store").as_uri())
    for number, raised in ((errno.ENOSPC, NoRoom), (errno.EDQUOT, NoRoom), (errno.EIO, StoreAway)):

        def broken(path: Path, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patched:
            patched.setattr(folder, "_lasting", broken)
            with pytest.raises(raised):
                await store.keep(file(tmp_path, os.urandom(100)))
        assert list((tmp_path / "store").glob("??/*")) == []


async def test_s3_that_does_not_answer_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from obstore.store import S3Store

    from services.adapters.evidence.buckets import Bucket

    nowhere = S3Store(
        "evidence", endpoint="http://127.0.0.1:9", region="us-east-1", access_key_id="a", secret_access_key="b",
        client_options={"allow_http": True}, retry_config={"max_retries": 0},
    )  # fmt: skip
    store = Store(Bucket(nowhere), tmp_path)
    with pytest.raises(StoreAway):
        await store.keep(file(tmp_path, b"x"))
    with pytest.raises(StoreAway):
        await store.prove("a" * 64)


@pytest.mark.parametrize("url", ["", "http://x/", "file://host/x", "file:relative", "s3://", "/tmp/x"])
def test_address_of_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected file:///folder or s3://bucket/prefix"):
        open_store(url)
