"""New secrets of devices as a file for the installers: private, and kept only where what it says came true."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from services.adapters.registry.provision import Secret

T = TypeVar("T")
PRIVATE = 0o600


class SecretsSheet:
    """A CSV of secrets that only its owner can read; never over an existing file, gone again unless kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: io.TextIOWrapper | None = None

    @classmethod
    def beside(cls, source: Path) -> SecretsSheet:
        """`list.csv` → `list.secrets.csv`, or `list.secrets-2.csv` where that is taken."""
        number, path = 1, source.with_name(f"{source.stem}.secrets.csv")
        while path.exists():
            number += 1
            path = source.with_name(f"{source.stem}.secrets-{number}.csv")
        return cls(path)

    def keep(self, secrets: list[Secret]) -> None:
        if self._file is None:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
            self._file = os.fdopen(handle, "w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(("id", "community", "name", "place", "secret"))
        csv.writer(self._file).writerows(tuple(asdict(one).values()) for one in secrets)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.count += len(secrets)

    def close(self, *, kept: bool) -> None:
        if self._file is not None:
            self._file.close()
            if not kept:
                self.path.unlink(missing_ok=True)


def keeping(sheet: SecretsSheet | None, work: Callable[[], T]) -> T:
    """The secrets file stays only where what it says came true."""
    kept = False
    try:
        done = work()
        kept = True
        return done
    finally:
        if sheet is not None:
            sheet.close(kept=kept)
