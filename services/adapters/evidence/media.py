"""Has files decoded, each in a process of its own that cannot take this one down with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from services.adapters.evidence.errors import NoRoom
from services.domain.evidence import EvidenceSort, Format, Limits, Unfit

_SCRIPT = Path(__file__).with_name("decoder.py")
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}
"""No secret of the service is known to a process that opens strangers' files."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one decoding may cost. `at_once`: processes side by side."""

    memory: int = 1024 * 1024 * 1024
    cpu_s: int = 20
    wall_s: float = 40.0
    at_once: int = 2


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was written anew: `path`, and `thumb` where there is a picture. `taken_at` and the position are claims.

    `taken_at` without a zone is the camera's local time."""

    path: Path
    thumb: Path | None
    media_type: str
    width: int | None
    height: int | None
    duration_s: float | None
    taken_at: datetime | None
    latitude: float | None
    longitude: float | None


class Decoder:
    """`decode` from any number of tasks; no more than `at_once` run."""

    def __init__(self, limits: Limits, bounds: Bounds | None = None) -> None:
        self.limits = limits
        self.bounds = bounds or Bounds()
        self._turns = asyncio.Semaphore(self.bounds.at_once)

    async def decode(self, source: Path, into: Path, sort: EvidenceSort, form: Format) -> Decoded | Unfit:
        """Writes into the folder `into`, which the caller removes. Raises NoRoom."""
        given = {
            "source": str(source),
            "into": str(into),
            "sort": sort.value,
            "format": form.value,
            "pixels": self.limits.pixels_of(sort),
            "edge": 1600 if sort is EvidenceSort.SIGNATURE else self.limits.edge,
            "seconds": self.limits.seconds_of(sort),
            "memory": self.bounds.memory,
            "cpu_s": self.bounds.cpu_s,
            "written": 2 * self.limits.most_bytes,
        }
        async with self._turns:
            said = await self._run(given)
        return said if isinstance(said, Unfit) else _decoded(said, into)

    async def _run(self, given: dict[str, Any]) -> dict[str, Any] | Unfit:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(_SCRIPT),
            json.dumps(given),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self.bounds.wall_s):
                told, complaint = await process.communicate()
        except TimeoutError:
            return Unfit.COSTLY
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode == 0:
            said = json.loads(told)
            return Unfit(said["refused"]) if "refused" in said else said
        if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGXFSZ):
            return Unfit.COSTLY
        words = complaint.decode(errors="replace")
        if "Errno 28" in words or "Errno 122" in words:
            raise NoRoom(28, "no space left where evidence is prepared")
        if "MemoryError" in words or "Cannot allocate" in words or "failed to map" in words:
            return Unfit.COSTLY
        return Unfit.DAMAGED


def _decoded(said: dict[str, Any], into: Path) -> Decoded:
    taken: datetime | None = None
    if given := said.get("taken_at"):
        with contextlib.suppress(ValueError):
            taken = datetime.fromisoformat(given)
    return Decoded(
        path=into / "object",
        thumb=into / "thumb" if said["thumb"] else None,
        media_type=said["media_type"],
        width=said.get("width"),
        height=said.get("height"),
        duration_s=said.get("duration_s"),
        taken_at=taken,
        latitude=said.get("latitude"),
        longitude=said.get("longitude"),
    )
