"""Disks that can be full: small memory file systems in the servers' own sandboxes, as root and as anybody."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded import sandbox
from deploy.embedded.part import Part

SIZE = 64 * 1024 * 1024


def small_disk(monkeypatch: pytest.MonkeyPatch, program: str, folder: str) -> None:
    """From now on `program` starts with a disk of SIZE bytes of its own at `folder` of its sandbox.

    It is empty at each start and gone with the program: what a server wrote there is lost when it is killed.
    """
    whole = sandbox.command

    def command(root: Path, argv: Sequence[str], **more: Any) -> list[str]:
        words = whole(root, argv, **more)
        if argv[0] == program:
            words[words.index("--chdir") : words.index("--chdir")] = ["--size", str(SIZE), "--tmpfs", folder]
        return words

    monkeypatch.setattr(sandbox, "command", command)


def start_with(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, changes: Mapping[str, str]) -> None:
    """The configuration that `module.name` renders, with some lines changed; each must be there."""
    whole = getattr(module, name)

    def rendered(*arguments: Any) -> str:
        text: str = whole(*arguments)
        for line, other in changes.items():
            assert line in text.splitlines(), line
            text = text.replace(f"{line}\n", f"{other}\n")
        return text

    monkeypatch.setattr(module, name, rendered)


class Disk:
    """The small disk of a running server, seen from outside its sandbox."""

    def __init__(self, part: Part, folder: str) -> None:
        self.path = Path(f"/proc/{part.processes[0].pid}/root{folder}")
        self._ballast = self.path / "ballast"

    @property
    def free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """To the last byte but `leave`."""
        piece = b"\xff" * 65536
        with self._ballast.open("ab", buffering=0) as ballast:
            while (room := self.free - leave) > 0:
                try:
                    ballast.write(piece[:room])
                except OSError:
                    return

    def relieve(self) -> None:
        self._ballast.unlink()
