"""Locks that the kernel lets go of when their last holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Lock:
    """An advisory lock on a file. A child that inherits the descriptor holds it too."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def take(cls, path: Path, timeout_s: float = 0.0) -> Lock | None:
        """None when somebody else still holds it after `timeout_s`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(path, descriptor)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    os.close(descriptor)
                    raise
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)

    def release(self) -> None:
        """Closes this holder's descriptor; the lock goes when no child holds it any more."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def is_held(path: Path) -> bool:
    if not path.exists():
        return False
    lock = Lock.take(path)
    if lock is None:
        return True
    lock.release()
    return False


@contextmanager
def locked(path: Path, timeout_s: float = 600.0) -> Iterator[None]:
    """Waits its turn. Raises TimeoutError."""
    lock = Lock.take(path, timeout_s)
    if lock is None:
        raise TimeoutError(f"{path} is still locked after {timeout_s:g} s")
    try:
        yield
    finally:
        lock.release()
