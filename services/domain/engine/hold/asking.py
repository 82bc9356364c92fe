"""Ask first (先询问): people at home may say that all is well before anybody is sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Asking:
    """`wait_ms`: for how long; `until_ms`: None before they were asked; `well`: somebody said that all is well."""

    wait_ms: int
    until_ms: int | None = None
    well: bool = False

    def begin(self, now_ms: int) -> int:
        self.until_ms = now_ms + self.wait_ms
        return self.until_ms

    def reason(self, now_ms: int) -> tuple[str, int | None] | None:
        """Why it is still held and until when; None where nobody answered in time, or the answer was no."""
        if self.well:
            return "answered", None
        if self.until_ms is not None and now_ms < self.until_ms:
            return "asking", self.until_ms
        return None

    def answer(self, ok: bool, now_ms: int) -> None:
        self.well = ok
        if not ok:
            self.until_ms = now_ms
