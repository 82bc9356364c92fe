"""Passwords and keys of one home, drawn once and kept in a file only its owner reads."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from deploy.embedded.errors import StackError


def draw() -> str:
    """160 random bits, in letters and digits that need no quoting anywhere."""
    return base64.b32encode(secrets.token_bytes(20)).decode().lower()


class Secrets:
    """`<home>/secrets.json`: name to secret. What is asked for and not there is drawn and written at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, str] = {}
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError as error:
            raise StackError(
                f"{path} cannot be read: {error}", hint="put back a copy; without it the data cannot be opened"
            ) from error
        self._known = {str(name): str(secret) for name, secret in told.items()}

    def get(self, *names: str) -> tuple[str, ...]:
        lacking = [name for name in names if name not in self._known]
        if lacking:
            self._known.update({name: draw() for name in lacking})
            self._write()
        return tuple(self._known[name] for name in names)

    def one(self, name: str) -> str:
        return self.get(name)[0]

    def many(self, names: Iterable[str]) -> dict[str, str]:
        wanted = tuple(names)
        return dict(zip(wanted, self.get(*wanted), strict=True))

    def _write(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.path, json.dumps(self._known, indent=1, sort_keys=True) + "\n")


def write_private(path: Path, content: str) -> None:
    """Whole or not at all, readable by its owner alone."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.touch(0o600, exist_ok=False)
        beside.write_text(content, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
