"""Which devices a story plays at the moment: the fleet leaves those alone until the story lets go.

A device has one connection. A story that takes a device's over would otherwise be pushed off by the fleet's return.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

LONGEST_S = 300.0
"""A story that died holds nothing longer than this."""


class Held:
    """A small file that the story writes and the fleet reads, only when it was pushed off."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, device: str) -> bool:
        return self._read().get(device, 0.0) > time.time()

    def hold(self, devices: Iterable[str]) -> None:
        until = time.time() + LONGEST_S
        self._write({**self._read(), **dict.fromkeys(devices, until)})

    def release(self, devices: Iterable[str]) -> None:
        gone = set(devices)
        self._write({device: until for device, until in self._read().items() if device not in gone})

    def _read(self) -> dict[str, float]:
        try:
            return {str(key): float(value) for key, value in json.loads(self._path.read_text()).items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _write(self, held: dict[str, float]) -> None:
        now = time.time()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".held.")
        with os.fdopen(handle, "w") as file:
            json.dump({device: until for device, until in held.items() if until > now}, file)
        Path(temporary).replace(self._path)
