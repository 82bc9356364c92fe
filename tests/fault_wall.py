"""The server's wall clock, for processes started under it: set by hand, as an administrator or NTP would."""

from __future__ import annotations

from pathlib import Path

LIBRARIES = "/usr/lib"


class Wall:
    """Moves CLOCK_REALTIME of processes that have `environment`; their monotonic and boot clocks stay as they are."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path(LIBRARIES).glob("*/faketime/libfaketimeMT.so.1"))
        assert found, "libfaketime is not installed: apt-get install faketime"
        self._file = folder / "wall"
        self.off_s = 0
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, off_s: int) -> None:
        """So many seconds ahead of the truth; negative: behind. Whole at any moment somebody reads."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{off_s:+d}\n")
        new.replace(self._file)
        self.off_s = off_s
