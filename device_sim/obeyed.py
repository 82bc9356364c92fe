"""Which commands devices have begun, on disk before they begin: each at most once, over reconnects and crashes.

One file a community, a line for what was begun and one for what came of it. The fleet and the stories append to the
same file, so a device that a story has taken over knows what it did before.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

KEPT_S = 86_400.0
"""So long after its expiry a command is remembered; by then nobody carries it out anyway."""
MOST = 10_000
"""In memory, where there is no file."""

Answer = tuple[bool, str]
INTERRUPTED: Answer = (False, "interrupted: it was begun, and whether it was carried out is not known")


@dataclass(slots=True)
class _Begun:
    expires_ms: int
    answer: Answer | None = None


class Obeyed:
    """`path` None: remembered for as long as this object lives."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, _Begun] = {}
        self._inode, self._read_to = 0, 0

    def answer(self, device: str, command_id: str) -> Answer | None:
        """What it came to; None: the device has not begun it."""
        self._refresh()
        found = self._known.get(f"{device}|{command_id}")
        return None if found is None else found.answer or INTERRUPTED

    def begin(self, device: str, command_id: str, expires_ms: int) -> None:
        """On disk when this returns. Raises OSError, and then the device must not begin."""
        key = f"{device}|{command_id}"
        self._append({"key": key, "expires": expires_ms})
        self._known[key] = _Begun(expires_ms)
        while self._path is None and len(self._known) > MOST:
            del self._known[next(iter(self._known))]

    def end(self, device: str, command_id: str, answer: Answer) -> None:
        key = f"{device}|{command_id}"
        self._known[key].answer = answer
        self._append({"key": key, "ok": answer[0], "detail": answer[1]})

    def compact(self) -> int:
        """Leaves out what nobody will ask for again; how many are left. For the process that owns the fleet."""
        if self._path is None:
            return len(self._known)
        self._refresh()
        oldest = (time.time() - KEPT_S) * 1000
        kept = {key: one for key, one in self._known.items() if one.expires_ms > oldest}
        lines = []
        for key, one in kept.items():
            lines.append(json.dumps({"key": key, "expires": one.expires_ms}))
            if one.answer is not None:
                lines.append(json.dumps({"key": key, "ok": one.answer[0], "detail": one.answer[1]}))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(self._path)
        self._known = {}
        self._inode = 0
        self._refresh()
        return len(self._known)

    def _append(self, line: dict[str, object]) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Opened each time: whoever compacts puts another file in its place.
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # On a line of its own, whatever a power cut has left of the one before.
            os.write(handle, f"\n{json.dumps(line)}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    def _refresh(self) -> None:
        """What others have written since, and everything where the file is another."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                if inode != self._inode:
                    self._inode, self._read_to = inode, 0
                file.seek(self._read_to)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for raw in whole.splitlines():
            self._take(raw)

    def _take(self, raw: bytes) -> None:
        """A line torn by a power cut says at least nothing else; the one after it stands by itself."""
        try:
            line = json.loads(raw)
            key = str(line["key"])
            if "expires" in line:
                before = self._known.get(key)
                self._known[key] = _Begun(int(line["expires"]), before.answer if before else None)
            elif key in self._known:
                self._known[key].answer = (bool(line["ok"]), str(line["detail"]))
        except (ValueError, KeyError, TypeError):
            return
