"""Objects in a folder: two levels, written beside, made lasting, then renamed into place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from services.adapters.evidence.errors import FULL, Missing, NoRoom, StoreAway
from services.adapters.evidence.store import CHUNK, Stored, is_name


class Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def _path(self, name: str) -> Path:
        if not is_name(name):
            raise ValueError(f"{name!r} names no object")
        return self._root / name[:2] / name

    async def put(self, name: str, source: Path) -> None:
        await asyncio.to_thread(self._put, self._path(name), source)

    def _put(self, target: Path, source: Path) -> None:
        beside = target.with_name(f".{secrets.token_hex(8)}")
        try:
            _folder(target.parent)
            # The same name is the same bytes, unless a disk has spoiled them: then this mends them.
            try:
                source.replace(beside)
            except OSError as error:
                if error.errno in FULL:
                    raise
                shutil.copyfile(source, beside)
            _lasting(beside)
            beside.replace(target)
            os.utime(target)
            _lasting(target.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise _told(error) from error

    async def size(self, name: str) -> int:
        try:
            return (await asyncio.to_thread(self._path(name).stat)).st_size
        except FileNotFoundError:
            raise Missing(name) from None
        except OSError as error:
            raise _told(error) from error

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(self._path(name).open, "rb")
        except FileNotFoundError:
            raise Missing(name) from None
        except OSError as error:
            raise _told(error) from error
        with file:
            file.seek(start)
            left = end - start
            while left > 0 and (chunk := await asyncio.to_thread(file.read, min(CHUNK, left))):
                left -= len(chunk)
                yield chunk

    async def delete(self, name: str) -> None:
        try:
            await asyncio.to_thread(self._path(name).unlink, missing_ok=True)
        except OSError as error:
            raise _told(error) from error

    async def everything(self) -> AsyncIterator[Stored]:
        for folder in await asyncio.to_thread(self._folders):
            for found in await asyncio.to_thread(_objects, folder):
                yield found

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self._root.iterdir() if len(path.name) == 2 and path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _told(error) from error


def _objects(folder: Path) -> list[Stored]:
    """Halves of objects are listed too: what a killed process left behind has no proper name and is removed at sight
    once it is an hour old."""
    found: list[Stored] = []
    for path in sorted(folder.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            if is_name(path.name):
                found.append(Stored(path.name, status.st_size, modified))
            elif path.name.startswith(".") and (datetime.now(UTC) - modified).total_seconds() > 3600:
                path.unlink()
    return found


def _folder(path: Path) -> None:
    if path.is_dir():
        return
    path.mkdir(parents=True, exist_ok=True)
    _lasting(path.parent)


def _lasting(path: Path) -> None:
    """On the disk, not in a cache: a file's bytes, or a folder's names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _told(error: OSError) -> OSError:
    if error.errno in FULL:
        return NoRoom(error.errno, "the disk of the evidence store is full")
    return StoreAway(error.errno, f"the evidence store cannot be used: {error.strerror or error}")
