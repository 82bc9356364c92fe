"""What the simulated devices remember across restarts: a meter that forgot its counter would run backwards."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from device_sim.life import Life


def load(path: Path, lives: Iterable[Life]) -> int:
    """Gives each device its memory back; how many had one. A file that cannot be read is as none."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        found = 0
        for life in lives:
            entry = kept.get(life.device.id)
            if entry is None:
                continue
            life.last_ms = int(entry["last_ms"])
            life.memory = {str(key): float(value) for key, value in entry["memory"].items()}
            life.forced = {str(key): float(value) for key, value in entry["forced"].items()}
            life.switches = {str(key): float(value) for key, value in entry["switches"].items()}
            found += 1
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def save(path: Path, lives: Iterable[Life]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(
        {
            life.device.id: {
                "last_ms": life.last_ms,
                "memory": life.memory,
                "forced": life.forced,
                "switches": life.switches,
            }
            for life in lives
            if life.last_ms
        },
        separators=(",", ":"),
    )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
