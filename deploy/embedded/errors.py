"""What can go wrong with the embedded stack, told to people."""

from __future__ import annotations

from pathlib import Path

LAST_LINES = 15


class StackError(Exception):
    """A part does not run. `hint` says what to do, `log` where the part speaks."""

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "", log: Path | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.log = log

    def last_lines(self, count: int = LAST_LINES) -> list[str]:
        """The end of the part's log; empty when there is none."""
        if self.log is None:
            return []
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return text.splitlines()[-count:]


class ToolMissing(StackError):
    """A program the stack needs is not there and may not be installed from here; `hint` is the command to run."""

    exit_code = 3


class HomeInUse(StackError):
    """Another launcher holds this home."""
